"""Caches of what was made or read before: on disk and in memory."""
