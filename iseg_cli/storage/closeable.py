"""The base class of folders that a `with` block closes."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import TypeVar

C = TypeVar("C", bound="Closeable")


class Closeable(ABC):
    """Something for a `with` block, which calls `close` at its end."""

    @abstractmethod
    def close(self) -> None:
        """Close files and release locks."""

    def __enter__(self: C) -> C:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
