"""Judge scores: the worker's on wells, and trained states' on chops; with figures, calibration and decision rules."""
