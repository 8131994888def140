"""The studio: a page that plays a model live in the browser, and what it is served from."""
