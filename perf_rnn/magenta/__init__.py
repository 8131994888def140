"""Magenta's classes on top of this package, for code written against Magenta 2.1.4."""
