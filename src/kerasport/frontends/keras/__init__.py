"""Keras models of any version: files, layers, functions, masks, and what they compute."""
