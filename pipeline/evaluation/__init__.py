"""Metrics, backtests, comparison, promotion, drift, retraining policy: pure decisions."""
