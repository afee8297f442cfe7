import dataclasses
import itertools

import numpy as np
import pytest
import reference
import torch
from attention_reference import attention_logits, softmax
from diffusers import DDIMScheduler, StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from sd21_layers import CROSS_LAYERS, SELF_LAYER

from iseg_cli.attention.sampler import Sampler, steps_read
from iseg_cli.backbones.loading import load_model
from iseg_cli.backbones.prompts import fill_template
from iseg_cli.config import validate
from iseg_cli.errors import ModelNotFoundError, SettingsError
from iseg_cli.types import Category

CPU = torch.device("cpu")
SIDE = 16
TEMPLATE = "a photograph of {} and other object and background"


@pytest.fixture(scope="module")
def model(random_model_folder):
    """The random model with its decoder; it predicts noise."""
    return load_model(str(random_model_folder), device=CPU, dtype=torch.float32, decoder=True)


@pytest.fixture(scope="module")
def embedded():
    """The embedded model with its decoder; it predicts velocity."""
    return load_model("tiny", device=CPU, dtype=torch.float32, decoder=True)


def sampler(model, batch_size=1, gamma=1.6, capture=None, **synthesis):
    settings = {
        "synthesis": {"steps": 4, "guidance": 3.0, **synthesis},
        "cat_cross": {"gamma": gamma},
        "capture": capture or {},
    }
    return Sampler(model, validate(settings), batch_size=batch_size)


def prompt_of(model, *names, template=TEMPLATE):
    named = [Category(label, name, name) for label, name in enumerate(names, start=1)]
    return fill_template(template, named, model.tokenizer, max_tokens=model.max_tokens)


def noise(model, seed):
    side = model.latent_side
    return torch.randn(1, 4, side, side, generator=torch.Generator().manual_seed(seed))


def assert_same(one, other):
    assert np.array_equal(one.images, other.images)
    assert torch.equal(one.attention.cross, other.attention.cross)
    assert torch.equal(one.attention.self_attention, other.attention.self_attention)


def assert_near(images, expected):
    """Assert equality, except for rounding to whole numbers."""
    assert np.abs(images.astype(int) - expected.astype(int)).max() <= 1
    assert (images == expected).mean() > 0.99


@pytest.mark.parametrize("guidance", [1.0, 4.0])
@pytest.mark.parametrize("which", ["random", "tiny"])
def test_images_are_those_of_diffusers_own_pipeline(request, which, guidance, random_model_folder):
    model = request.getfixturevalue("embedded" if which == "tiny" else "model")
    prompts = [prompt_of(model, "dog"), prompt_of(model, "car", "person")]
    capture = {"cross_layers": [SELF_LAYER], "cross_weights": {1: 1.0}}
    own = sampler(model, 2, guidance=guidance, steps=6, capture=capture)
    drawn = own.draw(prompts, [5, 6])
    folder = model.source
    pipeline = StableDiffusionPipeline.from_pretrained(folder) if which == "tiny" else pipe(model)
    pipeline.scheduler = DDIMScheduler.from_config(model.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        [prompt.text for prompt in prompts],
        latents=torch.cat([noise(model, 5), noise(model, 6)]),
        guidance_scale=guidance,
        num_inference_steps=6,
        output_type="np",
    ).images
    assert drawn.images.shape == (2, model.image_size, model.image_size, 3)
    assert drawn.images.dtype == np.uint8
    assert drawn.finite == (True, True)
    assert drawn.images.std() > 10  # a picture rather than a grey plane
    assert_near(drawn.images, (expected * 255).round().astype(np.uint8))


