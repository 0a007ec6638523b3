"""Validate a delivery and compare it with stored history."""
