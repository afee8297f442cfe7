"""Counts the records of a file that were left out, and keeps the first of each kind."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from iseg_cli.readers.coco.json_values import shown


class FaultKind(NamedTuple):
    """A kind of fault in words: for one record, and for several."""

    one: str
    many: str


class FaultCount(NamedTuple):
    """How often a kind of fault was met.

    Attributes:
        number: how often, as messages write it.
        is_one: whether it was met once.
        kind: the kind in words that agree with the number.
        first: what the first record has.
    """

    number: str
    is_one: bool
    kind: str
    first: str


class FaultCounts:
    """How often each kind of fault was met, and the first record that has it."""

    def __init__(self) -> None:
        self._counts: dict[FaultKind, int] = {}
        self._first: dict[FaultKind, str] = {}

    def add(
        self, kind: FaultKind, field: str, value: Any, *, reason: str = "", count: int = 1
    ) -> None:
        """FaultCount records of a kind; of the first one, a field's value and a reason are kept."""
        if kind not in self._counts:
            self._counts[kind] = 0
            self._first[kind] = f"first {field}: {shown(value)}{reason and f', {reason}'}"
        self._counts[kind] += count

    def __iter__(self) -> Iterator[FaultCount]:
        """Yield the counts of the kinds that were met."""
        for kind, count in self._counts.items():
            words = kind.one if count == 1 else kind.many
            yield FaultCount(f"{count:,}", count == 1, words, self._first[kind])
