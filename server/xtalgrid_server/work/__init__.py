"""From new images in the imager database to work units."""
