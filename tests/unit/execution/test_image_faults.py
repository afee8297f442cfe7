"""Why an image failed, in one sentence."""

import errno

import pytest

from iseg_cli.errors import DataError, ImageError
from iseg_cli.execution.image_faults import IMAGE_FAULTS, reason_of


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ImageError("a.jpg is broken or truncated"), "a.jpg is broken or truncated"),
        (DataError("a.png has no ground truth"), "a.png has no ground truth"),
        (
            OSError(errno.EIO, "Input/output error", "a.jpg"),
            "a.jpg cannot be read (Input/output error)",
        ),
        (OSError(errno.EIO, "Input/output error"), "a file cannot be read (Input/output error)"),
        (OSError("broken pipe"), "a file cannot be read (broken pipe)"),
        (MemoryError(), "the image does not fit into memory; scale it down"),
        (MemoryError("12 GiB"), "the image does not fit into memory; scale it down"),
    ],
)
def test_every_fault_has_its_reason(error: BaseException, reason: str) -> None:
    assert isinstance(error, IMAGE_FAULTS)
    assert reason_of(error) == reason


@pytest.mark.parametrize(
    "error", [ValueError(), TypeError(), KeyboardInterrupt(), AssertionError()]
)
def test_defects_of_the_program_are_no_faults_of_an_image(error: BaseException) -> None:
    assert not isinstance(error, IMAGE_FAULTS)
