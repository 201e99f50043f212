"""How good the scores are: the real worker's on wells, and trained states' on chops.

With figures, calibration and rules.
"""
