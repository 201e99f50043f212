"""How good the scores are: the real worker's on wells, and trained states' on chops; with figures, calibration and rules."""
