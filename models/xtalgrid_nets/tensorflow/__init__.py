"""Read the variables and the graph of a SavedModel without TensorFlow.

TensorFlow takes 1.6 GB. `models/legacy-tensorflow` compares these readers with it, in an environment of its own.
"""
