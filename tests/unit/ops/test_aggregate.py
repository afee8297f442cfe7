import cv2
import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from iseg_cli.ops.aggregate import (
    fuse_resolutions,
    join_prompts,
    membership,
    resize,
    tokens_to_categories,
)


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


def test_enlarging_by_hand():
    # Two pixels to four: their centres lie at 1/4 and 3/4 of the width.
    maps = torch.tensor([[[0.0], [4.0], [0.0], [4.0]]])
    expected = [[0.0, 1.0, 3.0, 4.0]] * 4
    assert resize(maps, height=4, width=4)[0, 0].tolist() == expected


@settings(deadline=None, max_examples=30)
@given(
    side=st.integers(1, 7),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
)
def test_resizing_equals_the_reference(side, height, width):
    maps = random(2, side * side, 3)
    result = resize(maps, height=height, width=width).numpy()
    for image in range(2):
        for category in range(3):
            grid = maps[image, :, category].reshape(side, side).numpy()
            expected = reference.bilinear(grid, height, width)
            np.testing.assert_allclose(result[image, category], expected, atol=1e-12)


def test_enlarging_equals_opencv():
    maps = random(1, 64 * 64, 1)
    result = resize(maps, height=375, width=500)[0, 0].numpy()
    grid = maps.reshape(64, 64).numpy()
    expected = cv2.resize(grid, (500, 375), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_no_categories_to_resize():
    assert resize(torch.zeros(2, 9, 0), height=4, width=5).shape == (2, 0, 4, 5)


def test_fusion_by_hand():
    # 1 x 1: 8 / 8 = 1 everywhere, times 0.75. 2 x 2: over its sum of 10, times 0.25.
    coarse = torch.tensor([[[8.0]]])
    fine = torch.tensor([[[1.0], [2.0], [3.0], [4.0]]])
    result = fuse_resolutions([coarse, fine], [0.75, 0.25], side=2)
    expected = torch.tensor([[[0.775], [0.8], [0.825], [0.85]]])
    torch.testing.assert_close(result, expected)


def test_fusion_equals_the_reference():
    maps = [random(2, 4, 3), random(2, 16, 3, seed=1), random(2, 64, 3, seed=2)]
    maps[1][:, :, 2] = 0
    result = fuse_resolutions(maps, [0.5, 0.2, 0.3], side=8).numpy()
    for image in range(2):
        expected = reference.fuse_resolutions(
            [one[image].numpy() for one in maps], [0.5, 0.2, 0.3], 8
        )
        np.testing.assert_allclose(result[image], expected, atol=1e-12)


def test_the_scale_of_a_resolution_does_not_matter_but_its_size_does():
    coarse, fine = random(1, 16, 2), random(1, 64, 2, seed=1)
    fused = fuse_resolutions([coarse, fine], [0.7, 0.3], side=16)
    torch.testing.assert_close(fused, fuse_resolutions([3 * coarse, 5 * fine], [0.7, 0.3], side=16))
    # Sums to 1 before enlarging: 0.7 / 16 + 0.3 / 64 on the average of all positions.
    torch.testing.assert_close(fused.mean(dim=1), torch.full((1, 2), 0.7 / 16 + 0.3 / 64).double())


def test_a_token_without_attention_stays_zero():
    maps = torch.ones(1, 4, 2)
    maps[:, :, 1] = 0
    assert fuse_resolutions([maps], [1.0], side=4)[0, :, 1].abs().max() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_fusion_raises_half_precision(dtype):
    maps = random(1, 256, 3).to(dtype)
    result = fuse_resolutions([maps], [1.0], side=32)
    assert result.dtype == torch.float32
    expected = fuse_resolutions([maps.double()], [1.0], side=32)
    torch.testing.assert_close(result.double(), expected, rtol=1e-5, atol=1e-7)


def test_membership_averages_and_pads():
    weights = membership([[[4], [6, 7]], [[5]], []], tokens=9)
    assert weights.shape == (3, 2, 9)
    assert weights[0, 0].tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0]
    assert weights[0, 1].tolist() == [0, 0, 0, 0, 0, 0, 0.5, 0.5, 0]
    assert weights[1].sum(dim=1).tolist() == [1, 0]
    assert weights[2].abs().max() == 0


def test_categories_are_means_of_their_tokens():
    maps = random(2, 9, 6)
    positions = [[[1, 2, 4], [5]], [[0], [3, 2]]]
    result = tokens_to_categories(maps, membership(positions, tokens=6).double()).numpy()
    for image in range(2):
        expected = reference.tokens_to_categories(maps[image].numpy(), positions[image])
        np.testing.assert_allclose(result[image], expected)


def test_padding_gives_zero_maps():
    result = tokens_to_categories(random(2, 9, 6), membership([[[1]], []], tokens=6))
    assert torch.equal(result[1], torch.zeros(9, 1).double())


def test_prompts_are_joined_by_image():
    # Image 1 has three categories in two prompts, its columns out of order; image 0 has one.
    maps = random(3, 4, 2)
    images = torch.tensor([1, 0, 1])
    columns = torch.tensor([[2, 0], [0, -1], [1, -1]])
    joined = join_prompts(maps, images, columns, batch=2, categories=3)
    assert torch.equal(joined[1, :, 2], maps[0, :, 0])
    assert torch.equal(joined[1, :, 0], maps[0, :, 1])
    assert torch.equal(joined[0, :, 0], maps[1, :, 0])
    assert torch.equal(joined[1, :, 1], maps[2, :, 0])
    assert joined[0, :, 1:].abs().max() == 0


def test_an_image_does_not_depend_on_its_neighbours():
    maps, others = random(3, 16, 5), random(3, 16, 5, seed=1)
    others[1] = maps[1]
    weights = membership([[[1, 2]], [[3]], [[4]]], tokens=5).double()
    results = [
        tokens_to_categories(fuse_resolutions([batch], [0.7], side=8), weights)[1]
        for batch in (maps, others)
    ]
    assert torch.equal(*results)
