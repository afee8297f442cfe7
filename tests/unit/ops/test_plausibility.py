import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iseg_cli.ops.assign import assign
from iseg_cli.ops.plausibility import area_shares, mean_margins


def test_areas_by_hand():
    labels = torch.tensor([[[0, 1, 1, 1], [2, 1, 0, 255]], [[2, 2, 2, 2], [2, 2, 2, 2]]])
    assert area_shares(labels, categories=2).tolist() == [[0.5, 0.125], [0.0, 1.0]]


def test_margins_by_hand():
    scores = torch.tensor([[[[1.0, 0.6, 0.1, 0.5]], [[0.2, 0.5, 0.9, 0.0]]]])
    labels = assign(scores)
    assert labels.tolist() == [[[1, 1, 2, 1]]]
    # Rivals of the first: 0.2 (the other), 0.5 (the other), (1 - 0.5)^2 (the background).
    first, second = mean_margins(scores, labels)[0].tolist()
    assert first == pytest.approx((0.8 + 0.1 + 0.25) / 3)
    assert second == pytest.approx(0.9 - 0.1)
    first, second = mean_margins(scores, labels, background="threshold", threshold=0.45)[0].tolist()
    assert first == pytest.approx((0.55 + 0.1 + 0.05) / 3)
    assert second == pytest.approx(0.45)
    first, second = mean_margins(scores, labels, background="none")[0].tolist()
    assert first == pytest.approx((0.8 + 0.1 + 0.5) / 3)
    assert second == pytest.approx(0.8)


def test_a_single_crisp_map_is_sure_and_a_flat_one_is_not():
    crisp = torch.zeros(1, 1, 4, 4)
    crisp[..., :2] = 1
    flat = torch.full((1, 1, 4, 4), 0.4)
    assert mean_margins(crisp, assign(crisp)).item() == 1
    assert mean_margins(flat, assign(flat)).item() == pytest.approx(0.4 - 0.36)


def test_a_category_that_wins_nowhere_has_no_margin():
    scores = torch.stack([torch.ones(3, 3), torch.zeros(3, 3)])[None]
    assert mean_margins(scores, assign(scores)).tolist() == [[1.0, 0.0]]
    ignored = torch.full((1, 3, 3), 255)
    assert mean_margins(scores, ignored).tolist() == [[0.0, 0.0]]


@given(
    st.integers(1, 4), st.integers(0, 2**32 - 1), st.sampled_from(["power", "threshold", "none"])
)
def test_margins_pixel_by_pixel(categories, seed, background):
    """Against loops in float64; an assigned category never loses to a rival."""
    values = np.random.default_rng(seed).random((2, categories, 3, 5))
    scores = torch.tensor(values)
    labels = assign(scores, background=background, threshold=0.6)
    found = mean_margins(scores, labels, background=background, threshold=0.6)
    areas = area_shares(labels, categories=categories)
    for image in range(2):
        for c in range(categories):
            margins = []
            for y, x in np.argwhere(labels[image].numpy() == c + 1):
                own = values[image, c, y, x]
                rivals = [values[image, o, y, x] for o in range(categories) if o != c]
                rivals += {"power": [(1 - own) ** 2], "threshold": [0.6], "none": [0.0]}[background]
                margins.append(own - max(rivals))
            assert found[image, c].item() == pytest.approx(np.mean(margins) if margins else 0)
            assert found[image, c] >= 0
            assert areas[image, c].item() == pytest.approx(len(margins) / 15)
