import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from iseg_cli.ops.assign import assign, background_score, ignore_band, min_max

RULES = ["power", "threshold", "none"]

quarters = arrays.arrays(
    np.float64,
    st.tuples(st.just(2), st.integers(0, 4), st.just(3), st.just(2)),
    elements=st.integers(0, 4).map(lambda n: n / 4),  # many ties
)


def two_by_two(*categories):
    return torch.tensor([categories]).reshape(1, -1, 2, 2)


def test_power_by_hand():
    # Strongest 0.9, 0.5, 0.3, 0.38; background 0.01, 0.25, 0.49, 0.3844.
    scores = two_by_two([0.9, 0.1, 0.3, 0.38], [0.2, 0.5, 0.1, 0.0])
    expected = torch.tensor([[[0.01, 0.25], [0.49, 0.3844]]])
    torch.testing.assert_close(background_score(scores), expected)
    assert assign(scores).tolist() == [[[1, 2], [0, 0]]]


def test_threshold_by_hand():
    scores = two_by_two([0.9, 0.1, 0.44, 0.45], [0.2, 0.5, 0.1, 0.0])
    result = assign(scores, background="threshold", threshold=0.45)
    assert result.tolist() == [[[1, 2], [0, 1]]]


def test_none_by_hand():
    scores = two_by_two([0.9, 0.1, 0.0, 0.01], [0.2, 0.5, 0.0, 0.02])
    assert assign(scores, background="none").tolist() == [[[1, 2], [1, 2]]]


@settings(deadline=None)
@given(scores=quarters, rule=st.sampled_from(RULES), threshold=st.sampled_from([0.0, 0.25, 0.6]))
def test_any_scores_equal_the_reference(scores, rule, threshold):
    result = assign(torch.from_numpy(scores), background=rule, threshold=threshold)
    assert result.dtype == torch.int64
    expected = [reference.assign(image, rule, threshold) for image in scores]
    np.testing.assert_array_equal(result.numpy(), expected)


@pytest.mark.parametrize("rule", RULES)
def test_padding_is_left_out(rule):
    scores = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    expected = assign(scores, background=rule, threshold=0.45)
    padded = torch.cat([torch.ones(2, 2, 4, 5), scores, torch.zeros(2, 1, 4, 5)], dim=1)
    valid = torch.tensor([[False, False, True, True, True, False]] * 2)
    result = assign(padded, background=rule, threshold=0.45, valid=valid)
    assert torch.equal(result, torch.where(expected > 0, expected + 2, 0))
    assert torch.equal(background_score(padded, valid=valid), background_score(scores))


@pytest.mark.parametrize("rule", RULES)
def test_without_categories_everything_is_background(rule):
    scores = torch.rand(2, 2, 3, 4)
    valid = torch.tensor([[True, True], [False, False]])
    assert assign(scores, background=rule, valid=valid)[1].abs().max() == 0
    assert assign(scores[:, :0], background=rule).tolist() == torch.zeros(2, 3, 4).tolist()
    assert torch.equal(background_score(scores, valid=valid)[1], torch.ones(3, 4))
    assert torch.equal(background_score(scores[:, :0]), torch.ones(2, 3, 4))


def test_between_equals_the_background_comes_first_and_then_the_earlier_category():
    scores = torch.full((1, 2, 1, 1), 0.38196602)
    assert background_score(scores).item() == scores[0, 0].item()  # equal to the last bit
    assert assign(scores).item() == 0
    assert assign(scores, background="none").item() == 1
    assert assign(scores, background="threshold", threshold=0.38196602).item() == 1
    assert assign(0 * scores, background="threshold").item() == 0


@settings(deadline=None)
@given(scores=quarters)
def test_min_max_equals_the_reference(scores):
    result = min_max(torch.from_numpy(scores)).numpy()
    np.testing.assert_allclose(result, [reference.min_max(image) for image in scores])


def test_a_constant_map_claims_no_pixel():
    scores = min_max(torch.full((1, 1, 3, 4), 0.7))
    assert assign(scores).abs().max() == 0
    assert assign(scores, background="threshold", threshold=0.45).abs().max() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    scores = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert min_max(scores).dtype == torch.float32
    assert background_score(scores).dtype == torch.float32
    for rule in RULES:
        result = assign(scores, background=rule, threshold=0.45)
        assert torch.equal(result, assign(scores.double(), background=rule, threshold=0.45))


def test_the_band_between_is_ignored():
    labels = torch.tensor([[[1, 2, 2, 0, 0]]])
    score = torch.tensor([[[0.1, 0.25, 0.3, 0.5, 0.9]]])
    result = ignore_band(labels, score, low=0.25, high=0.5)
    assert result.tolist() == [[[1, 2, 255, 0, 0]]]
    assert labels.tolist() == [[[1, 2, 2, 0, 0]]]
    assert ignore_band(labels, score, low=0.0, high=1.0, ignore=254).unique().tolist() == [254]


def test_inputs_are_left_alone_and_images_do_not_depend_on_their_neighbours():
    generator = torch.Generator().manual_seed(0)
    scores, others = (torch.rand(3, 2, 4, 5, generator=generator) for _ in range(2))
    others[1] = scores[1]
    before = scores.clone()
    valid = torch.tensor([[True, False]] * 3)
    for rule in RULES:
        result = assign(min_max(scores), background=rule, valid=valid)[1]
        assert torch.equal(result, assign(min_max(others), background=rule, valid=valid)[1])
    assert torch.equal(scores, before)
