"""Files and databases of ours, below all that knows what is in them: engines, weights, tables as text."""
