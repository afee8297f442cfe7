import numpy as np
import pytest
import reference
import torch

from iseg_cli.config import validate
from iseg_cli.ops.maps import AttentionMaps, CategoryMaps
from iseg_cli.segmentation.category_maps import assign_labels, category_maps

SIDE = 8
PIXELS = SIDE * SIDE
SIZE = (13, 21)

MODES = ["none", "single", "naive", "iterative", "adaptive"]


def image_attention(count, seed):
    """Return one image's maps [K, count] and self-attention [K, K] to near positions."""
    rng = np.random.default_rng(seed)
    cross = rng.random((PIXELS, count)).astype(np.float32) / PIXELS
    places = np.stack(np.divmod(np.arange(PIXELS), SIDE), axis=1)
    distance = ((places[:, None] - places[None]) ** 2).sum(axis=2)
    self_attention = np.exp(-distance / 3) * rng.random((PIXELS, PIXELS))
    self_attention /= self_attention.sum(axis=1, keepdims=True)
    return torch.tensor(cross), torch.tensor(self_attention, dtype=torch.float32)


def batch_of(counts, seeds):
    widest = max(counts)
    cross = torch.zeros(len(counts), PIXELS, widest)
    valid = torch.zeros(len(counts), widest, dtype=torch.bool)
    attention = torch.zeros(len(counts), PIXELS, PIXELS)
    for row, (count, seed) in enumerate(zip(counts, seeds, strict=True)):
        cross[row, :, :count], attention[row] = image_attention(count, seed)
        valid[row, :count] = True
    return AttentionMaps(cross, attention, SIDE, valid)


def settings(mode, **sections):
    refine = {"mode": mode, "iterations": 7, "tolerance": 0.06, **sections.pop("refine", {})}
    return validate({"refine": refine, "ent_self": {"step_size": 0.05}, **sections})


def refined_by_hand(cross, attention, mode):
    reduced = reference.reduce_entropy(attention, 0.05)
    if mode == "none":
        return reference.normalise(cross)
    if mode == "single":
        return reference.refine(cross, attention, 1)
    if mode == "naive":
        return reference.refine(cross, attention, 7)
    if mode == "iterative":
        return reference.refine(cross, reduced, 7)
    maps, steps = reference.refine_adaptively(cross, reduced, 0.06, 1, 7)
    assert 1 < steps < 7  # the tolerance decides, neither the least nor the greatest number
    return maps


def by_hand(cross, attention, mode):
    """Return maps [categories, SIDE, SIDE] of one image in [0, 1], in float64."""
    refined = refined_by_hand(cross.double().numpy(), attention.double().numpy(), mode)
    return reference.min_max(refined.T.reshape(-1, SIDE, SIDE))


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_follows_its_formula(mode):
    counts, seeds = [3, 1, 20], [0, 1, 2]
    attention = batch_of(counts, seeds)
    maps = category_maps(attention, settings(mode))
    assert maps.scores.shape == (3, 20, SIDE, SIDE)
    for row, count in enumerate(counts):
        cross = attention.cross[row, :, :count]
        expected = by_hand(cross, attention.self_attention[row], mode)
        np.testing.assert_allclose(maps.scores[row, :count], expected, atol=2e-5)
        assert not maps.scores[row, count:].any()


def test_modes_differ_from_each_other():
    attention = batch_of([3], [0])
    maps = [category_maps(attention, settings(mode)).scores for mode in MODES]
    for i, one in enumerate(maps):
        for other in maps[i + 1 :]:
            assert (one - other).abs().max() > 0.01


def test_the_logarithm_is_a_setting():
    attention = batch_of([2], [3])
    natural = {"step_size": 0.05, "log": "natural"}
    maps = category_maps(attention, settings("iterative", ent_self=natural))
    reduced = reference.reduce_entropy(
        attention.self_attention[0].double().numpy(), 0.05, log="natural"
    )
    refined = reference.refine(attention.cross[0].double().numpy(), reduced, 7)
    expected = reference.min_max(refined.T.reshape(-1, SIDE, SIDE))
    np.testing.assert_allclose(maps.scores[0], expected, atol=2e-5)


@pytest.mark.parametrize("mode", MODES)
def test_the_input_stays_as_it_was(mode):
    attention = batch_of([3, 18], [0, 1])
    before = attention.cross.clone(), attention.self_attention.clone()
    category_maps(attention, settings(mode))
    assert torch.equal(attention.cross, before[0])
    assert torch.equal(attention.self_attention, before[1])


