"""Files of other programs: exports, training data, layouts of plates."""
