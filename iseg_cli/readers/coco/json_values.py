"""Converts values of a JSON from any tool: each function returns the value, or None if invalid."""

import math
import re
from typing import Any

Identity = int | str
"""The id of an image or a category for comparison; an integer and its digits are equal."""

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,30})")
_FALSE = ("", "0", "0.0", "false", "no", "none", "null")
_SHOWN = 60


def number(value: Any) -> float | None:
    """Return a finite number, also from the digits in a string; None for true and false."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def whole_number(value: Any) -> int | None:
    """Return an integer: 64, 64.0 and "64" are 64."""
    if type(value) is int:
        return value
    found = number(value)
    return int(found) if found is not None and found.is_integer() else None


def flag(value: Any) -> bool:
    """Return whether a value means yes: true, any number but 0, a string such as "1" or "true"."""
    if isinstance(value, str):
        return value.strip().casefold() not in _FALSE
    return value != 0 if isinstance(value, bool | int | float) else False


def source_id(value: Any) -> Identity | None:
    """Return an id as in the file, 1.0 as 1; None for an invalid id."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return text(value)


def identity(value: Any) -> Identity | None:
    """Return the form of an id for comparison: "1" and 1 are equal, "01" is another id."""
    found = source_id(value)
    if isinstance(found, str):
        found = found.strip()
        return int(found) if _INTEGER.fullmatch(found) else found
    return found


def text(value: Any) -> str | None:
    """Return a string that is not blank and that UTF-8 can encode; None for any other value."""
    if not isinstance(value, str) or not value.strip():
        return None
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return None
    return value


def shown(value: Any) -> str:
    """Return a value as text for a message; a long one is cut."""
    try:
        written = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits
        return "a value too long to print"
    return written if len(written) <= _SHOWN else f"{written[:_SHOWN]}..."
