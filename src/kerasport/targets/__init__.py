"""From a model to files."""
