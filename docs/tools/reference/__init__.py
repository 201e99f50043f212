"""One module for each page of docs/reference/, which make_reference.py writes from the code it describes."""
