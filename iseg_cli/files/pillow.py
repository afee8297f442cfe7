"""How Pillow behaves in a process of iseg: quiet, and with one limit of an image's size."""

import logging
import os
import warnings

from iseg_cli.errors import SettingsError

LIMIT_VARIABLE = "ISEG_MAX_PIXELS"
"""The environment variable that raises or lowers the limit of an image's pixels."""

MAX_PIXELS = 89_478_485
"""The largest image that is decoded by default: Pillow's own limit against decompression bombs."""


def set_up_pillow() -> None:
    """Keep Pillow's warnings away from the screen, and give it the limit that the user has set.

    It warns of large images, odd EXIF and palettes. Filters belong to a whole process and threads
    race for them, so each process of a command calls this once, at its start. Warnings of other
    libraries stay. SettingsError as `pixel_limit` raises it.
    """
    warnings.filterwarnings("ignore", module=r"(PIL|pillow_heif)\.")
    logging.getLogger("PIL").addHandler(logging.NullHandler())  # else Python prints its errors
    raise_limit_of_pillow(pixel_limit())


def pixel_limit() -> int:
    """Return the number of pixels that an image may have: `ISEG_MAX_PIXELS`, or `MAX_PIXELS`.

    SettingsError where the variable holds no number of pixels.
    """
    text = os.environ.get(LIMIT_VARIABLE, "").strip()
    if not text:
        return MAX_PIXELS
    if not text.isdecimal() or int(text) == 0:
        raise SettingsError(
            f"{LIMIT_VARIABLE} is {text!r}; set it to a number of pixels, such as 200000000"
        )
    return int(text)


def raise_limit_of_pillow(limit: int) -> None:
    """Let Pillow open images of so many pixels, where that is more than the default.

    Its own limit belongs to the whole process: it is left alone unless the user has raised ours.
    """
    if limit <= MAX_PIXELS:
        return
    from PIL import Image

    if Image.MAX_IMAGE_PIXELS is not None and limit > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = limit
