"""The errors that a user can fix: one tree, which the command line prints without a traceback.

Any other exception is a defect of iseg and keeps its traceback. A message says in one sentence what
is wrong, where, and what to do.
"""

import difflib
from collections.abc import Iterable, Sequence


class IsegError(Exception):
    """The base of all errors that a user can fix; its text is the whole message."""


class SettingsError(IsegError):
    """A setting, preset or option is unknown or out of range."""


class BatchMemoryError(SettingsError):
    """A batch of `batch_size` images does not fit into the memory of the device."""

    def __init__(self, message: str, batch_size: int) -> None:
        super().__init__(message)
        self.batch_size = batch_size


class DatasetNotFoundError(IsegError):
    """The root, a split or a folder of a dataset is not where it was looked for."""


class DataError(IsegError):
    """A file of a dataset is missing, cannot be read or contradicts another file."""


class ImageError(DataError):
    """One image cannot be decoded; the run goes on with the others."""


class ModelNotFoundError(IsegError):
    """A model is not embedded, in a folder or on the hub, or it cannot be read."""


class PredictionsError(IsegError):
    """An output folder is missing, incomplete or made with other settings."""


class NameRefusedError(PredictionsError):
    """The file system of the output folder does not accept a file name."""


class PromptError(IsegError):
    """A prompt is too long for the text encoder, or its words are not found among the tokens."""


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return `` (did you mean X?)`` for the known word most like `word`; "" if none is like it."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]}?)" if close else ""


def first_of(reasons: Sequence[str], most: int = 3) -> str:
    """Return a single sentence as it is, or the first of several with numbers, for a message.

    Example:
        >>> first_of(["a.png is damaged", "b.png is no PNG"])
        '(1) a.png is damaged; (2) b.png is no PNG'
        >>> first_of(["a is damaged", "b is damaged", "c is damaged"], most=1)
        '(1) a is damaged; and 2 more'
    """
    if len(reasons) == 1:
        return reasons[0]
    told = [f"({number}) {reason}" for number, reason in enumerate(reasons[:most], start=1)]
    further = len(reasons) - len(told)
    return "; ".join([*told, *([f"and {further} more"] if further else [])])
