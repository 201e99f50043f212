"""Files exchanged with other programs: exports, training data, plate layouts."""
