"""Shards: parts of a run that separate processes write into one output folder."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_TEXT = re.compile(r"(\d{1,9})/(\d{1,9})", re.ASCII)


@dataclass(frozen=True)
class Shard:
    """The `index`-th of `count` parts of a list of images, counted from 1."""

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise ValueError(f"there is no part {self.index} of {self.count}")

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Return the shard of a text like `3/8`; ValueError for another text.

        Example:
            >>> Shard.parse("3/8").select("abcdefghij")
            'c'
        """
        found = _TEXT.fullmatch(text)
        if found is None:
            raise ValueError(f"{text} is not of the form i/n")
        return cls(int(found[1]), int(found[2]))

    @property
    def name(self) -> str:
        """The shard's name in file names: `3-of-8`."""
        return f"{self.index}-of-{self.count}"

    def select(self, image_ids: Sequence[str]) -> Sequence[str]:
        """Return every `count`-th image from the `index`-th on: neighbours are often similar."""
        return image_ids[self.index - 1 :: self.count]
