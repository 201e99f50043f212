"""The classifiers' architectures, each in a file one can read in a sitting."""
