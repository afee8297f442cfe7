"""Where the files of an output folder lie, and names that would lie outside it."""

from pathlib import Path

import pytest

from iseg_cli.errors import PredictionsError
from iseg_cli.storage.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "run")


@pytest.mark.parametrize("image_id", ["2007_000032", "frankfurt/a_0", "süß", "a.b", "..."])
def test_every_file_has_its_path(layout: Layout, image_id: str) -> None:
    assert layout.mask_path(image_id) == layout.path / f"{image_id}.png"
    assert layout.overlay_path(image_id) == layout.path / "overlays" / f"{image_id}.jpg"
    assert layout.scores_path(image_id) == layout.path / "scores" / f"{image_id}.npz"
    assert layout.report_path == layout.path / "report.json"


@pytest.mark.parametrize("image_id", ["", "/etc/a", "../a", "a/../../b", "a/", "a\0b"])
def test_no_file_lies_outside(layout: Layout, image_id: str) -> None:
    assert not Layout.is_inside(image_id)
    with pytest.raises(PredictionsError, match="would be written outside"):
        layout.mask_path(image_id)


def test_the_mask_of_a_failed_image_is_removed(layout: Layout) -> None:
    layout.path.mkdir()
    layout.write_mask("a", b"png")
    layout.write_mask("deep/b", b"other")
    assert layout.mask_path("a").read_bytes() == b"png"
    assert layout.mask_path("deep/b").read_bytes() == b"other"
    layout.write_mask("a", None)
    layout.write_mask("a", None)  # a mask that is not there is no error
    assert not layout.mask_path("a").exists()


def test_a_folder_that_was_removed_is_named(layout: Layout) -> None:
    layout.path.mkdir()
    (layout.path / "run.json").touch()
    layout.require_there()
    with pytest.raises(PredictionsError, match="disk is full"), layout.naming_removal():
        raise PredictionsError("the disk is full")
    (layout.path / "run.json").unlink()
    with pytest.raises(PredictionsError, match="was removed while"), layout.naming_removal():
        raise PredictionsError("the disk is full")
