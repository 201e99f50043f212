"""Reports from the ledger: explanation and history of scores, agreement with people, searches, rows for exports."""
