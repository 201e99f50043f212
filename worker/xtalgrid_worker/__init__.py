"""Scores the images of one work unit: the program that runs on idle workstations."""

import os

# Before either library is loaded, whoever starts the worker. ONNX Runtime, from 1.29 on, reports its sessions to its makers over
# the network, and keeps an identifier and a database of reports in the user's home; OpenBLAS starts a thread for each core.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
