"""The networks, and how they are trained, exported, calibrated and judged."""
