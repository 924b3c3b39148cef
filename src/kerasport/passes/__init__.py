"""Passes over graphs. The docstring of each rewrite rule is its formula."""
