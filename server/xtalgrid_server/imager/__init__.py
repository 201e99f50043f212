"""The imager database and its image files: the only place that runs SQL on the vendor's tables."""
