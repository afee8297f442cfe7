"""The limit of an image's pixels, and Pillow's messages."""

import logging
import warnings

import pytest
from PIL import Image

from iseg_cli.errors import SettingsError
from iseg_cli.files.pillow import (
    LIMIT_VARIABLE,
    MAX_PIXELS,
    pixel_limit,
    raise_limit_of_pillow,
    set_up_pillow,
)


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch):
    """Pillow's limit, the variable and the loggers are those of the whole process."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", MAX_PIXELS)
    monkeypatch.delenv(LIMIT_VARIABLE, raising=False)
    handlers = logging.getLogger("PIL").handlers[:]
    yield
    logging.getLogger("PIL").handlers[:] = handlers


def test_the_default_is_pillows_own() -> None:
    assert pixel_limit() == MAX_PIXELS == (1024**3 // 4 // 3)


@pytest.mark.parametrize(
    ("value", "limit"),
    [("", MAX_PIXELS), ("  ", MAX_PIXELS), ("1", 1), (" 200000000 ", 200_000_000)],
)
def test_the_variable_raises_or_lowers_it(monkeypatch, value: str, limit: int) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, value)
    assert pixel_limit() == limit


@pytest.mark.parametrize("value", ["0", "-5", "1e9", "10.5", "many"])
def test_other_values_are_one_sentence(monkeypatch, value: str) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, value)
    with pytest.raises(SettingsError, match=f"^{LIMIT_VARIABLE} is '{value}'; set it to a number"):
        pixel_limit()


@pytest.mark.parametrize(
    ("limit", "before", "after"),
    [
        (2 * MAX_PIXELS, MAX_PIXELS, 2 * MAX_PIXELS),
        (2 * MAX_PIXELS, 3 * MAX_PIXELS, 3 * MAX_PIXELS),  # another library has raised it further
        (2 * MAX_PIXELS, None, None),  # or has taken it away
        (100, MAX_PIXELS, MAX_PIXELS),
    ],
)
def test_pillows_limit_is_only_raised(monkeypatch, limit: int, before, after) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", before)
    raise_limit_of_pillow(limit)
    assert after == Image.MAX_IMAGE_PIXELS


def test_pillow_is_quiet_and_others_are_not(monkeypatch) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, str(2 * MAX_PIXELS))
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        set_up_pillow()
        for module in ("PIL.Image", "pillow_heif.heif", "elsewhere"):
            warnings.warn_explicit("large", UserWarning, "file.py", 1, module=module)
    assert [str(warning.message) for warning in shown] == ["large"]
    assert Image.MAX_IMAGE_PIXELS == 2 * MAX_PIXELS
    assert any(isinstance(h, logging.NullHandler) for h in logging.getLogger("PIL").handlers)
