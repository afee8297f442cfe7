"""What may go wrong with one image of many, and its reason in one sentence."""

from iseg_cli.errors import IsegError

IMAGE_FAULTS = (IsegError, OSError, MemoryError)
"""What reading an image, its truth or its labels may raise: that image fails, the others go on."""


def reason_of(error: BaseException) -> str:
    """Return why an image failed, as a sentence, from one of `IMAGE_FAULTS`."""
    if isinstance(error, MemoryError):
        return "the image does not fit into memory; scale it down"
    if isinstance(error, OSError):
        return f"{error.filename or 'a file'} cannot be read ({error.strerror or error})"
    return str(error)
