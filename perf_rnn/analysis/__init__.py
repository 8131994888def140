"""How music compares with other music: statistics, their overlap, and what is copied."""
