"""JSON values: checked when they are read, escaped where a name is no valid Unicode."""

import json
from typing import Any

NOT_OURS = (ValueError, TypeError, KeyError, RecursionError)
"""The errors of reading a file that is damaged or that another program wrote."""


def typed(value: Any, kind: Any) -> Any:
    """Return a JSON value of a kind; TypeError for a value of another kind.

    Example:
        >>> typed(3, int)
        3
    """
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} in place of {kind}")
    return value


def json_text(values: Any, *, indent: int | None = None) -> str:
    """Return values as readable JSON; a name that is no valid Unicode is escaped.

    Example:
        >>> json_text({"image_id": "Köln"})
        '{"image_id": "Köln"}'
    """
    text = json.dumps(values, indent=indent, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # bytes of a file name that are no UTF-8 are lone surrogates
        return json.dumps(values, indent=indent)
    return text