def pipe(model):
    """Return diffusers' pipeline with the parts of a model."""
    return StableDiffusionPipeline(
        vae=model.vae,
        text_encoder=model.text_encoder,
        tokenizer=model.tokenizer,
        unet=model.unet,
        scheduler=DDIMScheduler.from_config(model.scheduler.config),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sampled_by_hand(model, prompt, seed, *, steps, guidance):
    """Yield (step, timestep, latents) of DDIM, from its formula in float64; the last has no step.

    Uses the model's own modules and nothing of our sampler or of diffusers' scheduler.
    """
    kept = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
    jump = 1000 // steps
    latents = noise(model, seed).double()
    with torch.inference_mode():
        for step, timestep in enumerate(reversed(range(1, 1 + steps * jump, jump))):
            yield step, timestep, latents
            predicted = []
            for text in ("", prompt.text):
                output = model.unet(
                    latents.float(),
                    torch.tensor(timestep),
                    encoder_hidden_states=embedding(model, text),
                )
                predicted.append(output.sample.double())
            epsilon = predicted[0] + guidance * (predicted[1] - predicted[0])
            now, then = kept[timestep], kept[max(timestep - jump, 0)]
            clean = (latents - (1 - now) ** 0.5 * epsilon) / now**0.5
            latents = then**0.5 * clean + (1 - then) ** 0.5 * epsilon
        yield None, None, latents


def embedding(model, text):
    ids = model.tokenizer(text)["input_ids"]
    padded = torch.tensor([ids + [0] * (77 - len(ids))])  # padded with "!"
    return model.text_encoder(padded).last_hidden_state


@pytest.mark.parametrize(("gamma", "first", "last"), [(1.0, 0, 1), (1.6, 0, 1), (1.6, 0.5, 0.8)])
def test_attention_is_the_mean_over_the_steps_that_are_read(model, gamma, first, last):
    """The attention is that of the model's layers in the conditional forward of each step."""
    prompt = prompt_of(model, "potted plant", "car")
    own = sampler(model, gamma=gamma, read_from=first, read_to=last)
    drawn = own.draw([prompt], [7])
    maps, self_attentions = [], []
    for step, timestep, latents in sampled_by_hand(model, prompt, 7, steps=4, guidance=3.0):
        if step is None:
            decoded = model.vae.decode(latents.float() / 0.18215).sample[0]
            picture = decoded.permute(1, 2, 0).add(1).mul(127.5).round().clamp(0, 255)
            assert_near(drawn.images[0], picture.numpy().astype(np.uint8))
        elif first <= (step + 0.5) / 4 <= last:
            cross, attention = attention_by_hand(model, latents, timestep, prompt, gamma)
            maps.append(cross)
            self_attentions.append(attention)
    assert len(maps) == (4 if first == 0 else 1)
    found = drawn.attention
    np.testing.assert_allclose(found.cross[0], np.mean(maps, axis=0), rtol=5e-3, atol=1e-6)
    np.testing.assert_allclose(found.self_attention[0], np.mean(self_attentions, axis=0), atol=5e-5)
    assert found.side == SIDE
    assert found.valid.tolist() == [[True, True]]
    torch.testing.assert_close(found.self_attention.sum(dim=2), torch.ones(1, SIDE**2))


def attention_by_hand(model, latents, timestep, prompt, gamma):
    """Return one step's fused category maps [K, C] and mean self-attention [K, K]."""
    with torch.inference_mode():
        text = embedding(model, prompt.text).clone()
        for token in itertools.chain.from_iterable(prompt.tokens):
            text[0, token] *= gamma

        def run():
            model.unet(latents.float(), torch.tensor(timestep), encoder_hidden_states=text)

        cross = attention_logits(model.unet, run, CROSS_LAYERS, "attn2")
        own = attention_logits(model.unet, run, [SELF_LAYER], "attn1")
    by_side = {}
    for values in cross.values():
        by_side.setdefault(values.shape[2], []).append(softmax(values)[0])
    means = {int(pixels**0.5): np.concatenate(h).mean(axis=0) for pixels, h in by_side.items()}
    fused = reference.fuse_resolutions([means[4], means[8]], [0.7, 0.3], SIDE)
    return reference.tokens_to_categories(fused, prompt.tokens), softmax(own[SELF_LAYER])[0].mean(0)


def test_reading_changes_no_image(model):
    prompt = prompt_of(model, "dog")
    images = [
        sampler(model, **options).draw([prompt], [3]).images
        for options in (
            {"gamma": 1.6},
            {"gamma": 1.0},
            {"gamma": 2.5, "read_from": 0.0},
            {"gamma": 1.0, "read_from": 0.8},
        )
    ]
    assert all(np.array_equal(image, images[0]) for image in images)


def test_neighbours_change_no_bit(model):
    """The position in the batch, other images and their number change nothing."""
    prompts = [
        prompt_of(model, "dog"),
        prompt_of(model, "sofa", "car", template="{} and grass"),
        prompt_of(model, "bus"),
    ]
    seeds = [11, 12, 13]
    own = sampler(model, 3)
    alone = [own.draw([prompt], [seed]) for prompt, seed in zip(prompts, seeds, strict=True)]
    for batch in ([0, 1, 2], [2, 0], [1, 2]):
        drawn = own.draw([prompts[i] for i in batch], [seeds[i] for i in batch])
        assert len(drawn.images) == len(batch)
        widest = max(len(prompts[i].columns) for i in batch)
        for row, i in enumerate(batch):
            count = len(prompts[i].columns)
            assert np.array_equal(drawn.images[row], alone[i].images[0]), (batch, i)
            cross, attention = drawn.attention.cross[row], drawn.attention.self_attention[row]
            assert torch.equal(cross[:, :count], alone[i].attention.cross[0]), (batch, i)
            assert torch.equal(attention, alone[i].attention.self_attention[0]), (batch, i)
            valid = drawn.attention.valid[row].tolist()
            assert valid == [True] * count + [False] * (widest - count)
            assert not cross[:, count:].any()


def test_an_image_follows_its_seed_and_nothing_else(model):
    prompt = prompt_of(model, "dog")
    torch.manual_seed(0)
    one = sampler(model).draw([prompt], [3])
    torch.manual_seed(1)
    assert_same(one, sampler(model).draw([prompt], [3]))
    other = sampler(model).draw([prompt], [4])
    assert (other.images != one.images).mean() > 0.5
    far = sampler(model).draw([prompt_of(model, "car")], [3])
    assert not np.array_equal(far.images, one.images)


def test_a_sampler_leaves_the_model_as_it_was(model):
    before, scheduler = model.unet.attn_processors, model.scheduler.timesteps.clone()
    sampler(model).draw([prompt_of(model, "dog")], [3])
    assert all(model.unet.attn_processors[k] is v for k, v in before.items())
    assert torch.equal(model.scheduler.timesteps, scheduler)


@pytest.mark.parametrize(
    ("steps", "first", "last", "chosen"),
    [
        (4, 0, 1, {0, 1, 2, 3}),
        (4, 0.5, 1, {2, 3}),
        (5, 0.5, 1, {2, 3, 4}),  # the middle of the third of five steps is 0.5
        (10, 0.25, 0.45, {2, 3, 4}),
        (50, 0.9, 1, {45, 46, 47, 48, 49}),
        (1, 0, 1, {0}),
    ],
)
def test_which_steps_are_read(steps, first, last, chosen):
    assert steps_read(steps, first=first, last=last) == chosen


def test_shares_between_two_steps_are_refused():
    with pytest.raises(SettingsError, match=r"none of 4 steps lies between .* 0.4 and .* 0.6"):
        steps_read(4, first=0.4, last=0.6)


@pytest.mark.parametrize(
    ("synthesis", "said"),
    [
        ({"steps": 1001}, "this model has 1000 timesteps"),
        ({"steps": 1000}, "after the last of this model's 1000 timesteps"),
        ({"steps": 3, "read_from": 0.2, "read_to": 0.4}, "none of 3 steps"),
    ],
)
def test_settings_that_cannot_be_are_said(model, synthesis, said):
    with pytest.raises(SettingsError, match=said):
        sampler(model, **synthesis)


def test_half_precision_draws_too(random_model_folder):
    model = load_model(str(random_model_folder), device=CPU, dtype=torch.bfloat16, decoder=True)
    drawn = sampler(model).draw([prompt_of(model, "dog")], [3])
    assert drawn.finite == (True,)
    assert drawn.attention.self_attention.dtype == torch.float32


def test_a_picture_that_overflows_is_told(random_model_folder):
    model = load_model(str(random_model_folder), device=CPU, dtype=torch.float32, decoder=True)
    model.vae.decoder.conv_out.bias.data[1] = float("inf")
    drawn = sampler(model).draw([prompt_of(model, "dog")], [3])
    assert drawn.finite == (False,)


def test_drawing_takes_a_decoder(random_model, random_model_folder, tmp_path, model):
    with pytest.raises(ValueError, match="without its decoder"):
        sampler(random_model)
    assert {name.split(".")[0] for name, _ in model.vae.named_parameters()} == {
        *("encoder", "quant_conv", "decoder", "post_quant_conv")
    }
    folder = tmp_path / "model"
    copy_without_decoder(random_model_folder, folder)
    load_model(str(folder), device=CPU)
    with pytest.raises(ModelNotFoundError, match=r"drawing needs the decoder: .*lack dec"):
        load_model(str(folder), device=CPU, decoder=True)


def copy_without_decoder(source, target):
    for part in source.iterdir():
        (target / part.name).mkdir(parents=True)
        for file in part.iterdir():
            (target / part.name / file.name).write_bytes(file.read_bytes())
    weights = target / "vae" / "diffusion_pytorch_model.safetensors"
    kept = {
        name: tensor
        for name, tensor in load_file(weights).items()
        if not name.startswith(("decoder.", "post_quant_conv."))
    }
    save_file(kept, weights, {"format": "pt"})


def test_weights_of_the_decoder_count_in_the_fingerprint(model, random_model):
    assert model.fingerprint() != random_model.fingerprint()
    bare = dataclasses.replace(model, vae=random_model.vae)
    assert bare.fingerprint() == random_model.fingerprint()
