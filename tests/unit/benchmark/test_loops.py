import os

import numpy as np
import pytest
import torch

from iseg_cli.benchmark.loops import _rate, equal_pixels, run_generate, run_plain
from iseg_cli.config import load_settings
from iseg_cli.errors import DataError
from iseg_cli.storage import encode_mask
from iseg_cli.types import Mask


def test_loops_leave_masks_and_count_from_the_first_batch(tmp_path, monkeypatch):
    settings = load_settings("emoji-voc", overrides={"runtime.device": "cpu"})
    fast = run_generate(settings, batch_size=2, images=4, out=tmp_path / "fast")
    plain = run_plain(settings, images=3, out=tmp_path / "plain")
    assert (fast.images, plain.images) == (4, 3)
    assert len(list((tmp_path / "fast").glob("*.png"))) == 4
    assert len(list((tmp_path / "plain").glob("*.png"))) == 3
    assert equal_pixels(tmp_path / "fast", tmp_path / "plain") >= 0.9999
    assert min(fast.peak_memory, plain.peak_memory) > 50 * 2**20  # PyTorch alone takes more

    files = []
    for index, second in enumerate((10.0, 10.5, 11.0, 13.0)):
        files.append(tmp_path / f"{index}.png")
        files[-1].write_bytes(b"")
        os.utime(files[-1], ns=(0, round(second * 1e9)))
    assert _rate(files, first=2) == pytest.approx(2 / 2.5)
    assert _rate(files, first=1) == pytest.approx(3 / 3.0)


def test_threads_are_as_before_a_loop(tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        settings = load_settings("emoji-voc", overrides={"runtime.device": "cpu"})
        run_generate(settings, batch_size=2, images=4, out=tmp_path / "masks")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_an_image_that_fails_is_no_figure(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("a", "b", "c", "d"):
        (tmp_path / "images" / f"{name}.jpg").write_bytes(b"no image")
    settings = load_settings(
        "folder",
        overrides={
            "root": tmp_path / "images",
            "categories": ("dog",),
            "model": "tiny",
            "runtime.device": "cpu",
        },
    )
    with pytest.raises(DataError, match="cannot be measured"):
        run_generate(settings, batch_size=2, images=4, out=tmp_path / "masks")


def test_equal_pixels_are_counted_over_the_masks_that_both_have(tmp_path):
    palette = np.zeros((256, 3), np.uint8)

    def write(path, values):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_mask(Mask(np.array(values, np.uint8)), palette))

    write(tmp_path / "one" / "a.png", [[0, 1], [2, 3]])
    write(tmp_path / "other" / "a.png", [[0, 1], [2, 4]])
    write(tmp_path / "one" / "deep" / "b.png", [[7, 7, 7, 7]])
    write(tmp_path / "other" / "deep" / "b.png", [[7, 7, 7, 7]])
    write(tmp_path / "other" / "c.png", [[9]])
    assert equal_pixels(tmp_path / "one", tmp_path / "other") == 7 / 8
