"""DiffSeg's maths: cases by hand, the original's steps in float64, and the true size."""

import numpy as np
import pytest
import reference
import torch
from attention_scenes import SIDE, agreement, attention_of, merged_by_hand, pyramid, scene
from hypothesis import given, settings
from hypothesis import strategies as st

from iseg_cli.ops.diffseg import (
    anchor_positions,
    merge_resolutions,
    partition,
    propose,
    symmetric_kl,
)


def to_torch(maps, dtype=torch.float32):
    return [torch.tensor(one, dtype=dtype)[None] for one in maps]


# --- several resolutions -----------------------------------------------------------------------


def test_resolutions_are_merged_as_the_original_does():
    pairs = zip(to_torch(pyramid(0)), to_torch(pyramid(1)), strict=True)
    merged = merge_resolutions([torch.cat(pair) for pair in pairs], side=SIDE)
    for seed in (0, 1):
        np.testing.assert_allclose(merged[seed], merged_by_hand(seed), atol=1e-6)


def test_resolutions_weigh_as_much_as_their_sides():
    """A grid of side 1 adds a third, evenly over four keys; two thirds keep their positions."""
    merged = merge_resolutions([torch.eye(4)[None], torch.ones(1, 1, 1)], side=2)
    torch.testing.assert_close(merged, (2 / 3 * torch.eye(4) + 1 / 12)[None])


@settings(max_examples=25)
@given(
    st.lists(st.integers(1, 7), min_size=1, max_size=4),
    st.integers(2, 9),
    st.integers(0, 2**32 - 1),
)
def test_merged_rows_are_distributions(sides, side, seed):
    """This holds also where no side divides the common side."""
    rng = np.random.default_rng(seed)
    maps = [torch.tensor(rng.dirichlet(np.ones(s * s), s * s))[None] for s in sides]
    before = [one.clone() for one in maps]
    merged = merge_resolutions(maps, side=side)
    assert merged.shape == (1, side**2, side**2)
    assert merged.dtype == torch.float64
    torch.testing.assert_close(merged.sum(dim=2), torch.ones_like(merged[..., 0]))
    assert (merged >= 0).all()
    assert all(torch.equal(a, b) for a, b in zip(maps, before, strict=True))


def test_half_precision_is_raised():
    maps = [one.half() for one in to_torch(pyramid(0))]
    assert merge_resolutions(maps, side=SIDE).dtype == torch.float32
    assert propose(maps[0][0], side=SIDE, anchors=4).dtype == torch.float32


# --- anchors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "anchors", "line"),
    [
        (64, 16, range(1, 62, 4)),
        (32, 16, range(0, 31, 2)),
        (64, 2, (0, 63)),
        (16, 4, (0, 5, 10, 15)),
        (9, 1, (4,)),
        (4, 16, range(4)),
    ],
)
def test_anchors_are_evenly_spaced_in_the_middle(side, anchors, line):
    expected = [row * side + column for row in line for column in line]
    assert anchor_positions(side, anchors=anchors).tolist() == expected


@given(st.integers(2, 96), st.integers(2, 24))
def test_anchors_stand_where_the_original_puts_them(side, anchors):
    if anchors > side:
        anchors = side
    line = reference.anchor_grid(side, anchors)
    expected = [row * side + column for row in line for column in line]
    assert anchor_positions(side, anchors=anchors).tolist() == expected


# --- divergence --------------------------------------------------------------------------------


@settings(max_examples=50)
@given(st.integers(2, 60), st.floats(0.05, 5), st.integers(0, 2**32 - 1))
def test_divergence_of_every_pair(pixels, evenness, seed):
    rng = np.random.default_rng(seed)
    points = rng.dirichlet(np.full(pixels, evenness), 6) + 1e-9
    points /= points.sum(axis=1, keepdims=True)
    expected = [[reference.symmetric_kl(p, q) for q in points] for p in points[:3]]
    found = symmetric_kl(torch.tensor(points[:3]), torch.tensor(points))
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_divergence_by_hand():
    p, q = torch.tensor([[0.5, 0.5]]), torch.tensor([[0.25, 0.75], [0.5, 0.5]])
    by_hand = (0.25 * np.log(2) - 0.25 * np.log(0.5 / 0.75)) / 2
    np.testing.assert_allclose(symmetric_kl(p, q), [[by_hand, 0]], atol=1e-7)


def test_divergence_from_an_exact_zero_is_large_and_finite():
    p, q = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, 0.5]])
    [[found]] = symmetric_kl(p, q).tolist()
    assert 10 < found < 100


def test_divergence_in_float32_at_the_true_size():
    """4096 keys; sharp, flat and similar distributions; the error is a millionth."""
    points = attention_of(scene(64, 0, regions=12)[:, :12], sharpness=0.5)[::16]
    points[1::2] = 0.999 * points[::2] + 0.001 * points[1::2]  # pairs that hardly diverge
    single = torch.tensor(points, dtype=torch.float32)
    expected = symmetric_kl(single.double(), single.double())
    assert expected.max() > 2
    assert 0 < expected[0, 1] < 0.01
    assert (symmetric_kl(single, single) - expected).abs().max() < 5e-6


