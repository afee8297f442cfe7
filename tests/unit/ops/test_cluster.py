import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from iseg_cli.ops.cluster import _start_positions, cluster_maps


def attention_maps(batch, side, tokens, seed=0):
    """Return maps like those of attention: smooth and small, with some tokens near zero."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(batch, tokens, 4, 4, generator=generator, dtype=torch.float64)
    smooth = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")
    noise = torch.randn(batch, tokens, side, side, generator=generator, dtype=torch.float64)
    shares = (2 * smooth + 0.2 * noise).softmax(dim=1)
    return shares.flatten(2).transpose(1, 2) / (side * side)


def test_start_positions_of_the_true_size():
    rows = [0, 11, 22, 33, 44, 55]
    positions = _start_positions(64, torch.device("cpu"))
    assert positions.tolist() == [64 * y + x for y in rows for x in rows]


@pytest.mark.parametrize("side", [1, 4, 8, 11, 12, 16, 32, 48, 96, 128])
def test_start_positions_are_distinct_and_on_the_grid(side):
    positions = _start_positions(side, torch.device("cpu")).tolist()
    assert len(set(positions)) == len(positions) <= side * side
    assert 0 <= min(positions) <= max(positions) < side * side


def test_two_clusters_by_hand():
    # On a side of 12, clusters start at every second row and column. A left half that attends to
    # one word and a right half that attends to another, with one position in each that is a
    # little off: after a single round the position has joined its half.
    maps = torch.empty(1, 12, 12, 2, dtype=torch.float64)
    maps[:, :, :6], maps[:, :, 6:] = torch.tensor([0.8, 0.2]), torch.tensor([0.2, 0.8])
    maps[0, 1, 1], maps[0, 1, 9] = torch.tensor([0.7, 0.3]), torch.tensor([0.3, 0.7])
    result = cluster_maps(maps.reshape(1, 144, 2), side=12, rounds=1).reshape(12, 12, 2)
    # 72 positions in each half: 0.8 - 0.1 / 72 and 0.2 + 0.1 / 72.
    half = torch.tensor([0.8 - 0.1 / 72, 0.2 + 0.1 / 72]).double()
    torch.testing.assert_close(result[:, :6], half.expand(12, 6, 2), rtol=1e-6, atol=0)
    torch.testing.assert_close(result[:, 6:], half.flip(0).expand(12, 6, 2), rtol=1e-6, atol=0)


def test_the_divergence_is_symmetric_in_its_choice():
    # KL(p|q) alone and KL(q|p) alone prefer different centres for the third kind of position;
    # the mean of both decides. Only kinds a and b stand at start positions.
    a, b, point = np.array([0.5, 0.5]), np.array([0.98, 0.02]), np.array([0.85, 0.15])
    to_a, to_b = (reference.symmetric_kl(centre + 1e-5, point + 1e-5) for centre in (a, b))
    maps = torch.from_numpy(a).repeat(12, 12, 1)
    maps[6:] = torch.from_numpy(b)
    maps[3, 3] = torch.from_numpy(point)
    result = cluster_maps(maps.reshape(1, 144, 2), side=12, rounds=1).reshape(12, 12, 2)
    joined = 0 if to_a < to_b else 11
    assert torch.equal(result[3, 3], result[joined, 0])
    assert not torch.equal(result[3, 3], result[11 - joined, 0])


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 1000), side=st.sampled_from([4, 12, 13]), rounds=st.integers(1, 3))
def test_any_maps_equal_the_reference(seed, side, rounds):
    maps = attention_maps(2, side, 5, seed)
    maps[0, ::3, 2] = 0
    result = cluster_maps(maps, side=side, rounds=rounds).numpy()
    for image in range(2):
        expected, _ = reference.cluster_maps(maps[image].numpy(), side, rounds)
        np.testing.assert_allclose(result[image], expected, rtol=1e-9)


@pytest.mark.parametrize("scale", [1.0, 256.0])  # values about 0.001, or about 1
def test_dropped_clusters_equal_the_reference(scale):
    maps = scale * attention_maps(1, 16, 4, seed=3)
    maps[0, 100:200] = maps[0, 100]  # many of the 64 clusters start at equal positions
    result = cluster_maps(maps, side=16, rounds=5)
    expected, sizes = reference.cluster_maps(maps[0].numpy(), 16, 5)
    np.testing.assert_allclose(result[0].numpy(), expected, rtol=1e-9)
    assert len(sizes) < 50


def test_a_dropped_cluster_does_not_come_back():
    # All start at [0.6, 0.4]; the positions between, [1, 1], stand where nothing started.
    maps = torch.tensor([0.6, 0.4]).double().repeat(12, 12, 1)
    maps[1::2, 1::2] = 1.0
    result = cluster_maps(maps.reshape(1, 144, 2), side=12, rounds=4)
    mean = torch.tensor([0.7, 0.55]).double()  # a quarter of the positions is 1
    torch.testing.assert_close(result, mean.expand(1, 144, 2))


def test_regions_of_equal_attention_keep_it():
    region = torch.arange(64)[:, None] // 16 * 4 + torch.arange(64) // 16
    kinds = torch.rand(16, 77, generator=torch.Generator().manual_seed(0)) / 4096
    maps = kinds[region.flatten()][None]
    torch.testing.assert_close(cluster_maps(maps, side=64), maps)


def test_the_sum_of_every_map_is_kept():
    maps = attention_maps(2, 32, 10)
    clustered = cluster_maps(maps, side=32)
    torch.testing.assert_close(clustered.sum(dim=1), maps.sum(dim=1))
    assert len(clustered[0].unique(dim=0)) <= 49


def test_every_position_is_a_cluster_on_a_tiny_grid():
    maps = attention_maps(1, 4, 3)
    torch.testing.assert_close(cluster_maps(maps, side=4), maps)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_raised(dtype):
    maps = attention_maps(2, 16, 6).to(dtype)
    before = maps.clone()
    result = cluster_maps(maps, side=16)
    assert result.dtype == torch.float32
    assert torch.isfinite(result).all()
    assert torch.equal(maps, before)


def test_float32_makes_the_same_clusters_at_the_true_size():
    maps = attention_maps(1, 64, 77)
    result = cluster_maps(maps.float(), side=64, rounds=5).double()
    expected = cluster_maps(maps, side=64, rounds=5)
    same = ((result - expected).abs() <= 1e-3 * expected.amax()).all(dim=2)
    assert same.double().mean() > 0.999  # positions half-way between two clusters may differ


def test_an_image_does_not_depend_on_its_neighbours():
    maps, others = attention_maps(3, 16, 5), attention_maps(3, 16, 5, seed=1)
    others[1] = maps[1]
    together = cluster_maps(maps, side=16)[1]
    assert torch.equal(together, cluster_maps(others, side=16)[1])
