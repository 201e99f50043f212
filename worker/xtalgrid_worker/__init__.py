"""The program that runs on idle workstations and scores the images of a work unit."""

import os

import xtalgrid_scoring  # noqa: F401  # first: sets what ONNX Runtime reads when it is loaded

# Must be set before numpy is loaded: OpenBLAS otherwise starts a thread for each core.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
