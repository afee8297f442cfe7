"""Counts the records of a file that were left out, and keeps the first of each kind."""

from collections.abc import Iterator
from typing import Any

from iseg_cli.readers.coco_values import shown


class Tally:
    """How often each kind of fault was met, and the first record that has it."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._first: dict[str, str] = {}

    def add(self, kind: str, field: str, value: Any, *, reason: str = "", count: int = 1) -> None:
        """Count records of a kind; of the first one, a field's value and a reason are kept."""
        if kind not in self._counts:
            self._counts[kind] = 0
            self._first[kind] = f"first {field}: {shown(value)}{reason and f', {reason}'}"
        self._counts[kind] += count

    def __iter__(self) -> Iterator[tuple[str, str, str]]:
        """Yield how many there are of each kind, the kind, and its first record."""
        for kind, count in self._counts.items():
            yield f"{count:,}", kind, self._first[kind]
