"""Segments of plain DiffSeg, and refined in every mode, against float64."""

import numpy as np
import pytest
import reference
import torch
from attention_scenes import SIDE, agreement, attention_of, merged_by_hand, scene

from iseg_cli.config import validate
from iseg_cli.ops.maps import SelfMaps
from iseg_cli.segmentation.segments import MOST_SEGMENTS, find_segments

SIZE = (24, 40)
SEEDS = (0, 1, 2)
MODES = ["single", "naive", "iterative", "adaptive"]


def settings(mode, **sections):
    refine = {"mode": mode, "iterations": 6, "tolerance": 0.1, "min_iterations": 1}
    return validate(
        {
            "refine": refine,
            "ent_self": {"step_size": 0.05},
            "diffseg": {"anchors": 8, "threshold": 0.5, **sections},
        }
    )


def refining(seed):
    """Return the refining layer's attention: the same scene with other noise."""
    return attention_of(scene(SIDE, seed) + 0.3 * scene(SIDE, seed + 100), sharpness=0.4)


def batch_of(seeds):
    return SelfMaps(
        torch.tensor(np.stack([merged_by_hand(seed) for seed in seeds]), dtype=torch.float32),
        torch.tensor(np.stack([refining(seed) for seed in seeds]), dtype=torch.float32),
        SIDE,
    )


def refined_by_hand(initial, attention, mode):
    reduced = reference.reduce_entropy(attention, 0.05)
    if mode == "adaptive":
        maps, steps = reference.refine_adaptively(initial, reduced, 0.1, 1, 6)
        assert 1 < steps < 6
        return maps
    iterations = 1 if mode == "single" else 6
    return reference.refine(initial, reduced if mode == "iterative" else attention, iterations)


def by_hand(seed, mode, size):
    """Return an image's labels, and the distance of its two best maps at every pixel."""
    proposals = reference.propose(merged_by_hand(seed), SIDE, 8, 0.5, 3)
    if mode == "none":
        return reference.suppress(proposals, *size)
    grid = reference.suppress(proposals, SIDE, SIDE).ravel()
    initial = np.stack([grid == segment for segment in np.unique(grid)], axis=1).astype(float)
    refined = refined_by_hand(initial, refining(seed), mode)
    grids = refined.T.reshape(-1, SIDE, SIDE)
    enlarged = np.stack([reference.bilinear(one, *size) for one in grids])
    return reference.min_max(enlarged).argmax(axis=0)


@pytest.mark.parametrize("mode", ["none", *MODES])
def test_every_mode_follows_its_formula(mode):
    found = find_segments(batch_of(SEEDS), [SIZE, (9, 7), SIZE], settings(mode))
    for seed, segments in zip((0, 2), found[::2], strict=True):
        assert segments.labels.shape == SIZE
        expected = by_hand(seed, mode, SIZE)
        assert len(np.unique(expected)) > 3
        assert agreement(segments.labels, expected) >= 0.995
    assert found[1].labels.shape == (9, 7)


@pytest.mark.parametrize("side", [8, 4])
@pytest.mark.parametrize("mode", MODES)
def test_segments_are_refined_on_the_grid_of_the_refining_layer(mode, side):
    """Its attention has fewer positions than the merged one; segments are decided on its grid."""
    seed = 0
    features = scene(SIDE, seed).reshape(side, SIDE // side, side, SIDE // side, -1)
    own = attention_of(features.mean(axis=(1, 3)).reshape(side * side, -1), sharpness=0.4)
    maps = batch_of([seed])
    maps = SelfMaps(maps.merged, torch.tensor(own[None], dtype=torch.float32), SIDE)
    [found] = find_segments(maps, [SIZE], settings(mode))
    proposals = reference.propose(merged_by_hand(seed), SIDE, 8, 0.5, 3)
    grid = reference.suppress(proposals, side, side).ravel()
    initial = np.stack([grid == segment for segment in np.unique(grid)], axis=1).astype(float)
    reduced = reference.reduce_entropy(own, 0.05) if mode in ("iterative", "adaptive") else own
    if mode == "adaptive":
        refined, _ = reference.refine_adaptively(initial, reduced, 0.1, 1, 6)
    else:
        refined = reference.refine(initial, reduced, 1 if mode == "single" else 6)
    grids = refined.T.reshape(-1, side, side)
    enlarged = np.stack([reference.bilinear(one, *SIZE) for one in grids])
    expected = reference.min_max(enlarged).argmax(axis=0)
    assert found.scores.shape[1:] == (side, side)
    assert found.labels.shape == SIZE
    assert len(np.unique(expected)) > 1
    assert agreement(found.labels, expected) >= 0.995


def test_refinement_changes_labels():
    plain, refined = (
        find_segments(batch_of([1]), [SIZE], settings(mode))[0].labels
        for mode in ("none", "iterative")
    )
    assert 0.5 < agreement(plain, refined) < 0.99


def test_without_a_refining_layer_diffseg_decides():
    maps = batch_of([1])
    [plain] = find_segments(maps, [SIZE], settings("none"))
    [alone] = find_segments(SelfMaps(maps.merged, None, SIDE), [SIZE], settings("iterative"))
    assert torch.equal(plain.labels, alone.labels)


@pytest.mark.parametrize("mode", ["none", *MODES])
def test_scores_belong_to_the_labels(mode):
    for segments in find_segments(batch_of(SEEDS), [(SIDE, SIDE)] * 3, settings(mode)):
        count = len(segments.scores)
        assert segments.scores.shape == (count, SIDE, SIDE)
        assert set(segments.labels.unique().tolist()) == set(range(count))
        np.testing.assert_array_equal(segments.scores.amax(dim=(1, 2)), 1)
        np.testing.assert_array_equal(segments.scores.amin(dim=(1, 2)), 0)
        if mode != "none":  # at the grid's own size the greatest score decides
            agree = segments.scores.argmax(dim=0) == segments.labels
            assert agree.double().mean() > 0.99


@pytest.mark.parametrize("mode", ["none", *MODES])
def test_neighbours_change_no_bit(mode):
    chosen = settings(mode)
    alone = {seed: find_segments(batch_of([seed]), [SIZE], chosen)[0] for seed in SEEDS}
    assert len({len(segments.scores) for segments in alone.values()}) > 1
    for seeds in ([0, 1, 2], [2, 0], [1, 1, 0]):
        for seed, segments in zip(
            seeds, find_segments(batch_of(seeds), [SIZE] * len(seeds), chosen), strict=True
        ):
            assert torch.equal(segments.labels, alone[seed].labels)
            torch.testing.assert_close(segments.scores, alone[seed].scores, rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", ["none", "iterative"])
def test_one_segment_covers_everything(mode):
    [segments] = find_segments(batch_of([0]), [SIZE], settings(mode, threshold=1e6))
    assert not segments.labels.any()
    assert len(segments.scores) == 1


@pytest.mark.parametrize("mode", ["none", "iterative"])
def test_no_more_segments_than_a_mask_can_number(mode):
    """Every position is an anchor and almost nothing merges: 256 proposals."""
    sharp = torch.eye(SIDE * SIDE)[None] * 0.9 + 0.1 / SIDE**2
    maps = SelfMaps(sharp, sharp, SIDE)
    [segments] = find_segments(
        maps, [(64, 64)], settings(mode, anchors=16, threshold=1e-6, rounds=1)
    )
    assert len(segments.scores) == MOST_SEGMENTS
    assert segments.labels.max() == MOST_SEGMENTS - 1
