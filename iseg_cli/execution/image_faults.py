"""The errors of a single image, and their reasons in one sentence."""

from iseg_cli.errors import IsegError

IMAGE_FAULTS = (IsegError, OSError, MemoryError)
"""Errors of one image, its ground truth or its labels: this image fails, the others go on."""


def reason_of(error: BaseException) -> str:
    """Return why an image failed, as a sentence, from one of `IMAGE_FAULTS`."""
    if isinstance(error, MemoryError):
        return "the image does not fit into memory; scale it down"
    if isinstance(error, OSError):
        return f"{error.filename or 'a file'} cannot be read ({error.strerror or error})"
    return str(error)
