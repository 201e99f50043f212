"""Returned results: checked against their unit, compared with each other, and written into the ledger."""
