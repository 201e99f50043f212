"""What was made or read once and may be asked for again: on disk, and in memory."""
