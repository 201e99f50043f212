"""The published MARCO network among ours: from the wheel it was published in, the same bytes each time."""
