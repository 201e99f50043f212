"""What docs/tools/make_reference.py writes: one module for each page of docs/reference/, made from the code it describes."""
