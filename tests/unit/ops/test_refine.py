import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from iseg_cli.ops.ent_self import reduce_entropy
from iseg_cli.ops.refine import normalise, refine, refine_adaptively

SIDE = 64


def make(batch, pixels, categories, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(batch, pixels, pixels, generator=generator, dtype=torch.float64)
    maps = torch.rand(batch, pixels, categories, generator=generator, dtype=torch.float64)
    return maps, (2 * scores).softmax(dim=-1)


def attention_over_a_grid(batch, seed=0):
    """Return attention like that of images: to near positions and to similar positions."""
    generator = torch.Generator().manual_seed(seed)
    line = torch.arange(SIDE, dtype=torch.float32) / SIDE
    place = torch.stack(torch.meshgrid(line, line, indexing="ij"), dim=-1).reshape(-1, 2)
    looks = torch.randn(batch, 8, 8, 8, generator=generator)
    looks = torch.nn.functional.interpolate(looks, size=(SIDE, SIDE), mode="bilinear")
    looks = looks.flatten(2).transpose(1, 2)
    features = torch.cat([looks, 6 * place.expand(batch, -1, -1)], dim=2)
    return (-torch.cdist(features, features)).mul_(3).softmax(dim=-1)


def test_normalise_by_hand():
    # Less the least value: [3, 1, 0, 0], over its sum of 4. A constant map becomes zero.
    maps = torch.tensor([[[4.0, 5.0], [2.0, 5.0], [1.0, 5.0], [1.0, 5.0]]])
    expected = [[[0.75, 0.0], [0.25, 0.0], [0.0, 0.0], [0.0, 0.0]]]
    assert normalise(maps).tolist() == expected


def test_two_steps_by_hand():
    # [4, 2, 1] -> [.75, .25, 0]; product [.5, .125, .375] -> [.6, 0, .4];
    # product [.3, .2, .5] -> [.25, 0, .75]. The transpose would give other numbers.
    attention = torch.tensor([[[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.5, 0.0, 0.5]]])
    maps = torch.tensor([[[4.0], [2.0], [1.0]]])
    for iterations, expected in enumerate([[0.75, 0.25, 0], [0.6, 0, 0.4], [0.25, 0, 0.75]]):
        result = refine(maps, attention, iterations=iterations)[0, :, 0]
        torch.testing.assert_close(result, torch.tensor(expected))


@settings(deadline=None)
@given(
    maps=arrays.arrays(np.float64, (2, 6, 3), elements=st.integers(0, 16).map(float)),
    seed=st.integers(0, 1000),
    iterations=st.integers(0, 4),
)
def test_any_maps_equal_the_reference(maps, seed, iterations):
    _, attention = make(2, 6, 1, seed)
    result = refine(torch.from_numpy(maps), attention, iterations=iterations).numpy()
    expected = [
        reference.refine(m, a, iterations) for m, a in zip(maps, attention.numpy(), strict=True)
    ]
    np.testing.assert_allclose(result, expected, atol=1e-9)


@settings(deadline=None)
@given(scale=st.floats(0.01, 100), shift=st.floats(-1, 1))
def test_scale_and_shift_of_a_map_do_not_matter(scale, shift):
    maps, attention = make(1, 9, 2)
    torch.testing.assert_close(
        refine(maps, attention, iterations=3), refine(scale * maps + shift, attention, iterations=3)
    )


def test_constant_maps_stay_constant():
    _, attention = make(1, 9, 1)
    maps = torch.full((1, 9, 2), 0.3)
    assert torch.equal(refine(maps, attention, iterations=5), torch.zeros(1, 9, 2).double())


def test_rounding_is_not_blown_up_to_a_map():
    # Attention that is the same from everywhere makes every map constant, but for rounding.
    attention = torch.full((1, 1024, 1024), 1 / 1024)
    maps = torch.rand(1, 1024, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(refine(maps, attention, iterations=1), torch.zeros_like(maps))


def test_padding_changes_nothing_in_other_categories():
    maps, attention = make(2, 16, 3)
    padded = torch.cat([maps, torch.zeros(2, 16, 2).double()], dim=2)
    result = refine(padded, attention, iterations=4)
    torch.testing.assert_close(result[..., :3], refine(maps, attention, iterations=4))
    assert torch.equal(result[..., 3:], torch.zeros(2, 16, 2).double())


def test_no_categories_are_no_maps():
    _, attention = make(2, 9, 1)
    assert refine(torch.zeros(2, 9, 0), attention, iterations=2).shape == (2, 9, 0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_raised(dtype):
    maps, attention = make(2, 16, 3)
    maps, attention = maps.to(dtype), attention.to(dtype)
    assert normalise(maps).dtype == torch.float32
    result = refine(maps, attention, iterations=3)
    assert result.dtype == torch.float32
    expected = refine(maps.double(), attention.double(), iterations=3)
    torch.testing.assert_close(result.double(), expected, atol=1e-5, rtol=1e-4)


def test_inputs_are_left_alone():
    maps, attention = make(2, 9, 2)
    before = maps.clone(), attention.clone()
    refine(maps, attention, iterations=2)
    refine_adaptively(maps, attention, tolerance=0.1, min_iterations=1, max_iterations=4)
    assert torch.equal(maps, before[0])
    assert torch.equal(attention, before[1])


def test_an_image_does_not_depend_on_its_neighbours():
    (maps, attention), (others, other_attention) = make(3, 25, 2), make(3, 25, 2, seed=1)
    others[1], other_attention[1] = maps[1], attention[1]
    together = refine(maps, attention, iterations=4)[1]
    assert torch.equal(together, refine(others, other_attention, iterations=4)[1])


def test_adaptive_equals_the_reference_image_by_image():
    maps, attention = make(6, 16, 2)
    for image in range(6):  # each image mixes at its own speed
        attention[image] = 0.15 * image * torch.eye(16) + (1 - 0.15 * image) * attention[image]
    result, steps = refine_adaptively(
        maps, attention, tolerance=0.12, min_iterations=2, max_iterations=9
    )
    taken = []
    for image in range(6):
        expected, count = reference.refine_adaptively(
            maps[image].numpy(), attention[image].numpy(), 0.12, 2, 9
        )
        taken.append(count)
        np.testing.assert_allclose(result[image], expected, atol=1e-12)
        fixed = refine(maps[image : image + 1], attention[image : image + 1], iterations=count)
        torch.testing.assert_close(result[image], fixed[0])
    assert steps.tolist() == taken
    assert len(set(taken)) > 2


def test_adaptive_does_not_depend_on_neighbours_or_padding():
    settings_ = {"tolerance": 0.1, "min_iterations": 1, "max_iterations": 12}
    (maps, attention), (others, other_attention) = make(3, 25, 2), make(3, 25, 2, seed=1)
    others[1], other_attention[1] = maps[1], attention[1]
    together, steps = refine_adaptively(maps, attention, **settings_)
    apart, other_steps = refine_adaptively(others, other_attention, **settings_)
    assert torch.equal(together[1], apart[1])
    assert steps[1] == other_steps[1]
    padded = torch.cat([maps, torch.zeros(3, 25, 1).double()], dim=2)
    assert refine_adaptively(padded, attention, **settings_)[1].tolist() == steps.tolist()


def test_adaptive_bounds():
    maps, attention = make(2, 16, 2)
    _, steps = refine_adaptively(maps, attention, tolerance=1.1, min_iterations=3, max_iterations=9)
    assert steps.tolist() == [3, 3]
    result, steps = refine_adaptively(
        maps, attention, tolerance=0.0, min_iterations=1, max_iterations=4
    )
    assert steps.tolist() == [4, 4]
    torch.testing.assert_close(result, refine(maps, attention, iterations=4))


def test_the_true_size():
    attention = attention_over_a_grid(batch=3)
    maps = torch.rand(3, SIDE * SIDE, 3, generator=torch.Generator().manual_seed(1))
    maps[2, :, 2] = 0  # padding
    reduced = reduce_entropy(attention, step_size=0.02)
    refined = refine(maps, reduced, iterations=8)
    assert torch.isfinite(reduced).all()
    assert (reduced.sum(dim=2) - 1).abs().max() < 1e-5
    assert (reduced == 0).any(dim=2).all()  # every query has lost something
    for image in range(3):
        expected = reference.reduce_entropy(attention[image].double().numpy(), 0.02)
        np.testing.assert_allclose(reduced[image].numpy(), expected, atol=1e-5)
        maps_expected = reference.refine(maps[image].double().numpy(), expected, 8)
        # Maps sum to 1 over 4096 positions: compare them on a scale from 0 to 1.
        scale = np.maximum(maps_expected.max(axis=0), 1e-12)
        np.testing.assert_allclose(refined[image].numpy() / scale, maps_expected / scale, atol=1e-5)


def test_a_query_is_emptied_only_at_the_true_size():
    # One query attends to everything alike, the others to themselves, one of these also to it:
    # among 4 positions its shares survive the step, among 4096 none does.
    for pixels, survives in ((4, True), (SIDE * SIDE, False)):
        attention = torch.eye(pixels)[None]
        attention[0, 0] = 1 / pixels
        attention[0, 1, :2] = 0.5
        reduced = reduce_entropy(attention, step_size=0.02)
        assert ((reduced[0, 0] > 0).sum() == pixels) == survives
        assert (reduced[0, 0, 0] == 1) != survives
        torch.testing.assert_close(reduced.sum(dim=2), torch.ones(1, pixels))
        assert torch.isfinite(refine(torch.rand(1, pixels, 2), reduced, iterations=2)).all()
