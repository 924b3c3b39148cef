"""Passes over a Keras model, which prepare it for the layers of TF.js."""
