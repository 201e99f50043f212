"""What the ledger tells people: new crystals, one score's whole story, agreement with people, searches and exports."""
