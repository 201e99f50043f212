"""Results come back: checked against their unit, compared with each other, and taken into the ledger."""
