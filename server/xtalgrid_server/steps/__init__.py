"""The steps from new images in the imager database to ARTscores in its score table, one module each."""
