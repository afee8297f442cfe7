"""Reads labelmap.txt, in which CVAT and Datumaro write the colour of each class.

A line is `name:red,green,blue:parts:actions`; `#` begins a comment.
"""

import re
from pathlib import Path

from iseg_cli.errors import DataError
from iseg_cli.files.text import numbered_lines, read_text
from iseg_cli.types import IGNORE, LabelSet

LABELMAP_NAME = "labelmap.txt"

_LINE = re.compile(
    r"(?P<name>.+?)\s*:\s*(?P<color>\d{1,3}(?:\s*,\s*\d{1,3}){2})?\s*(:[^:]*)*", re.ASCII
)
_BACKGROUND = ("background", "_background_")
_IGNORED = ("ignored", "ignore", "void")


def find_labelmap(*folders: Path) -> Path | None:
    """Return the labelmap.txt in the first folder that has one; None if none has."""
    return next((f / LABELMAP_NAME for f in folders if (f / LABELMAP_NAME).is_file()), None)


def read_labelmap(path: Path, label_set: LabelSet) -> dict[tuple[int, int, int], int | str]:
    """Return the label of each colour, or its name if the label set has no such name.

    A name is compared with the names and prompts of the label set, without regard to case. A line
    without a colour is skipped. DataError, with the file and the line, if a line is malformed or
    has the colour of another name.
    """
    labels = _labels_by_name(label_set)
    found: dict[tuple[int, int, int], int | str] = {}
    for number, text in numbered_lines(read_text(path, "labelmap")):
        if text.startswith("#"):
            continue
        match = _LINE.fullmatch(text)
        numbers = [] if match is None else [int(n) for n in (match["color"] or "").split(",") if n]
        if match is None or any(n > 255 for n in numbers):
            raise DataError(
                f"{path}, line {number} does not have the form name:red,green,blue::; correct it"
            )
        if not numbers:
            continue
        red, green, blue = numbers
        name = " ".join(match["name"].split())
        label = labels.get(name, labels.get(name.casefold(), name))
        if found.setdefault((red, green, blue), label) != label:
            raise DataError(
                f"{path}, line {number} gives {name} the colour {red},{green},{blue} of another "
                "name; give each name its own colour"
            )
    return found


def _labels_by_name(label_set: LabelSet) -> dict[str, int]:
    """Return the label of each name and spelling; an exact name wins over another spelling."""
    named = dict.fromkeys(_IGNORED, IGNORE)
    if label_set.background is not None:
        named |= dict.fromkeys(_BACKGROUND, label_set.background)
    named |= {c.prompt.casefold(): c.id for c in label_set.categories}
    named |= {c.name.casefold(): c.id for c in label_set.categories}
    return named | {c.name: c.id for c in label_set.categories}
