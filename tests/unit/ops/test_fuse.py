"""Fusion by entropy against loops in float64, cases by hand, and properties."""

import math

import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from iseg_cli.ops.assign import assign
from iseg_cli.ops.fuse import (
    cosines,
    decide,
    diffusion_weight,
    distribution,
    entropy,
    fuse,
    with_background,
)


def pixel(*probabilities):
    """Draw a distribution over the classes of one pixel."""
    return torch.tensor(probabilities, dtype=torch.float64)[None, :, None, None]


def scores(*shape, seed=0):
    return np.random.default_rng(seed).random(shape)


def maps(elements):
    """Draw scores of 1 to 5 classes in an image of 3 x 4."""
    return st.integers(1, 5).flatmap(
        lambda n: st.tuples(*[arrays(np.float64, (2, n, 3, 4), elements=elements)] * 2)
    )


# --- entropies and weights ---


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        ((1.0, 0.0, 0.0), 0.0),
        ((0.5, 0.5, 0.0), math.log(2)),
        ((0.25,) * 4, math.log(4)),
        ((0.5, 0.25, 0.25), 1.5 * math.log(2)),
        ((1.0,), 0.0),
    ],
)
def test_entropy_by_hand(probabilities, expected):
    assert entropy(pixel(*probabilities)).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("classes", [2, 3, 21])
def test_the_surer_view_of_n_classes_weighs_at_most_n_times_as_much(classes):
    sure = pixel(1.0, *[0.0] * (classes - 1))
    even = pixel(*[1 / classes] * classes)
    most = classes / (classes + 1)
    assert diffusion_weight(sure, even).item() == pytest.approx(most)
    assert diffusion_weight(even, sure).item() == pytest.approx(1 - most)


def test_a_pixel_by_hand():
    """Diffusion gives the first class 1, CLIP two classes 1/2 each: W = 2/3."""
    fused = fuse(pixel(1.0, 0.0, 0.0), pixel(0.0, 0.5, 0.5))
    torch.testing.assert_close(fused, pixel(2 / 3, 1 / 6, 1 / 6))
    fused = fuse(pixel(0.0, 0.5, 0.5), pixel(1.0, 0.0, 0.0))
    torch.testing.assert_close(fused, pixel(2 / 3, 1 / 6, 1 / 6))


def test_equal_entropies_share():
    one, other = pixel(0.7, 0.2, 0.1), pixel(0.1, 0.7, 0.2)
    assert diffusion_weight(one, other).item() == pytest.approx(0.5)
    torch.testing.assert_close(fuse(one, other), (one + other) / 2)


def test_in_the_limit_the_surer_view_stands_alone():
    classes = 100_000
    sure = pixel(0.0, 1.0, *[0.0] * (classes - 2))
    even = pixel(*[1 / classes] * classes)
    torch.testing.assert_close(fuse(sure, even), sure, atol=2e-5, rtol=0)
    torch.testing.assert_close(fuse(even, sure), sure, atol=2e-5, rtol=0)


def test_fusion_of_a_batch():
    own, near = scores(2, 4, 3, 5), scores(2, 4, 3, 5, seed=1)
    fused = fuse(
        distribution(torch.tensor(own), temperature=0.2),
        distribution(torch.tensor(near), temperature=0.05),
    )
    for image in range(2):
        expected = reference.fuse(
            reference.softmax(own[image], 0.2), reference.softmax(near[image], 0.05)
        )
        np.testing.assert_allclose(fused[image], expected, rtol=1e-12)


@settings(deadline=None, max_examples=60)
@given(maps(st.floats(0, 1)), st.floats(0.001, 10))
def test_distributions_stay_distributions(pair, temperature):
    own, near = (distribution(torch.tensor(one), temperature=temperature) for one in pair)
    fused = fuse(own, near)
    for one in (own, near, fused):
        assert (one >= 0).all()
        torch.testing.assert_close(one.sum(dim=1), torch.ones(2, 3, 4, dtype=torch.float64))
    least, greatest = torch.minimum(own, near), torch.maximum(own, near)
    assert ((fused >= least - 1e-12) & (fused <= greatest + 1e-12)).all()
    # Which view is which makes no difference.
    torch.testing.assert_close(fuse(near, own), fused, rtol=1e-9, atol=1e-12)


