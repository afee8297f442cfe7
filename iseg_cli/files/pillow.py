"""Sets up Pillow in a process: no warnings, and one limit on the size of an image."""

import logging
import os
import warnings

from iseg_cli.errors import SettingsError

LIMIT_VARIABLE = "ISEG_MAX_PIXELS"
"""The environment variable with the limit on the pixels of an image."""

MAX_PIXELS = 89_478_485
"""The default limit: that of Pillow against decompression bombs."""


def set_up_pillow() -> None:
    """Silence Pillow's warnings (large images, odd EXIF, palettes) and set its limit of pixels.

    Warning filters belong to a process, and threads race for them. So each process of a command
    calls this once, at its start. Warnings of other libraries stay. SettingsError as in
    `pixel_limit`.
    """
    warnings.filterwarnings("ignore", module=r"(PIL|pillow_heif)\.")
    logging.getLogger("PIL").addHandler(logging.NullHandler())  # otherwise Python prints its errors
    raise_limit_of_pillow(pixel_limit())


def pixel_limit() -> int:
    """Return the greatest number of pixels of an image: `ISEG_MAX_PIXELS`, or `MAX_PIXELS`.

    SettingsError if the variable is not a number of pixels.
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
    """Let Pillow open images of so many pixels, if that is more than the default.

    Pillow's limit belongs to the process, so it changes only if the user has raised ours.
    """
    if limit <= MAX_PIXELS:
        return
    from PIL import Image

    if Image.MAX_IMAGE_PIXELS is not None and limit > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = limit
