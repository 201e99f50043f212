"""The chain, one module a step: from new images in the imager database to ARTscores in its score table."""