# --- merging -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seed", "threshold", "rounds"),
    [(0, 0.05, 1), (0, 0.05, 2), (1, 0.05, 3), (1, 0.5, 3), (2, 0.02, 3), (2, 0.5, 2)],
)
def test_labels_are_those_of_the_original(seed, threshold, rounds):
    merged = merged_by_hand(seed)
    expected = reference.propose(merged, SIDE, 8, threshold, rounds)
    single = torch.tensor(merged, dtype=torch.float32)
    proposals = propose(single, side=SIDE, anchors=8, threshold=threshold, rounds=rounds)
    assert len(proposals) == len(expected)
    np.testing.assert_allclose(proposals, np.stack(expected), atol=1e-6)
    labels, _ = partition(proposals, height=24, width=40)
    wanted = reference.suppress(expected, 24, 40)
    assert len(np.unique(wanted)) > 1
    assert agreement(labels, wanted) >= 0.995


def test_a_proposal_may_join_several():
    """As in the original: a taken proposal leads no group, but other groups may take it, too."""
    merged = torch.tensor(merged_by_hand(1))
    options = {"side": SIDE, "anchors": 8, "threshold": 0.05}
    first = propose(merged, **options, rounds=1)
    near = (symmetric_kl(first, first) < 0.05).tolist()
    taken, groups = set(), []
    for leader, row in enumerate(near):
        if leader not in taken:
            groups.append([other for other, is_near in enumerate(row) if is_near])
            taken |= set(groups[-1])
    assert sum(map(len, groups)) > len(first)
    expected = torch.stack([first[group].mean(dim=0) for group in groups])
    torch.testing.assert_close(propose(merged, **options, rounds=2), expected)


def test_two_halves_are_two_segments():
    halves = torch.zeros(SIDE, SIDE)
    halves[:, 10:] = 1
    same = (halves.flatten()[:, None] == halves.flatten()).double()
    attention = 0.001 + same
    attention /= attention.sum(dim=1, keepdim=True)
    proposals = propose(attention, side=SIDE, anchors=4, threshold=0.5)
    assert len(proposals) == 2
    labels, kept = partition(proposals, height=SIDE, width=SIDE)
    assert torch.equal(labels, halves.long())  # the left one is larger, and 0
    assert len(kept) == 2


def test_thresholds_at_their_ends():
    [merged] = merge_resolutions(to_torch(pyramid(3)), side=SIDE)
    everything = propose(merged, side=SIDE, threshold=1e6)
    assert len(everything) == 1
    torch.testing.assert_close(everything[0], merged.mean(dim=0))
    nothing = propose(merged, side=SIDE, anchors=8, threshold=1e-30)
    torch.testing.assert_close(nothing, merged[anchor_positions(SIDE, anchors=8)])


def test_merging_leaves_its_input_alone():
    [merged] = merge_resolutions(to_torch(pyramid(3)), side=SIDE)
    before = merged.clone()
    propose(merged, side=SIDE, anchors=8)
    assert torch.equal(merged, before)


# --- pixels ------------------------------------------------------------------------------------


def test_segments_are_numbered_by_their_size_and_empty_ones_dropped():
    maps = torch.tensor([[1.0, 0, 0, 0], [0.5, 0.5, 0.1, 0.1], [0, 0.9, 0.9, 0.9]])
    labels, kept = partition(maps, height=2, width=2)
    assert labels.tolist() == [[1, 0], [0, 0]]
    assert kept.tolist() == [2, 0]


def test_equal_values_go_to_the_earlier_map():
    maps = torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.5, 0.5, 1.0, 1.0]])
    labels, kept = partition(maps, height=2, width=2)
    assert kept[labels].tolist() == [[0, 0], [1, 1]]


def test_too_many_segments_give_up_the_smallest():
    maps = torch.zeros(3, 16)
    maps[0, :6] = maps[1, 6:14] = maps[2, 14:] = 1
    maps[0, 14:] = 0.5
    labels, kept = partition(maps, height=4, width=4, most=2)
    assert kept.tolist() == [1, 0]
    assert labels.flatten().tolist() == [1] * 6 + [0] * 8 + [1] * 2


def test_maps_may_be_stretched_first():
    """A stretched faint map wins at its peak; without stretching it wins nowhere."""
    maps = torch.tensor([[1.0, 0.8, 0.6, 0.4], [0.1, 0.1, 0.1, 0.2]])
    plain, kept = partition(maps, height=2, width=2)
    assert (plain.unique().tolist(), kept.tolist()) == ([0], [0])
    stretched, kept = partition(maps, height=2, width=2, stretch=True)
    assert kept[stretched].tolist() == [[0, 0], [0, 1]]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_every_pixel_takes_its_greatest_map(count, height, width, seed):
    maps = np.random.default_rng(seed).random((count, 25))
    labels, kept = partition(torch.tensor(maps), height=height, width=width)
    assert labels.shape == (height, width)
    expected = reference.suppress(maps, height, width)
    np.testing.assert_array_equal(kept[labels], expected)
    sizes = labels.flatten().bincount()
    assert (sizes > 0).all()
    assert sizes.tolist() == sorted(sizes.tolist(), reverse=True)
