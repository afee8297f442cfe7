import math

import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from iseg_cli.ops.ent_self import reduce_entropy


def softmax_attention(batch, pixels, seed=0, sharpness=2.0):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(batch, pixels, pixels, generator=generator, dtype=torch.float64)
    return (scores * sharpness).softmax(dim=-1)


def test_two_positions_by_hand_natural():
    # Columns over their maxima 0.95 and 0.5: [1, 0.1], [0.526316, 1].
    # One step of 0.1 * (1 + ln a):           [1.1, -0.030259], [0.562131, 1.1].
    # Clamped, and rows over their sums 1.1 and 1.662131.
    attention = torch.tensor([[[0.95, 0.05], [0.5, 0.5]]], dtype=torch.float64)
    expected = torch.tensor([[[1.0, 0.0], [0.338199, 0.661801]]], dtype=torch.float64)
    result = reduce_entropy(attention, step_size=0.1, log="natural")
    torch.testing.assert_close(result, expected, atol=1e-6, rtol=0)


def test_two_positions_by_hand_log10():
    # log10(e) = 0.434294, log10(e * 0.1) = -0.565706, log10(e * 0.526316) = 0.155541.
    # [1.0434294, 0.0434294] / 1.0868589 and [0.5418699, 1.0434294] / 1.5852993.
    attention = torch.tensor([[[0.95, 0.05], [0.5, 0.5]]], dtype=torch.float64)
    expected = torch.tensor([[[0.960042, 0.039958], [0.341809, 0.658191]]], dtype=torch.float64)
    result = reduce_entropy(attention, step_size=0.1)
    torch.testing.assert_close(result, expected, atol=1e-6, rtol=0)


def test_the_step_is_gradient_descent_on_the_entropy():
    scaled = softmax_attention(1, 6)
    scaled = (scaled / scaled.amax(dim=1, keepdim=True)).requires_grad_()
    entropy = -(scaled * scaled.log()).sum()
    (gradient,) = torch.autograd.grad(entropy, scaled)
    stepped = (scaled - 0.03 * gradient).clamp(min=0).detach()
    expected = stepped / stepped.sum(dim=2, keepdim=True)
    result = reduce_entropy(scaled.detach(), step_size=0.03, log="natural")
    torch.testing.assert_close(result, expected)


def test_log10_is_a_smaller_natural_step():
    attention = softmax_attention(2, 9)
    torch.testing.assert_close(
        reduce_entropy(attention, step_size=0.1),
        reduce_entropy(attention, step_size=0.1 * math.log10(math.e), log="natural"),
    )


@settings(deadline=None)
@given(
    attention=arrays.arrays(
        np.float64, (2, 5, 5), elements=st.floats(0, 1, allow_subnormal=False) | st.just(0.0)
    ),
    step_size=st.floats(0, 0.5),
    log=st.sampled_from(["natural", "log10"]),
)
def test_any_attention_equals_the_reference(attention, step_size, log):
    result = reduce_entropy(torch.from_numpy(attention), step_size=step_size, log=log).numpy()
    expected = [reference.reduce_entropy(image, step_size, log) for image in attention]
    np.testing.assert_allclose(result, expected, atol=1e-9)
    np.testing.assert_allclose(result.sum(axis=2), 1)
    assert np.all(result >= 0)


def test_an_exact_zero_stays_zero():
    attention = torch.tensor([[[0.0, 1.0], [0.6, 0.4]]])
    for step_size in (0.0, 0.02, 1.0):
        assert reduce_entropy(attention, step_size=step_size)[0, 0, 0] == 0


def test_a_query_that_keeps_nothing_attends_to_itself():
    # Row 1 is a tenth of its columns' maxima: 0.1 + 0.1 * (1 + ln 0.1) < 0.
    attention = torch.tensor([[[1.0, 1.0], [0.1, 0.1]]])
    result = reduce_entropy(attention, step_size=0.1, log="natural")
    assert result.tolist() == [[[0.5, 0.5], [0.0, 1.0]]]


def test_without_attention_everything_attends_to_itself():
    result = reduce_entropy(torch.zeros(2, 3, 3), step_size=0.02)
    assert torch.equal(result, torch.eye(3).expand(2, 3, 3))


def test_entropy_goes_down():
    attention = softmax_attention(1, 64)
    scaled = reduce_entropy(attention, step_size=0.0)[0].numpy()
    reduced = reduce_entropy(attention, step_size=0.02)[0].numpy()
    assert reference.entropy(reduced) < 0.9 * reference.entropy(scaled)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_raised(dtype):
    attention = softmax_attention(2, 16).to(dtype)
    result = reduce_entropy(attention, step_size=0.02)
    assert result.dtype == torch.float32
    expected = reduce_entropy(attention.double(), step_size=0.02)
    torch.testing.assert_close(result.double(), expected, atol=1e-6, rtol=1e-5)


def test_the_input_is_left_alone():
    attention = softmax_attention(2, 8)
    before = attention.clone()
    reduce_entropy(attention, step_size=0.02)
    assert torch.equal(attention, before)


def test_an_image_does_not_depend_on_its_neighbours():
    attention, others = softmax_attention(3, 20), softmax_attention(3, 20, seed=1)
    others[1] = attention[1]
    together = reduce_entropy(attention, step_size=0.02)[1]
    assert torch.equal(together, reduce_entropy(others, step_size=0.02)[1])
    assert torch.equal(together, reduce_entropy(attention[1:2], step_size=0.02)[0])
