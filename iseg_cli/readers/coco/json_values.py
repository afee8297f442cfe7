"""Values of a JSON that anybody may have written: each is returned as what it means, or as None."""

import math
import re
from typing import Any

Identity = int | str
"""What an image or a category is known by within a file; an integer and its digits are one."""

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,30})")
_FALSE = ("", "0", "0.0", "false", "no", "none", "null")
_SHOWN = 60


def number(value: Any) -> float | None:
    """Return a finite number; digits in a string are one, true and false are none."""
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
    """Return an id as the file writes it, 1.0 as 1; None for what is no id."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return text(value)


def identity(value: Any) -> Identity | None:
    """Return what an id is compared by: "1" and 1 are one id, "01" is another."""
    found = source_id(value)
    if isinstance(found, str):
        found = found.strip()
        return int(found) if _INTEGER.fullmatch(found) else found
    return found


def text(value: Any) -> str | None:
    """Return a string that is not blank and that a file or a terminal can hold."""
    if not isinstance(value, str) or not value.strip():
        return None
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return None
    return value


def shown(value: Any) -> str:
    """Return a value as a message prints it, cut where it is long."""
    try:
        written = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits
        return "a value too long to print"
    return written if len(written) <= _SHOWN else f"{written[:_SHOWN]}..."
