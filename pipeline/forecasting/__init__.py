"""A fitted network to a forecast: ONNX, baselines, calibration, fallback, sample paths."""
