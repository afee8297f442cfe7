"""Metrics on arrays: NumPy and SciPy only."""