@pytest.mark.parametrize("mode", MODES)
def test_neighbours_change_no_bit(mode):
    """In batches of one size the other images, and their categories, change nothing."""
    counts = {0: 3, 1: 1, 2: 20, 3: 17, 4: 0, 5: 16, 6: 33}
    chosen = settings(mode)
    seen = {}
    for rows in ([0, 1, 2], [2, 1, 0], [1, 3, 4], [0, 0, 1], [5, 4, 3], [6, 5, 1], [4, 4, 0]):
        attention = batch_of([counts[i] for i in rows], rows)
        scores = category_maps(attention, chosen).scores
        for row, i in enumerate(rows):
            own = scores[row, : counts[i]]
            assert torch.equal(own, seen.setdefault(i, own)), (rows, i)


@pytest.mark.parametrize("mode", MODES)
def test_images_without_categories(mode):
    attention = batch_of([0, 0], [0, 1])
    maps = category_maps(attention, settings(mode))
    assert maps.scores.shape == (2, 0, SIDE, SIDE)
    for label, scores in assign_labels(maps, attention.valid, [SIZE, (5, 4)], settings(mode)):
        assert not label.any()
        assert scores.shape[0] == 0
    assert [
        tuple(label.shape)
        for label, _ in assign_labels(maps, attention.valid, [SIZE, (5, 4)], settings(mode))
    ] == [SIZE, (5, 4)]


def blobs(count, seed):
    """Return smooth maps [count, SIDE, SIDE] in [0, 1]."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((count, 3, 3))
    return reference.min_max(np.stack([reference.bilinear(one, SIDE, SIDE) for one in coarse]))


@pytest.mark.parametrize(
    ("rule", "arguments"),
    [
        ({"background": "power"}, ("power",)),
        ({"background": "threshold", "threshold": 0.6}, ("threshold", 0.6)),
        ({"background": "none"}, ("none",)),
    ],
)
@pytest.mark.parametrize("size", [SIZE, (4, 9), (SIDE, SIDE)])
def test_labels_have_the_original_size(rule, arguments, size):
    counts = [3, 1]
    scores = torch.zeros(2, 3, SIDE, SIDE)
    valid = torch.tensor([[True, True, True], [True, False, False]])
    for row, count in enumerate(counts):
        scores[row, :count] = torch.tensor(blobs(count, row))
    sizes = [size, size[::-1]]
    chosen = assign_labels(CategoryMaps(scores), valid, sizes, settings("none", assign=rule))
    for row, (label, own) in enumerate(chosen):
        maps = scores[row, : counts[row]].double().numpy()
        resized = reference.min_max(
            np.stack([reference.bilinear(one, *sizes[row]) for one in maps])
        )
        assert tuple(label.shape) == sizes[row]
        np.testing.assert_allclose(own, resized, atol=1e-5)
        expected = reference.assign(own.double().numpy(), *arguments)
        np.testing.assert_array_equal(label, expected)
        assert len(np.unique(expected)) > 1 or arguments == ("none",)


def test_padding_never_wins_where_nothing_is_background():
    scores = -torch.ones(1, 2, SIDE, SIDE)
    scores[0, 0] = torch.tensor(blobs(1, 0)[0])
    scores[0, 1] = 1
    [(label, _)] = assign_labels(
        CategoryMaps(scores),
        torch.tensor([[True, False]]),
        [SIZE],
        settings("none", assign={"background": "none"}),
    )
    assert set(label.unique().tolist()) == {1}


def test_scores_between_the_bounds_are_ignored():
    scores = torch.tensor(blobs(2, 4), dtype=torch.float32)[None]
    valid = torch.ones(1, 2, dtype=torch.bool)
    plain = settings("none")
    banded = settings("none", assign={"ignore_low": 0.1, "ignore_high": 0.5})
    [(before, own)] = assign_labels(CategoryMaps(scores), valid, [SIZE], plain)
    [(after, _)] = assign_labels(CategoryMaps(scores), valid, [SIZE], banded)
    background = (1 - own.amax(dim=0).double().numpy()) ** 2
    between = (background > 0.1) & (background < 0.5)
    assert 0 < between.mean() < 1
    np.testing.assert_array_equal(after, np.where(between, 255, before))
