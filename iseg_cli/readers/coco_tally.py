"""Counts the records of a file that were left out, and says so in a sentence for each kind."""

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

    def notes(self, template: str) -> Iterator[str]:
        """Yield a sentence a kind; the template has places for count, kind and first."""
        for kind, count in self._counts.items():
            yield template.format(count=f"{count:,}", kind=kind, first=self._first[kind])
