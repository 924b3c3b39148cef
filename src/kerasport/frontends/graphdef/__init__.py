"""Reads TensorFlow graphs: SavedModels, frozen graphs and TF.js graph-models.

A reader makes a `FrozenGraph` (`frozen.py`) from a file. The table of TensorFlow ops then makes
the graph of a `Program` from it.
"""
