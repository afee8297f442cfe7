"""The middle square: by hand, and by PyTorch's nearest neighbour with half-pixel centres."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from iseg_cli.readers.middle_square import crop_ground_truth, middle_square
from iseg_cli.types import Mask


def test_the_middle_square_by_hand():
    wide = np.arange(15).reshape(3, 5)
    assert middle_square(wide).tolist() == [[1, 2, 3], [6, 7, 8], [11, 12, 13]]
    assert middle_square(wide.T).tolist() == middle_square(wide).T.tolist()
    # One too many: the smaller half lies before the square, as integers are halved.
    assert middle_square(np.arange(4).reshape(1, 4)).tolist() == [[1]]
    assert middle_square(np.arange(8).reshape(2, 4)).tolist() == [[1, 2], [5, 6]]
    assert middle_square(np.arange(10).reshape(2, 5)).tolist() == [[1, 2], [6, 7]]


def test_colours_stay_together():
    image = np.random.default_rng(0).integers(0, 256, (4, 9, 3), dtype=np.uint8)
    np.testing.assert_array_equal(middle_square(image), image[:, 2:6])


def test_truth_is_cropped_and_resized_by_hand():
    labels = np.array([[9, 1, 2, 9], [9, 3, 4, 9]], dtype=np.uint8)
    assert crop_ground_truth(Mask(labels), 2).labels.tolist() == [[1, 2], [3, 4]]
    assert crop_ground_truth(Mask(labels), 3).labels.tolist() == [[1, 2, 2], [3, 4, 4], [3, 4, 4]]
    line = np.arange(9, dtype=np.uint8)[None].repeat(9, 0)
    assert crop_ground_truth(Mask(line), 3).labels[0].tolist() == [1, 4, 7]
    assert crop_ground_truth(Mask(line), 2).labels[0].tolist() == [2, 6]


@pytest.mark.parametrize("size", [(1024, 2048), (480, 640), (427, 640), (640, 375), (513, 511)])
def test_truth_is_what_nearest_neighbours_are(size):
    labels = np.random.default_rng(1).integers(0, 256, size, dtype=np.uint8)
    square = torch.tensor(middle_square(labels))[None, None]
    expected = interpolate(square, size=(512, 512), mode="nearest-exact")[0, 0]
    np.testing.assert_array_equal(crop_ground_truth(Mask(labels), 512).labels, expected)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 60))
def test_no_label_is_made_up_and_both_ends_are_alike(height, width, side):
    labels = (np.arange(height * width) % 256).astype(np.uint8).reshape(height, width)
    cropped = crop_ground_truth(Mask(labels), side).labels
    assert cropped.shape == (side, side)
    assert set(np.unique(cropped)) <= set(np.unique(middle_square(labels)))
    if side == min(height, width):
        np.testing.assert_array_equal(cropped, middle_square(labels))
