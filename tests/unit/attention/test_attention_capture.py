import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from attention_reference import attention_logits, attention_module, softmax
from diffusers import UNet2DConditionModel
from random_models import random_unet
from sd21_layers import CROSS_LAYERS, SELF_LAYER

from iseg_cli.attention.attention_capture import AttentionCapture, CapturePlan, check_captured
from iseg_cli.benchmark.architecture import UNET
from iseg_cli.errors import SettingsError

SIDE = 16
PLAN = CapturePlan(CROSS_LAYERS, {4: 0.7, 2: 0.3}, SELF_LAYER)
AT_4 = [layer for layer in CROSS_LAYERS if layer.startswith(("down_blocks.2", "up_blocks.1"))]
AT_2 = [layer for layer in CROSS_LAYERS if layer not in AT_4]


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(1)
    return random_unet()


@pytest.fixture(scope="module")
def inputs():
    generator = torch.Generator().manual_seed(2)
    latents = torch.randn(2, 4, SIDE, SIDE, generator=generator)
    text = torch.randn(2, 9, 32, generator=generator)
    return latents, torch.tensor([100]), text


def forward(unet, inputs):
    with torch.inference_mode():
        return unet(*inputs).sample


def capture(unet, inputs, plan, **options):
    with AttentionCapture(unet, plan, side=SIDE).attached(**options) as captured:
        output = forward(unet, inputs)
    check_captured(captured, plan, side=SIDE)
    return captured, output


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_model_computes_the_same_attached_or_not(unet, inputs, dtype):
    model = copy.deepcopy(unet).to(dtype)
    latents, timestep, text = inputs
    inputs = (latents.to(dtype), timestep, text.to(dtype))
    before = forward(model, inputs)
    captured, during = capture(model, inputs, PLAN)
    assert torch.equal(during, before)
    assert torch.equal(forward(model, inputs), before)
    for attention in (captured.mean_cross(4), captured.mean_cross(8), captured.self_attention):
        assert attention.dtype == torch.float32
        torch.testing.assert_close(attention.sum(dim=2), torch.ones(attention.shape[:2]))


def test_attention_here_is_far_from_uniform(unet, inputs):
    """With uniform attention the tests below would prove little."""
    captured, _ = capture(unet, inputs, PLAN)
    assert captured.mean_cross(4).amax(dim=2).mean() > 1.5 / 9
    assert captured.self_attention.amax(dim=2).mean() > 5 / SIDE**2


def test_its_own_processors_are_back_afterwards(unet, inputs):
    before = dict(unet.attn_processors)

    def assert_restored():
        after = unet.attn_processors
        assert all(after[name] is processor for name, processor in before.items())

    capture(unet, inputs, PLAN, key_scale=torch.full((2, 9), 1.6))
    assert_restored()
    with pytest.raises(KeyError), AttentionCapture(unet, PLAN, side=SIDE).attached():
        raise KeyError
    assert_restored()
    with pytest.raises(RuntimeError), AttentionCapture(unet, PLAN, side=SIDE).attached():
        forward(unet, (inputs[0][:, :3], *inputs[1:]))
    assert_restored()
    with (
        pytest.raises(SettingsError),
        AttentionCapture(unet, replace(PLAN, self_heads=(9,)), side=SIDE).attached(),
    ):
        forward(unet, inputs)
    assert_restored()


def test_cross_attention_is_the_mean_over_all_heads(unet, inputs):
    captured, _ = capture(unet, inputs, PLAN)
    heard = attention_logits(unet, lambda: forward(unet, inputs), CROSS_LAYERS, "attn2")
    for side, layers in ((4, AT_4), (8, AT_2)):
        expected = softmax(np.concatenate([heard[layer] for layer in layers], axis=1)).mean(axis=1)
        assert expected.shape == (2, side * side, 9)
        np.testing.assert_allclose(captured.mean_cross(side), expected, atol=1e-5)
    assert captured.heads == captured.seen == {4: 20, 8: 12}
    assert set(captured.cross) == {4, 8}


