"""The one pipeline from an image's bytes to its score: networks, drop, windows, class map, decision."""

import os

# Before ONNX Runtime is loaded, whoever starts scoring: from 1.29 on it reports its sessions to its makers over the network, and keeps
# an identifier and a database of reports in the user's home.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
