"""The viewer's addresses: one file for each page."""
