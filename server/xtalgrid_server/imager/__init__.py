"""The imager database and its image files: the only place that talks SQL to the vendor's tables."""
