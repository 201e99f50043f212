"""The pipeline from an image's bytes to its score: networks, drop, windows, class map, decision."""

import os

# Must be set before ONNX Runtime is loaded: from version 1.29 on it otherwise sends reports on its sessions to its
# vendor, and keeps an identifier and a database of these reports in the user's home.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
