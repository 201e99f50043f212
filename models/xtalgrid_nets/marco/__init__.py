"""The published MARCO network among ours: taken from the wheel it was published in, and converted to the same bytes each time."""
