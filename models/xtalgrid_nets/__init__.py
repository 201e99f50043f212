"""The networks: training, export, calibration and evaluation."""
