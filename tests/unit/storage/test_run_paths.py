"""Where the files of an output folder lie, and names that would lie outside it."""

from pathlib import Path

import pytest

from iseg_cli.errors import PredictionsError
from iseg_cli.storage.run_paths import RunPaths


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    return RunPaths(tmp_path / "run")


@pytest.mark.parametrize("image_id", ["2007_000032", "frankfurt/a_0", "süß", "a.b", "..."])
def test_every_file_has_its_path(paths: RunPaths, image_id: str) -> None:
    assert paths.mask_path(image_id) == paths.path / f"{image_id}.png"
    assert paths.file_path(f"overlays/{image_id}", ".jpg") == (
        paths.path / "overlays" / f"{image_id}.jpg"
    )
    assert paths.report_path == paths.path / "report.json"


@pytest.mark.parametrize("image_id", ["", "/etc/a", "../a", "a/../../b", "a/", "a\0b"])
def test_no_file_lies_outside(paths: RunPaths, image_id: str) -> None:
    assert not RunPaths.is_inside(image_id)
    with pytest.raises(PredictionsError, match="would be written outside"):
        paths.mask_path(image_id)


def test_a_file_is_written_and_removed(paths: RunPaths) -> None:
    paths.path.mkdir()
    one, other = paths.mask_path("a"), paths.mask_path("deep/b")
    paths.write_file(one, b"png")
    paths.write_file(other, b"other")
    assert (one.read_bytes(), other.read_bytes()) == (b"png", b"other")
    paths.remove_file(one)
    paths.remove_file(one)  # a missing file is no error
    assert not one.exists()
    assert other.exists()


def test_a_folder_that_was_removed_is_named(paths: RunPaths) -> None:
    paths.path.mkdir()
    (paths.path / "run.json").touch()
    paths.require_there()
    with pytest.raises(PredictionsError, match="disk is full"), paths.naming_removal():
        raise PredictionsError("the disk is full")
    (paths.path / "run.json").unlink()
    with pytest.raises(PredictionsError, match="was removed while"), paths.naming_removal():
        raise PredictionsError("the disk is full")
