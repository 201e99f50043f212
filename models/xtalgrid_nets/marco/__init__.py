"""The published MARCO network: extracted from its wheel, and converted to the same bytes each time."""
