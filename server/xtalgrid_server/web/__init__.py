"""The viewer: plates, wells and their scores in a browser. It reads the ledger and the image files, and writes neither."""
