"""The networks, and how they are trained, exported, calibrated and judged."""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # as in xtalgrid_worker: nothing is reported to ONNX Runtime's makers
