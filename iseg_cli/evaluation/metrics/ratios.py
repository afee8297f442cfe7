"""Ratios of counts: nan stands for a ratio whose denominator is 0."""

import math

import numpy as np
from jaxtyping import Float64, Int64


def divide(part: Int64[np.ndarray, "*n"], whole: Int64[np.ndarray, "*n"]) -> np.ndarray:
    """Return `part / whole` by element, nan where `whole` is 0.

    Example:
        >>> divide(np.array([1, 0]), np.array([4, 0])).tolist()
        [0.25, nan]
    """
    ratios = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=ratios, where=np.asarray(whole) > 0)
    return ratios


def mean_of_numbers(values: Float64[np.ndarray, " n"]) -> float:
    """Return the mean of the values that are not nan; nan if there is none.

    Example:
        >>> mean_of_numbers(np.array([0.5, np.nan, 1.0]))
        0.75
    """
    numbers = values[~np.isnan(values)]
    return float(numbers.mean()) if numbers.size else math.nan


def none_for_nan(value: float) -> float | None:
    """Return a number as Python's float, None for nan: JSON has no nan."""
    return None if math.isnan(value) else float(value)
