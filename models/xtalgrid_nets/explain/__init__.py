"""Explain why a well was called what it was: where each group was seen, and what the answer depends on."""
