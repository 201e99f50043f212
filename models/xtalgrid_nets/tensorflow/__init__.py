"""What TensorFlow left behind, read without it: the variables and the graph of a SavedModel.

TensorFlow is 1.6 GB. `models/legacy-tensorflow` compares these readers with it, in an environment of its own.
"""
