"""Imports of the packages: names loaded on first use, and a check that `converters` is ours. Internal."""
