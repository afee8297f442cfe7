from types import SimpleNamespace

import pytest

from iseg_cli.benchmark import masks, rounds
from iseg_cli.benchmark.mask_speed import Loop
from iseg_cli.benchmark.masks import measure_masks
from iseg_cli.benchmark.plan import BenchmarkPlan
from iseg_cli.config import load_settings
from iseg_cli.errors import SettingsError


@pytest.fixture
def quick(monkeypatch):
    """The matrix product takes no time."""
    monkeypatch.setattr(masks, "matrix_product_rate", lambda device, dtype, *, side: 1e9)


def rates(monkeypatch, by_size, *, plain=10.0):
    """Replace the loops by loops of known speed; return the batch sizes that ran."""
    ran = []

    def generate(settings, *, batch_size, images, out):
        ran.append(batch_size)
        if by_size[batch_size] is None:
            raise SettingsError("8 images do not fit into the memory of cuda")
        return Loop(images, by_size[batch_size], 7)

    monkeypatch.setattr(rounds, "run_generate", generate)
    monkeypatch.setattr(rounds, "run_plain", lambda *_, images, out: Loop(images, plain, 7))
    monkeypatch.setattr(rounds, "equal_pixels", lambda one, other: 1.0)
    monkeypatch.setattr(masks, "_time_all_stages", lambda settings, sizes, *_: dict.fromkeys(sizes))
    monkeypatch.setattr(masks, "_count", lambda settings: (SimpleNamespace(needed=1), 128))
    return ran


def plan_of(**changes):
    settings = load_settings("emoji-voc", overrides={"runtime.device": "cpu"})
    return BenchmarkPlan(settings, images=64, rounds=1, **changes)


def test_batch_sizes_are_tried_until_they_no_longer_pay(monkeypatch, quick):
    ran = rates(monkeypatch, {1: 10.0, 2: 15.0, 4: 15.7, 8: 30.0})
    speed = measure_masks(plan_of(), tell=lambda _: None)
    assert ran == [1, 2, 4]  # 15.7 is not 1.05 times 15
    assert speed.best.batch_size == 4
    assert speed.speedup == pytest.approx(1.57)


def test_batch_sizes_end_with_the_memory(monkeypatch, quick):
    ran = rates(monkeypatch, {1: 10.0, 2: 15.0, 4: None})
    told = []
    speed = measure_masks(plan_of(), tell=told.append)
    assert ran == [1, 2, 4]
    assert [batch.batch_size for batch in speed.batches] == [1, 2]
    assert "batch size 4 does not fit into memory" in told


def test_where_not_one_image_fits_the_reason_is_told(monkeypatch, quick):
    rates(monkeypatch, {1: None})
    with pytest.raises(SettingsError, match="do not fit into the memory"):
        measure_masks(plan_of(), tell=lambda _: None)


def test_batch_sizes_end_with_the_images(monkeypatch, quick):
    ran = rates(monkeypatch, {2**power: 2.0**power for power in range(8)})
    measure_masks(plan_of(), tell=lambda _: None)
    assert ran == [1, 2, 4, 8, 16, 32]  # of 64 images two batches


def test_named_batch_sizes_all_run(monkeypatch, quick):
    ran = rates(monkeypatch, {2: 20.0, 16: 1.0})
    speed = measure_masks(plan_of(batch_sizes=(2, 16)), tell=lambda _: None)
    assert ran == [2, 16]
    assert speed.best.batch_size == 2


def test_the_median_of_the_rounds_counts(monkeypatch, quick):
    settings = load_settings("emoji-voc", overrides={"runtime.device": "cpu"})
    rates(monkeypatch, {})
    fast, plain = iter([10.0, 50.0, 20.0]), iter([5.0, 8.0, 1.0])
    folders = []

    def generate(settings, *, batch_size, images, out):
        folders.append(out)
        return Loop(images, next(fast), 100 + len(folders))

    monkeypatch.setattr(rounds, "run_generate", generate)
    monkeypatch.setattr(rounds, "run_plain", lambda *_, images, out: Loop(images, next(plain), 7))
    chosen = BenchmarkPlan(settings, images=8, batch_sizes=(4,), rounds=3)
    speed = measure_masks(chosen, tell=lambda _: None)
    assert speed.best.loop.images_per_second == 20.0
    assert speed.plain.images_per_second == 5.0
    assert speed.speedup == 4.0
    assert speed.best.loop.peak_memory == 101  # that of the first round
    assert len(set(folders)) == 3  # a folder that is there would be resumed
