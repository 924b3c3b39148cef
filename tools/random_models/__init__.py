"""Random valid Keras models of all layer families, and their outputs, for tools/compare.py.

`draft` holds a model while it grows, `families` and `functions` add to it, and `record` saves it with its inputs and
outputs. Nothing here imports kerasport: models are also written in environments that have another Keras.
"""
