"""Packaging is in pyproject.toml."""

import setuptools

setuptools.setup()