def test_chosen_heads_are_counted_over_the_layers_in_their_order(unet, inputs):
    chosen = {4: (0, 19, 7, 13, 4), 2: (11, 2)}
    captured, _ = capture(unet, inputs, replace(PLAN, cross_heads=chosen))
    heard = attention_logits(unet, lambda: forward(unet, inputs), CROSS_LAYERS, "attn2")
    for divisor, layers in ((4, AT_4), (2, AT_2)):
        every = softmax(np.concatenate([heard[layer] for layer in layers], axis=1))
        expected = every[:, list(chosen[divisor])].mean(axis=1)
        np.testing.assert_allclose(captured.mean_cross(SIDE // divisor), expected, atol=1e-5)
    assert captured.heads == {4: 5, 8: 2}


def test_the_order_in_which_layers_are_listed_does_not_matter(unet, inputs):
    plan = replace(PLAN, cross_heads={4: (3, 17)})
    one, _ = capture(unet, inputs, plan)
    other, _ = capture(unet, inputs, replace(plan, cross_layers=CROSS_LAYERS[::-1]))
    assert torch.equal(one.mean_cross(4), other.mean_cross(4))


def test_one_resolution_may_be_left_out(unet, inputs):
    captured, _ = capture(unet, inputs, replace(PLAN, cross_weights={4: 0.0, 2: 1.0}))
    assert set(captured.cross) == {8}


@pytest.mark.parametrize("heads", [None, (0,), (1,), (1, 0)])
def test_self_attention_runs_from_queries_to_keys(unet, inputs, heads):
    captured, _ = capture(unet, inputs, replace(PLAN, self_heads=heads))
    heard = attention_logits(unet, lambda: forward(unet, inputs), [SELF_LAYER], "attn1")[SELF_LAYER]
    every = softmax(heard)
    expected = every[:, list(heads or (0, 1))].mean(axis=1)
    np.testing.assert_allclose(captured.self_attention, expected, atol=1e-5)
    np.testing.assert_allclose(captured.self_attention.sum(dim=2), 1, atol=1e-5)
    # Rows and columns are not to be confused: they differ by far more than the tolerance.
    assert np.abs(expected - expected.transpose(0, 2, 1)).max() > 0.1


def test_scaled_keys_change_their_own_tokens_alone(unet, inputs):
    """Equation 8, in the first layer, whose queries no earlier layer has changed."""
    layer = "down_blocks.0.attentions.0"
    plan = CapturePlan((layer,), {1: 1.0}, SELF_LAYER, {1: (1,)})
    scale = torch.ones(2, 9)
    scale[0, 3] = scale[0, 4] = scale[1, 7] = 1.6
    plain, _ = capture(unet, inputs, plan)
    scaled, _ = capture(unet, inputs, plan, key_scale=scale)
    own = attention_logits(unet, lambda: forward(unet, inputs), [layer], "attn2")[layer][:, 1]
    ratio = (scaled.mean_cross(SIDE).double().log() - plain.mean_cross(SIDE).double().log()).numpy()
    for image, tokens in ((0, [3, 4]), (1, [7])):
        others = [token for token in range(9) if token not in tokens]
        shared = ratio[image][:, others].mean(axis=1, keepdims=True)  # the softmax's denominator
        np.testing.assert_allclose(ratio[image][:, others] - shared, 0, atol=1e-4)
        gain = ratio[image][:, tokens] - shared
        np.testing.assert_allclose(gain, 0.6 * own[image][:, tokens], atol=1e-4)
        assert np.abs(gain).max() > 0.1


def test_keys_are_scaled_in_every_layer_and_values_in_none(unet, inputs):
    scale = torch.linspace(0.5, 2, 18).reshape(2, 9)
    _, output = capture(unet, inputs, PLAN, key_scale=scale)
    handles = [
        module.to_k.register_forward_hook(lambda module, args, keys: keys * scale[..., None])
        for name, module in unet.named_modules()
        if name.endswith("attn2")
    ]
    expected = forward(unet, inputs)
    for handle in handles:
        handle.remove()
    assert len(handles) == 16
    torch.testing.assert_close(output, expected)
    assert not torch.allclose(output, forward(unet, inputs), atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"cross_layers": ("up_block.1.attentions.0",)},
            r"capture\.cross_layers asks for up_block\.1.*did you mean up_blocks\.1\.attentions\.0",
        ),
        ({"self_layer": "up_blocks.9.attentions.1"}, r"capture\.self_layer asks for up_blocks\.9"),
        ({"cross_weights": {8: 1.0}}, r"capture\.cross_weights asks for maps of side L/8.*4, 8"),
        ({"cross_heads": {4: (3, 20)}}, r"capture\.cross_heads .*head 20 at L/4.*heads 0 to 19"),
        ({"cross_heads": {2: (99,)}}, r"capture\.cross_heads .*head 99 at L/2.*heads 0 to 11"),
        ({"cross_heads": {2: ()}}, r"capture\.cross_heads leaves no head at L/2"),
        ({"self_heads": (0, 2)}, r"capture\.self_heads is \[0, 2\].*heads 0 to 1"),
        ({"self_heads": ()}, r"capture\.self_heads is \[\]"),
    ],
)
def test_what_a_model_lacks_is_named(unet, inputs, changes, message):
    with pytest.raises(SettingsError, match=message):
        capture(unet, inputs, replace(PLAN, **changes))


def test_the_heads_of_sd21_at_its_true_size():
    """Only shapes are tested: the device `meta` computes nothing."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(**UNET)
        inputs = (torch.empty(1, 4, 64, 64), torch.empty(1), torch.empty(1, 77, 1024))
    assert sum(parameter.numel() for parameter in unet.parameters()) == 865_910_724
    order = []
    for layer in sorted(CROSS_LAYERS):
        attention_module(unet, layer, "attn2").register_forward_hook(
            lambda *_, layer=layer: order.append(layer)
        )
    with AttentionCapture(unet, PLAN, side=64).attached() as captured:
        forward(unet, inputs)
    check_captured(captured, PLAN, side=64)
    assert captured.seen == captured.heads == {32: 30, 16: 100}
    assert captured.cross[16].shape == (1, 256, 77)
    assert captured.cross[32].shape == (1, 1024, 77)
    assert captured.self_attention.shape == (1, 4096, 4096)
    assert tuple(order) == CROSS_LAYERS
    assert [layer for layer in order if attention_module(unet, layer, "attn2").heads == 20] == [
        "down_blocks.2.attentions.0",
        "down_blocks.2.attentions.1",
        "up_blocks.1.attentions.0",
        "up_blocks.1.attentions.1",
        "up_blocks.1.attentions.2",
    ]
    assert attention_module(unet, SELF_LAYER, "attn1").heads == 5
