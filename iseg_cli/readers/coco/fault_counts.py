"""Counts the faults of records by kind, and keeps the first record of each kind."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from iseg_cli.readers.coco.json_values import shown


class FaultKind(NamedTuple):
    """A kind of fault in words, for one record and for several."""

    one: str
    many: str


class FaultCount(NamedTuple):
    """The number of faults of a kind, in words for messages.

    Attributes:
        number: the number, such as `1,200`.
        is_one: whether the number is 1.
        kind: the kind, in the singular or the plural.
        first: the value of the first record.
    """

    number: str
    is_one: bool
    kind: str
    first: str


class FaultCounts:
    """The number of faults of each kind, and the first record with each kind."""

    def __init__(self) -> None:
        self._counts: dict[FaultKind, int] = {}
        self._first: dict[FaultKind, str] = {}

    def add(
        self, kind: FaultKind, field: str, value: Any, *, reason: str = "", count: int = 1
    ) -> None:
        """Add `count` faults of a kind; the value and the reason of the first one are kept."""
        if kind not in self._counts:
            self._counts[kind] = 0
            self._first[kind] = f"first {field}: {shown(value)}{reason and f', {reason}'}"
        self._counts[kind] += count

    def __iter__(self) -> Iterator[FaultCount]:
        """Yield the count of each kind that has faults."""
        for kind, count in self._counts.items():
            words = kind.one if count == 1 else kind.many
            yield FaultCount(f"{count:,}", count == 1, words, self._first[kind])
