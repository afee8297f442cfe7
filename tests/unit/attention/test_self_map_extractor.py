"""Self-attention of all layers against softmaxes of the layers' projections in float64."""

import numpy as np
import pytest
import reference
import torch
from attention_reference import attention_logits, softmax
from random_models import random_unet
from sd21_layers import SELF_LAYER

from iseg_cli.attention.self_capture import RefiningLayer, capture_self
from iseg_cli.attention.self_map_extractor import SelfMapExtractor
from iseg_cli.config import validate
from iseg_cli.errors import SettingsError

SIDE = 16
LAYERS = {
    16: [f"down_blocks.0.attentions.{i}" for i in (0, 1)]
    + [f"up_blocks.3.attentions.{i}" for i in (0, 1, 2)],
    8: [f"down_blocks.1.attentions.{i}" for i in (0, 1)]
    + [f"up_blocks.2.attentions.{i}" for i in (0, 1, 2)],
    4: [f"down_blocks.2.attentions.{i}" for i in (0, 1)]
    + [f"up_blocks.1.attentions.{i}" for i in (0, 1, 2)],
    2: ["mid_block.attentions.0"],
}
"""All layers of SD 2.1's UNet by the side of their grids in this test."""


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(1)
    return random_unet()


@pytest.fixture(scope="module")
def inputs():
    generator = torch.Generator().manual_seed(2)
    latents = torch.randn(2, 4, SIDE, SIDE, generator=generator)
    text = torch.randn(2, 9, 32, generator=generator)
    return latents, torch.tensor([300]), text


def forward(unet, inputs):
    with torch.inference_mode():
        return unet(*inputs).sample


def capture(unet, inputs, *, every_layer=True, refining=None):
    with capture_self(unet, side=SIDE, every_layer=every_layer, refining=refining) as captured:
        output = forward(unet, inputs)
    return captured, output


def heard_means(unet, run):
    """Return the sum over a resolution's layers of the mean over heads, [batch, K, K]."""
    everything = [layer for layers in LAYERS.values() for layer in layers]
    heard = attention_logits(unet, run, everything, "attn1")
    return {
        side: sum(softmax(heard[layer]).mean(axis=1) for layer in layers)
        for side, layers in LAYERS.items()
    }


# --- one forward -------------------------------------------------------------------------------


def test_every_layer_counts_once(unet, inputs):
    captured, _ = capture(unet, inputs)
    expected = heard_means(unet, lambda: forward(unet, inputs))
    assert captured.layers == {16: 5, 8: 5, 4: 5, 2: 1}
    for side, total in expected.items():
        np.testing.assert_allclose(captured.sums[side], total, atol=1e-5)
    assert [one.shape[1] for one in captured.finest_first()] == [256, 64, 16, 4]
    assert captured.refining is None


def test_the_model_computes_the_same_attached_or_not(unet, inputs):
    before, processors = forward(unet, inputs), dict(unet.attn_processors)
    _, during = capture(unet, inputs, refining=RefiningLayer(SELF_LAYER))
    assert torch.equal(during, before)
    after = unet.attn_processors
    assert all(after[name] is processor for name, processor in processors.items())


@pytest.mark.parametrize("every_layer", [True, False])
@pytest.mark.parametrize("heads", [None, (1,)])
def test_one_layer_is_read_by_itself(unet, inputs, heads, every_layer):
    captured, _ = capture(
        unet, inputs, every_layer=every_layer, refining=RefiningLayer(SELF_LAYER, heads)
    )
    heard = attention_logits(unet, lambda: forward(unet, inputs), [SELF_LAYER], "attn1")[SELF_LAYER]
    expected = softmax(heard)[:, list(heads or (0, 1))].mean(axis=1)
    np.testing.assert_allclose(captured.refining, expected, atol=1e-5)
    plain, _ = capture(unet, inputs)
    assert set(captured.sums) == (set(plain.sums) if every_layer else set())
    for side, total in captured.sums.items():  # reading it leaves the sums as they are
        assert torch.equal(total, plain.sums[side])


def test_what_a_model_lacks_is_named(unet, inputs):
    with pytest.raises(SettingsError, match=r"capture\.self_layer asks for up_blocks\.9"):
        capture(unet, inputs, refining=RefiningLayer("up_blocks.9.attentions.1"))
    with pytest.raises(SettingsError, match=r"capture\.self_heads is \[0, 2\].*heads 0 to 1"):
        capture(unet, inputs, refining=RefiningLayer(SELF_LAYER, (0, 2)))


