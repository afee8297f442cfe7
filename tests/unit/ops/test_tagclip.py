"""TagCLIP's maths against loops in float64, cases by hand, and OpenCV's components."""

import cv2
import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from iseg_cli.ops.tagclip import (
    candidates,
    choose,
    class_probabilities,
    combine,
    fill_boxes,
    refine_scores,
    response_boxes,
    trusted_attention,
)

ROWS, COLUMNS, CLASSES = 5, 7, 6


def random(*shape, seed=0):
    return np.random.default_rng(seed).random(shape)


def attention_like(*shape, seed=0):
    """Return attention whose rows sum to a little less than 1, as without the class token."""
    weights = random(*shape, seed=seed) ** 6
    return 0.9 * weights / weights.sum(axis=-1, keepdims=True)


def grid(*lines):
    """Return a mask [1, 1, rows, columns] from lines such as `..#.`."""
    return torch.tensor([[mark == "#" for mark in line] for line in lines])[None, None]


def test_probabilities_of_a_batch():
    features = random(2, 9, 4) - 0.5
    texts = random(3, 4, seed=1) - 0.5
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    ours = class_probabilities(torch.tensor(features), torch.tensor(texts), scale=7.0)
    for image in range(2):
        expected = reference.class_probabilities(features[image], texts, 7.0)
        np.testing.assert_allclose(ours[image], expected, rtol=1e-10)


def test_probabilities_by_hand():
    """Cosines 1 and 0 at scale ln 3: the odds are 3 to 1, however long the feature is."""
    features = torch.tensor([[[5.0, 0.0], [0.0, 0.1]]])
    ours = class_probabilities(features, torch.eye(2), scale=float(np.log(3)))
    torch.testing.assert_close(ours, torch.tensor([[[0.75, 0.25], [0.25, 0.75]]]))


@pytest.mark.parametrize(
    ("averaged", "min_agreeing"), [((4, 5), 3), ((0,), 1), ((2, 3, 4), 6), ((1,), 7)]
)
def test_trusted_attention(averaged, min_agreeing):
    attention = attention_like(6, 2, 8, 8)
    ours = trusted_attention(
        torch.tensor(attention), averaged=averaged, min_agreeing_blocks=min_agreeing
    )
    for image in range(2):
        expected = reference.trusted_attention(attention[:, image], averaged, min_agreeing)
        np.testing.assert_allclose(ours[image], expected, rtol=1e-12)
    if min_agreeing == 7:  # more than there are blocks
        assert not ours.any()


def test_a_pair_needs_enough_agreeing_blocks():
    """The first pair is over the mean in two blocks, the second in one, the last in none."""
    blocks = torch.tensor([[[[0.8, 0.6], [0.1, 0.1]]], [[[0.9, 0.2], [0.3, 0.1]]]])
    kept = trusted_attention(blocks, averaged=[0], min_agreeing_blocks=2)
    torch.testing.assert_close(kept, torch.tensor([[[0.8, 0.0], [0.0, 0.0]]]))
    kept = trusted_attention(blocks, averaged=[0, 1], min_agreeing_blocks=1)
    torch.testing.assert_close(kept, torch.tensor([[[0.85, 0.4], [0.0, 0.0]]]))


def test_boxes_by_hand():
    mask = grid("##....#", "#......", "...#...", "..#....", "......#")
    wanted = grid("##....#", "##.....", "..##...", "..##...", "......#")
    assert torch.equal(fill_boxes(mask), wanted)
    winding = grid("#####", "....#", "###.#", "#...#", "#####")
    assert fill_boxes(winding).all()
    assert not fill_boxes(torch.zeros(1, 2, 3, 4, dtype=torch.bool)).any()


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 7),
    columns=st.integers(1, 7),
    seed=st.integers(0, 10**6),
    share=st.sampled_from([0.1, 0.3, 0.5, 0.7]),
)
def test_boxes_of_any_mask(rows, columns, seed, share):
    mask = random(2, 3, rows, columns, seed=seed) < share
    ours = fill_boxes(torch.tensor(mask)).numpy()
    for image in range(2):
        for number in range(3):
            one = mask[image, number]
            assert np.array_equal(ours[image, number], reference.fill_boxes(one))
            expected = np.zeros_like(one)
            _, _, boxes, _ = cv2.connectedComponentsWithStats(one.astype(np.uint8), connectivity=8)
            for left, top, width, height, _ in boxes[1:]:
                expected[top : top + height, left : left + width] = True
            assert np.array_equal(ours[image, number], expected)


