"""Metrics on arrays: confusion matrix, matching of segments, image-level labels.

NumPy and SciPy only.
"""