# --- images ------------------------------------------------------------------------------------


def images(count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)


def settings(*, steps=(300, 100), mode="iterative", noise=True, **sections):
    return validate(
        {
            "task": "unsupervised",
            "diffseg": {"timestep": steps[0], "noise": noise},
            "capture": {"timestep": steps[1]},
            "refine": {"mode": mode},
            **sections,
        }
    )


def by_hand(model, image, timestep, *, seed=1101, noise=True):
    """Return the attention of one image, from the model's modules, NumPy and the formulas."""
    with torch.inference_mode():
        pixels = torch.tensor(image, dtype=torch.float32).permute(2, 0, 1)[None] / 127.5 - 1
        latent = model.vae.encode(pixels).latent_dist.mean * 0.18215
        if noise:
            drawn = torch.randn(1, 4, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
            betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
            kept = float(np.cumprod(1 - betas)[timestep])
            latent = kept**0.5 * latent + (1 - kept) ** 0.5 * drawn
        ids = model.tokenizer("")["input_ids"]
        ids = torch.tensor([ids + [0] * (77 - len(ids))])  # padded with "!"
        text = model.text_encoder(ids).last_hidden_state

        def run():
            model.unet(latent, torch.tensor(timestep), encoder_hidden_states=text)

        sums = heard_means(model.unet, run)
        own = attention_logits(model.unet, run, [SELF_LAYER], "attn1")[SELF_LAYER]
    maps = [sums[side][0] / len(LAYERS[side]) for side in sorted(sums, reverse=True)]
    return reference.merge_resolutions(maps, SIDE), softmax(own)[0].mean(axis=0)


@pytest.mark.parametrize(
    "options",
    [{}, {"steps": (300, 300)}, {"noise": False}, {"steps": (50, 700), "seed": 5}],
)
def test_maps_of_one_image(random_model, options):
    [image] = images(1)
    maps = SelfMapExtractor(random_model, settings(**options)).extract(image[None])
    steps = options.get("steps", (300, 100))
    passed = {name: options[name] for name in ("noise", "seed") if name in options}
    merged, _ = by_hand(random_model, image, steps[0], **passed)
    _, refining = by_hand(random_model, image, steps[1], **passed)
    assert maps.side == SIDE
    np.testing.assert_allclose(maps.merged[0], merged, atol=2e-5)
    np.testing.assert_allclose(maps.refining[0], refining, atol=2e-5)
    np.testing.assert_allclose(maps.merged.sum(dim=2), 1, atol=1e-5)


def test_both_come_from_one_forward_at_one_timestep(random_model):
    forwards = []
    handle = random_model.unet.register_forward_hook(lambda *_: forwards.append(None))
    try:
        for steps, mode, expected in (
            ((300, 300), "iterative", 1),
            ((300, 100), "iterative", 2),
            ((300, 100), "none", 1),
        ):
            forwards.clear()
            chosen = settings(steps=steps, mode=mode)
            maps = SelfMapExtractor(random_model, chosen).extract(images(1))
            assert len(forwards) == expected
            assert (maps.refining is None) == (mode == "none")
    finally:
        handle.remove()


def test_neighbours_and_filling_change_no_bit(random_model):
    extractor = SelfMapExtractor(random_model, settings(), batch_size=3)
    pictures = images(4)
    alone = [extractor.extract(picture[None]) for picture in pictures]
    for rows in ([0, 1, 2], [2, 0], [3, 3, 1]):
        maps = extractor.extract(pictures[rows])
        assert maps.merged.shape == maps.refining.shape == (len(rows), 256, 256)
        for row, i in enumerate(rows):
            assert torch.equal(maps.merged[row], alone[i].merged[0])
            assert torch.equal(maps.refining[row], alone[i].refining[0])


@pytest.mark.parametrize("steps", [(1000, 100), (300, 1000)])
def test_timesteps_that_the_model_lacks_are_refused(random_model, steps):
    name = "diffseg" if steps[0] == 1000 else "capture"
    with pytest.raises(SettingsError, match=rf"{name}\.timestep is 1000, .* 0 to 999"):
        SelfMapExtractor(random_model, settings(steps=steps))
