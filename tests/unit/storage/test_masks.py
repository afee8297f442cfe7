"""Masks and pictures: what is written reads back equal; other files are refused."""

import os

import numpy as np
import pytest
from PIL import Image
from stored_runs import LABELS, random_mask

from iseg_cli.errors import PredictionsError
from iseg_cli.storage import (
    encode_mask,
    encode_picture,
    is_whole_png,
    read_mask,
    write_atomically,
)
from iseg_cli.types import Mask


def test_a_mask_is_a_palette_png_that_reads_back_equal(tmp_path):
    mask = Mask(np.arange(256, dtype=np.uint8).reshape(16, 16))
    write_atomically(tmp_path / "a.png", encode_mask(mask, LABELS.palette))
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png").labels, mask.labels)
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "P"
        colors = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(colors, LABELS.palette[mask.labels])
    assert encode_mask(mask, LABELS.palette) == (tmp_path / "a.png").read_bytes()


def test_a_transposed_view_is_written_as_it_looks(tmp_path):
    labels = random_mask(0).labels
    write_atomically(tmp_path / "a.png", encode_mask(Mask(labels.T), LABELS.palette))
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png").labels, labels.T)


@pytest.mark.parametrize("keep", [0, 10, 40, -1, -12, -20])
def test_a_truncated_mask_is_refused_by_name(tmp_path, keep):
    path = tmp_path / "torn.png"
    data = encode_mask(random_mask(0, (64, 64)), LABELS.palette)
    path.write_bytes(data[:keep])
    assert not is_whole_png(path, (64, 64))
    with pytest.raises(PredictionsError, match=r"torn\.png"):
        read_mask(path)


def test_a_missing_mask_is_refused_by_name(tmp_path):
    with pytest.raises(PredictionsError, match=r"none\.png"):
        read_mask(tmp_path / "none.png")
    assert not is_whole_png(tmp_path / "none.png", (1, 1))


@pytest.mark.parametrize(
    ("mode", "reason"),
    [("RGB", "holds colours"), ("RGBA", "transparent"), ("LA", "transparent")],
)
def test_pixels_that_are_no_labels_are_refused(tmp_path, mode, reason):
    Image.new(mode, (4, 3)).save(tmp_path / "a.png")
    with pytest.raises(PredictionsError, match=rf"a\.png .*{reason}"):
        read_mask(tmp_path / "a.png")


@pytest.mark.parametrize("mode", ["1", "I;16", "L", "P"])
def test_masks_of_any_bits_are_read(tmp_path, mode):
    Image.new(mode, (4, 3), 1).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png").labels, np.ones((3, 4)))


def test_a_pipe_is_no_mask_to_wait_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(PredictionsError, match=r"a\.png is no file"):
        read_mask(tmp_path / "a.png")


def test_a_grey_mask_has_no_palette_and_the_same_labels(tmp_path):
    mask = random_mask(3)
    data = encode_mask(mask, None)
    (tmp_path / "a.png").write_bytes(data)
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), mask.labels)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png").labels, mask.labels)
    assert data == encode_mask(mask, None)


def test_grey_masks_are_read_and_other_files_are_not(tmp_path):
    labels = random_mask(1).labels
    Image.fromarray(labels).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "grey.png").labels, labels)
    Image.fromarray(labels).save(tmp_path / "photo.jpg")
    (tmp_path / "photo.jpg").rename(tmp_path / "photo.png")
    with pytest.raises(PredictionsError, match="no PNG"):
        read_mask(tmp_path / "photo.png")


def test_whole_means_the_recorded_size(tmp_path):
    write_atomically(tmp_path / "a.png", encode_mask(random_mask(0, (5, 7)), LABELS.palette))
    assert is_whole_png(tmp_path / "a.png", (5, 7))
    assert not is_whole_png(tmp_path / "a.png", (7, 5))


def test_a_picture_is_a_jpeg_of_its_size():
    data = encode_picture(np.zeros((4, 6, 3), np.uint8))
    assert data.startswith(b"\xff\xd8\xff")
