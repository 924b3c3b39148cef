"""Passes over graphs. Each rewrite rule states its algebra."""
