"""What can go wrong and be put right by the user: one tree, translated once by the command line.

Anything else is a defect of ours and keeps its traceback. A message says what is wrong, where, and
what to do about it, in one sentence.
"""

import difflib
from collections.abc import Iterable, Sequence


class IsegError(Exception):
    """Base of every error that a user can fix; its text is the whole message."""


class SettingsError(IsegError):
    """A setting, preset or option that is unknown or out of range."""


class BatchMemoryError(SettingsError):
    """A batch that does not fit into the memory of the device; `batch_size` images of it."""

    def __init__(self, message: str, batch_size: int) -> None:
        super().__init__(message)
        self.batch_size = batch_size


class DatasetNotFoundError(IsegError):
    """A dataset's root, split or folder that is not where it was looked for."""


class DataError(IsegError):
    """A file of a dataset that is missing, unreadable or contradicts another one."""


class ImageError(DataError):
    """One image that cannot be decoded; the rest of a run goes on."""


class ModelNotFoundError(IsegError):
    """A model that is not to be had (embedded, in a folder, on the hub), or cannot be read."""


class PredictionsError(IsegError):
    """A folder of predictions that is missing, incomplete or made with other settings."""


class NameRefusedError(PredictionsError):
    """A file name that the system does not take where predictions are written."""


class PromptError(IsegError):
    """Words that the text encoder cannot hold or the tokenizer cannot place."""


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return `` (did you mean X?)`` for the known word nearest to `word`, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]}?)" if close else ""


def first_of(reasons: Sequence[str], most: int = 3) -> str:
    """Return some sentences as part of one: the only one as it is, the first of several by number.

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
