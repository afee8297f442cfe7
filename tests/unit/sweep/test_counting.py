"""One image under many settings: each has the labels that the segmenter assigns."""

import numpy as np
import pytest
import torch

from iseg_cli.config import validate
from iseg_cli.evaluation.metrics.confusion import count_pairs
from iseg_cli.ops.ent_self import reduce_entropy
from iseg_cli.ops.maps import AttentionMaps
from iseg_cli.ops.refine import refine
from iseg_cli.segmentation.category_maps import assign_labels, category_maps
from iseg_cli.storage.sweeps import ImageCounts
from iseg_cli.sweep import counting
from iseg_cli.sweep.counting import TrueLabels, count_image, refine_to_each
from iseg_cli.sweep.plan import plan_captures
from iseg_cli.sweep.scores import Totals

SIDE = 8
PIXELS = SIDE * SIDE


def image(categories, seed=0):
    """The attention of one image; neighbours attend to each other."""
    rng = np.random.default_rng(seed)
    places = np.stack(np.divmod(np.arange(PIXELS), SIDE), axis=1)
    distance = ((places[:, None] - places[None]) ** 2).sum(axis=2)
    spread = np.exp(-distance / 4) * rng.random((PIXELS, PIXELS))
    spread[spread < 0.01] = 0
    spread /= spread.sum(axis=1, keepdims=True)
    return AttentionMaps(
        torch.tensor(rng.random((1, PIXELS, categories)), dtype=torch.float32) / PIXELS,
        torch.tensor(spread, dtype=torch.float32)[None],
        SIDE,
        torch.ones(1, categories, dtype=torch.bool),
    )


def truth(categories, size, seed=1):
    """Labels 0 to `categories` in blocks, with some ignored pixels."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, categories + 1, (4, 5))
    rows, columns = (np.arange(n) * k // n for n, k in zip(size, (4, 5), strict=True))
    labels_of = coarse[rows[:, None], columns].astype(np.uint8)
    labels_of[:2, :3] = 255
    return labels_of


def variants():
    """Settings of every mode, with several steps, logarithms, numbers of products and rules."""
    rules = {
        "power": {},
        "threshold": {"background": "threshold", "threshold": 0.6},
        "none": {"background": "none"},
        "band": {"ignore_low": 0.2, "ignore_high": 0.5},
    }
    found = {}
    for mode in ("none", "single", "naive", "iterative", "adaptive"):
        for step in (0.0, 0.05):
            for log in ("natural", "log10"):
                for number in (1, 2, 5):
                    for name, rule in rules.items():
                        settings = {
                            "refine": {"mode": mode, "iterations": number, "tolerance": 0.2},
                            "ent_self": {"step_size": step, "log": log},
                            "assign": rule,
                        }
                        found[f"{mode} {step} {log} {number} {name}"] = validate(settings)
    return found


def alone(attention, settings, target):
    """The confusion matrix of the segmenter's own labels, from the metrics."""
    categories = attention.cross.shape[2]
    ((label, _),) = assign_labels(
        category_maps(attention, settings), attention.valid, [target.shape], settings
    )
    rows = [r for r in np.unique(target) if r != 255]
    pairs = count_pairs(
        target, label.numpy(), rows=categories + 1, columns=categories + 1, ignore_index=255
    )
    return pairs[rows]


@pytest.mark.parametrize("categories", [1, 2, 5, 19])
@pytest.mark.parametrize("at_once", [1, 2**19])
def test_each_setting_gets_the_counts_it_gets_alone(categories, at_once, monkeypatch):
    monkeypatch.setattr(counting, "_AT_ONCE", at_once)
    attention, target = image(categories), truth(categories, (21, 30))
    chosen = variants()
    (capture,) = plan_captures(chosen)
    found = count_image(attention, capture, TrueLabels(target))
    assert found.keys() == chosen.keys()
    for name, settings in chosen.items():
        np.testing.assert_array_equal(found[name], alone(attention, settings, target), name)
    assert len({counts.tobytes() for counts in found.values()}) > 10


def test_maps_on_the_way_are_those_of_refine_to_the_last_bit():
    attention = image(5)
    reduced = reduce_entropy(attention.self_attention, step_size=0.05)
    found = refine_to_each(attention.cross, reduced, [0, 3, 7])
    assert sorted(found) == [0, 3, 7]
    for number, maps in found.items():
        assert torch.equal(maps, refine(attention.cross, reduced, iterations=number))


def test_counts_by_hand():
    target = np.array([[0, 7, 7], [255, 0, 9]], dtype=np.uint8)
    first = [[0, 1, 2], [1, 0, 2]]  # background, two categories, undecided as 3
    second = [[0, 1, 1], [0, 3, 1]]
    true = TrueLabels(target)
    assert true.labels == (0, 7, 9)
    counts = true.count(torch.tensor([first, second]), 4)
    assert counts.tolist() == [
        [[2, 0, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0]],
        [[1, 0, 0, 1], [0, 2, 0, 0], [0, 1, 0, 0]],
    ]


def counted(image_id, settings, counts, ground_truth=(0, 2), found=(0, 2, 255)):
    return ImageCounts(image_id, ground_truth, found, settings, np.array(counts, dtype=np.int64))


def test_totals_add_each_image_once_under_each_setting():
    totals = Totals(["a", "b"], 3)
    totals.add(counted("one", ("a", "c"), [[[5, 1, 0], [2, 3, 4]], [[9, 9, 9], [9, 9, 9]]]))
    totals.add(counted("two", ("b", "a"), [[[1, 1, 1], [1, 1, 1]], [[2, 2, 2], [2, 2, 2]]]))
    totals.add(counted("one", ("a", "b"), [[[7, 7, 7], [7, 7, 7]], [[4, 0, 0], [0, 4, 0]]]))
    assert totals.matrix("a").counts.tolist() == [[7, 0, 3], [0, 0, 0], [4, 0, 5]]
    assert totals.matrix("a").undecided.tolist() == [2, 0, 6]
    assert totals.matrix("b").counts.tolist() == [[5, 0, 1], [0, 0, 0], [1, 0, 5]]
    assert totals.missing(["one", "two", "three"]) == {("a", "b"): ["three"]}


def test_without_a_background_two_columns_are_undecided():
    totals = Totals(["a"], 3)
    totals.add(counted("one", ("a",), [[[5, 1, 3]]], ground_truth=(1,), found=(255, 2, 255)))
    assert totals.matrix("a").counts.tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert totals.matrix("a").undecided.tolist() == [0, 8, 0]
