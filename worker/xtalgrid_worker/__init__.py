"""Scores the images of one work unit: the program that runs on idle workstations."""

import os

import xtalgrid_scoring  # noqa: F401  # first of all: it says what ONNX Runtime must know before it is loaded

os.environ["OPENBLAS_NUM_THREADS"] = (
    "1"  # before numpy is loaded, whoever starts the worker: OpenBLAS starts a thread for each core
)
