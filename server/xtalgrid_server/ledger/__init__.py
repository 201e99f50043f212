"""Our own append-only database: every image seen, unit made, result received, score given and row published."""