@settings(deadline=None, max_examples=60)
@given(maps(st.floats(0, 1)))
def test_a_view_that_knows_nothing_changes_no_label(pair):
    own = distribution(torch.tensor(pair[0]).round(decimals=2), temperature=0.1)
    even = torch.full_like(own, 1 / own.shape[1])
    for fused in (fuse(own, even), fuse(even, own)):
        # Equal scores stay equal but for rounding, so the winner may be another one of them.
        won = own.gather(1, fused.argmax(dim=1, keepdim=True))
        torch.testing.assert_close(won, own.amax(dim=1, keepdim=True), rtol=1e-9, atol=0)


# --- temperature ---


def test_a_temperature_is_a_factor_of_e():
    own = distribution(torch.tensor([0.3, 0.2]).double()[None, :, None, None], temperature=0.1)
    assert (own[0, 0] / own[0, 1]).item() == pytest.approx(math.e)


def test_cosines_that_are_far_apart_overflow_nothing():
    own = distribution(torch.tensor([1.0, -1.0])[None, :, None, None], temperature=1e-3)
    torch.testing.assert_close(own, pixel(1.0, 0.0).float())
    assert entropy(own).item() == 0


# --- the background as a class ---


@pytest.mark.parametrize(
    ("background", "threshold"),
    [("power", 0.0), ("threshold", 0.45), ("none", 0.0)],
)
def test_the_greatest_score_is_what_assign_says(background, threshold):
    own = torch.tensor(scores(2, 3, 16, 16) ** 2)
    classes = with_background(own, background=background, threshold=threshold)
    has_background = background != "none"
    assert classes.shape[1] == 3 + has_background
    assert torch.equal(classes[:, has_background:], own)
    expected = assign(own, background=background, threshold=threshold)
    assert (expected == 0).any() == has_background
    assert torch.equal(decide(classes, has_background=has_background), expected)
    # And so does a fusion whose other view knows nothing.
    sure = distribution(classes, temperature=0.1)
    fused = fuse(sure, torch.full_like(sure, 1 / sure.shape[1]))
    assert torch.equal(decide(fused, has_background=has_background), expected)


def test_the_background_of_a_pixel_by_hand():
    own = pixel(0.4, 0.1)
    torch.testing.assert_close(with_background(own), pixel(0.36, 0.4, 0.1))
    torch.testing.assert_close(
        with_background(own, background="threshold", threshold=0.45), pixel(0.45, 0.4, 0.1)
    )


def test_labels_of_equal_classes():
    assert decide(pixel(0.5, 0.5), has_background=True).item() == 0
    assert decide(pixel(0.5, 0.5), has_background=False).item() == 1


# --- cosines ---


def test_cosines_by_hand():
    """The background takes its nearest prompt; the length of features changes nothing."""
    features = torch.tensor([[3.0, 4.0], [0.0, -0.1]])
    categories = torch.tensor([[1.0, 0.0]])
    surroundings = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    found = cosines(features, categories, surroundings)
    torch.testing.assert_close(found, torch.tensor([[0.8, 0.6], [0.0, 0.0]]))
    alone = cosines(features, categories, surroundings[:0])
    torch.testing.assert_close(alone, torch.tensor([[0.6], [0.0]]))


def test_repeating_a_prompt_of_the_background_changes_nothing():
    features = torch.tensor(scores(9, 4) - 0.5)
    texts = torch.tensor(scores(5, 4, seed=1) - 0.5)
    texts /= texts.norm(dim=1, keepdim=True)
    once = cosines(features, texts[:2], texts[2:])
    assert once.shape == (9, 3)
    torch.testing.assert_close(cosines(features, texts[:2], texts[2:].repeat(7, 1)), once)
