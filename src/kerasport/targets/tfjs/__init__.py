"""TF.js models: what layers-models and graph-models have in common."""
