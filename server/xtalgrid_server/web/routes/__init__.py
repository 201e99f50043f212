"""The viewer's addresses, a file for each page."""