def test_refinement():
    coarse = random(3, ROWS * COLUMNS, CLASSES) ** 4
    attention = attention_like(3, ROWS * COLUMNS, ROWS * COLUMNS, seed=2)
    ours = refine_scores(torch.tensor(coarse), torch.tensor(attention), rows=ROWS)
    for image in range(3):
        expected = reference.refine_scores(coarse[image], attention[image], ROWS)
        np.testing.assert_allclose(ours[image], expected, rtol=1e-10)
    once = torch.tensor(attention @ coarse)
    assert (ours < once - 1e-6).any()  # some patches were out of their class's boxes


def test_refinement_by_hand():
    """Four patches in a row: a class at patches 0 and 1 loses its wrong response at patch 3."""
    coarse = torch.tensor([[[1.0], [1.0], [0.0], [0.4]]])
    refined = refine_scores(coarse, torch.eye(4)[None], rows=1)
    torch.testing.assert_close(refined, torch.tensor([[[1.0], [1.0], [0.0], [0.0]]]))
    constant = torch.full((1, 4, 1), 0.25)
    torch.testing.assert_close(refine_scores(constant, torch.eye(4)[None], rows=2), constant)


def test_responses():
    scores = random(2, ROWS * COLUMNS, CLASSES) ** 5
    scores[1, :, 2] = 0.3
    responds, boxes = response_boxes(torch.tensor(scores), rows=ROWS)
    for image in range(2):
        for number in range(CLASSES):
            where, box = reference.response_box(scores[image, :, number], ROWS)
            assert np.array_equal(responds[image, :, number], where)
            assert tuple(boxes[image, number].tolist()) == box
    assert boxes[1, 2].tolist() == [0, 0, ROWS, COLUMNS]


def test_a_response_at_the_border_is_in_its_box():
    scores = torch.zeros(1, 12, 1)
    scores[0, [6, 11], 0] = 1  # rows 1 and 2, columns 2 and 3 of a grid of 3 x 4
    assert response_boxes(scores, rows=3)[1].tolist() == [[[1, 2, 3, 4]]]


def test_candidates_lie_in_the_upper_part_of_the_image():
    scores = torch.tensor([[[0.0, 0.2, 0.8], [0.5, 0.1, 0.3]], [[0.0, 0.2, 0.1], [0.3, 0.1, 0.0]]])
    found = candidates(scores, named=2, share=0.5)  # the last column is background
    assert found.tolist() == [[True, False], [True, True]]
    assert candidates(scores, named=2, share=0.7).tolist() == [[False, False], [True, False]]


def test_a_crop_counts_as_much_as_the_patches():
    local, again = torch.tensor([[0.2, 0.6, 0.4]]), torch.tensor([[0.0, 1.0, 0.9]])
    combined = combine(local, again, torch.tensor([[True, True, False]]))
    torch.testing.assert_close(combined, torch.tensor([[0.1, 0.8, 0.4]]))


def test_a_second_look_has_a_weight():
    """A class without a crop keeps the score of its patches for all weights."""
    local, again = random(3, 5), random(3, 5, seed=1)
    looked = random(3, 5, seed=2) > 0.5
    for weights in ((0.4, 0.8), (0.8, 0.2), (1.0, 0.0)):
        combined = combine(
            *map(torch.tensor, (local, again, looked)),
            patch_weight=weights[0],
            crop_weight=weights[1],
        )
        expected = reference.combine_looks(local, again, looked, weights)
        np.testing.assert_allclose(combined, expected, rtol=1e-12)


def test_labels_lie_in_the_upper_part_of_the_scores():
    scores = torch.tensor([[0.1, 0.9, 0.49, 0.51], [0.2, 0.2, 0.2, 0.21]])
    chosen = choose(scores, threshold=0.5, min_score=0.0)
    assert chosen.tolist() == [[False, True, False, True], [False, False, False, True]]
    chosen = choose(scores, threshold=0.5, min_score=0.55)
    assert chosen.tolist() == [[False, True, False, False], [False] * 4]
    assert choose(torch.tensor([[0.4]]), threshold=0.5, min_score=0.0).all()  # one class alone


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_images_do_not_influence_each_other(dtype):
    coarse = torch.tensor(random(4, 12, CLASSES), dtype=dtype)
    attention = torch.tensor(attention_like(5, 4, 12, 12), dtype=dtype)

    def scores(images):
        trusted = trusted_attention(attention[:, images], averaged=[3], min_agreeing_blocks=2)
        return refine_scores(coarse[images], trusted, rows=3)

    together = scores([0, 1, 2, 3])
    for image in range(4):
        torch.testing.assert_close(scores([image])[0], together[image])
    assert together.dtype == dtype
