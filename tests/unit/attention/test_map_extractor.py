import dataclasses
import itertools

import numpy as np
import pytest
import reference
import torch
from attention_reference import attention_logits, softmax
from sd21_layers import CROSS_LAYERS, SELF_LAYER

from iseg_cli.attention.map_extractor import MapExtractor
from iseg_cli.backbones.loading import load_model
from iseg_cli.config import validate
from iseg_cli.errors import PromptError, SettingsError
from iseg_cli.segmentation.category_maps import assign_labels, category_maps
from iseg_cli.types import Category

SIDE = 16
PIXELS = SIDE * SIDE


def categories(*names):
    return tuple(Category(i, name, name) for i, name in enumerate(names, start=1))


DOG, PAIR = categories("dog"), categories("potted plant", "car")
LONG = categories(*("zyxwvutsrqponm" + letter for letter in "abcdef"))
"""Categories that need more than one prompt, because their words are spelled by letters."""


def images(count, seed=0):
    # Blocks of one colour, so that images differ in more than noise.
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)


def settings(**sections):
    return validate(sections)


def extractor(model, batch_size=1, words=(), **sections):
    return MapExtractor(model, settings(**sections), background_words=words, batch_size=batch_size)


def by_hand(model, image, prompt, *, seed=1101, timestep=100, gamma=1.6, self_layer=SELF_LAYER):
    """Return both attentions of an image with a prompt: [K, tokens] per resolution, [K, K].

    Uses the model's own modules, NumPy and the formulas; none of our extractor.
    """
    with torch.inference_mode():
        pixels = torch.tensor(image, dtype=torch.float32).permute(2, 0, 1)[None] / 127.5 - 1
        latent = model.vae.encode(pixels).latent_dist.mean * 0.18215
        noise = torch.randn(1, 4, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
        betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
        kept = float(np.cumprod(1 - betas)[timestep])
        noisy = kept**0.5 * latent + (1 - kept) ** 0.5 * noise
        ids = model.tokenizer(prompt.text)["input_ids"]
        ids = torch.tensor([ids + [0] * (77 - len(ids))])  # padded with "!"
        text = model.text_encoder(ids).last_hidden_state.clone()
        for token in itertools.chain.from_iterable(prompt.tokens):
            text[0, token] *= gamma

        def run():
            model.unet(noisy, torch.tensor(timestep), encoder_hidden_states=text)

        cross = attention_logits(model.unet, run, CROSS_LAYERS, "attn2")
        own = attention_logits(model.unet, run, [self_layer], "attn1")
    by_side = {}
    for values in cross.values():
        by_side.setdefault(values.shape[2], []).append(softmax(values)[0])
    return (
        {int(pixels**0.5): np.concatenate(heads) for pixels, heads in by_side.items()},
        softmax(own[self_layer])[0],
    )


@pytest.mark.parametrize(
    ("sections", "options"),
    [
        ({}, {}),
        ({"seed": 7}, {"seed": 7}),
        ({"capture": {"timestep": 300}}, {"timestep": 300}),
        ({"cat_cross": {"gamma": 1.0}}, {"gamma": 1.0}),
        ({"cat_cross": {"gamma": 2.5}}, {"gamma": 2.5}),
    ],
)
def test_maps_are_those_computed_by_hand(random_model, sections, options):
    own = extractor(random_model, words=["sky", "grass"], **sections)
    image = images(1)
    maps = own.extract(image, [PAIR])
    [prompt] = own.prompts(PAIR)
    assert prompt.text.endswith("background, sky, grass")
    cross, self_attention = by_hand(random_model, image[0], prompt, **options)
    fused = reference.fuse_resolutions(
        [cross[4].mean(axis=0), cross[8].mean(axis=0)], [0.7, 0.3], SIDE
    )
    expected = reference.tokens_to_categories(fused, prompt.tokens)
    np.testing.assert_allclose(maps.cross[0], expected, rtol=2e-3, atol=1e-7)
    np.testing.assert_allclose(maps.self_attention[0], self_attention.mean(axis=0), atol=2e-5)
    assert maps.side == SIDE
    assert maps.valid.tolist() == [[True, True]]


@pytest.mark.parametrize(
    ("layer", "side"),
    [
        ("up_blocks.2.attentions.1", 8),
        ("up_blocks.1.attentions.0", 4),
        ("down_blocks.2.attentions.0", 4),
        ("mid_block.attentions.0", 2),
    ],
)
def test_maps_lie_on_the_grid_of_the_layer_that_refines_them(random_model, layer, side):
    """Maps are fused on the layer's grid, because its attention multiplies them."""
    own = extractor(random_model, capture={"self_layer": layer})
    image = images(1)
    maps = own.extract(image, [PAIR])
    [prompt] = own.prompts(PAIR)
    cross, self_attention = by_hand(random_model, image[0], prompt, self_layer=layer)
    fused = reference.fuse_resolutions(
        [cross[4].mean(axis=0), cross[8].mean(axis=0)], [0.7, 0.3], side
    )
    expected = reference.tokens_to_categories(fused, prompt.tokens)
    assert maps.side == side
    np.testing.assert_allclose(maps.cross[0], expected, rtol=2e-3, atol=1e-7)
    np.testing.assert_allclose(maps.self_attention[0], self_attention.mean(axis=0), atol=2e-5)
    refined = reference.refine(expected, self_attention.mean(axis=0).astype(np.float64), 3)
    scores = reference.min_max(refined.T.reshape(-1, side, side))
    chosen = settings(refine={"mode": "naive", "iterations": 3})
    found = category_maps(maps, chosen)
    np.testing.assert_allclose(found.scores[0], scores, atol=2e-3)
    # Then they are enlarged to the image, whatever its size.
    [(labels_, _)] = assign_labels(found, maps.valid, [(11, 23)], chosen)
    assert tuple(labels_.shape) == (11, 23)


def test_chosen_heads_weights_and_clusters(random_model):
    capture = {
        "cross_heads": {4: [18, 3], 2: [0, 7, 11]},
        "cross_weights": {4: 0.2, 2: 0.5},
        "self_heads": [1],
    }
    cluster = {"enabled": True, "rounds": 3}
    own = extractor(random_model, capture=capture, cluster=cluster)
    image = images(1, seed=1)
    maps = own.extract(image, [PAIR])
    [prompt] = own.prompts(PAIR)
    cross, self_attention = by_hand(random_model, image[0], prompt)
    fused = reference.fuse_resolutions(
        [cross[4][[18, 3]].mean(axis=0), cross[8][[0, 7, 11]].mean(axis=0)], [0.2, 0.5], SIDE
    )
    clustered, _ = reference.cluster_maps(fused, SIDE, rounds=3)
    expected = reference.tokens_to_categories(clustered, prompt.tokens)
    np.testing.assert_allclose(maps.self_attention[0], self_attention[1], atol=2e-5)
    # A position between two clusters may fall to either within rounding.
    near = np.isclose(maps.cross[0], expected, rtol=5e-3, atol=1e-7).all(axis=1)
    assert near.mean() > 0.98
    unclustered = reference.tokens_to_categories(fused, prompt.tokens)
    assert not np.allclose(maps.cross[0], unclustered, rtol=5e-3, atol=1e-7)


def test_scaled_keys_differ_from_scaled_embeddings_only_by_the_values(random_model):
    """In the first layer with cross-attention that the text reaches, both forms agree."""
    first = {"cross_layers": ["down_blocks.0.attentions.0"], "cross_weights": {1: 1.0}}
    image = images(1)

    def cross(capture, gamma, apply):
        own = extractor(random_model, capture=capture, cat_cross={"gamma": gamma, "apply": apply})
        return own.extract(image, [PAIR]).cross

    keys, embeddings = cross(first, 1.6, "keys"), cross(first, 1.6, "embeddings")
    torch.testing.assert_close(keys, embeddings, rtol=1e-4, atol=1e-8)
    assert not torch.allclose(keys, cross(first, 1.0, "keys"), rtol=1e-2)
    # Deeper layers see other values, hence other queries.
    assert not torch.allclose(cross({}, 1.6, "keys"), cross({}, 1.6, "embeddings"), rtol=1e-3)
    assert torch.equal(cross({}, 1.0, "keys"), cross({}, 1.0, "embeddings"))


def test_the_latent_is_not_sampled(random_model):
    own = extractor(random_model)
    torch.manual_seed(0)
    one = own.extract(images(1), [DOG])
    torch.manual_seed(1)
    other = own.extract(images(1), [DOG])
    assert torch.equal(one.self_attention, other.self_attention)


def test_noise_comes_from_the_seed_alone(random_model):
    torch.manual_seed(5)
    one = extractor(random_model, seed=3).extract(images(1), [DOG])
    torch.manual_seed(6)
    same = extractor(random_model, seed=3).extract(images(1), [DOG])
    other = extractor(random_model, seed=4).extract(images(1), [DOG])
    assert torch.equal(one.cross, same.cross)
    assert not torch.allclose(one.self_attention, other.self_attention, atol=1e-4)


def test_equal_images_get_equal_noise(random_model):
    batch = images(1).repeat(3, axis=0)
    maps = extractor(random_model, 3).extract(batch, [DOG] * 3)
    for index in (1, 2):
        assert torch.equal(maps.self_attention[index], maps.self_attention[0])
        assert torch.equal(maps.cross[index], maps.cross[0])


VARIANTS = [
    {},
    {"cluster": {"enabled": True, "rounds": 3}},
    {"cat_cross": {"apply": "keys"}, "capture": {"cross_heads": {4: [1, 6]}}},
]


@pytest.mark.parametrize("sections", VARIANTS)
def test_neighbours_change_no_bit(random_model, sections):
    """The position in the batch, other images and their number change nothing."""
    own = extractor(random_model, 4, words=["sky"], **sections)
    assert len(own.prompts(LONG)) == 2
    pictures = images(6)
    labels = [DOG, PAIR, LONG, (), categories("sofa", "dog", "bus"), PAIR[1:]]
    alone = [own.extract(pictures[i : i + 1], [labels[i]]) for i in range(6)]
    for batch in ([0, 1, 2, 3], [3, 2, 1, 0], [5, 4], [2, 4, 2], [1, 5, 0], [4, 0, 2, 1]):
        maps = own.extract(pictures[batch], [labels[i] for i in batch])
        widest = max(len(labels[i]) for i in batch)
        assert maps.cross.shape == (len(batch), PIXELS, widest)
        for row, i in enumerate(batch):
            count = len(labels[i])
            assert torch.equal(maps.cross[row, :, :count], alone[i].cross[0]), (batch, i)
            assert torch.equal(maps.self_attention[row], alone[i].self_attention[0]), (batch, i)
            assert maps.valid[row].tolist() == [True] * count + [False] * (widest - count)
            assert not maps.cross[row, :, count:].any()


def test_one_image_at_a_time_or_four_are_close(random_model):
    pictures, labels = images(4), [DOG, PAIR, LONG, DOG]
    together = extractor(random_model, 4).extract(pictures, labels)
    single = extractor(random_model, 1)
    for i in range(4):
        maps = single.extract(pictures[i : i + 1], [labels[i]])
        cross = together.cross[i, :, : len(labels[i])]
        torch.testing.assert_close(cross, maps.cross[0], rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(
            together.self_attention[i], maps.self_attention[0], rtol=1e-4, atol=1e-6
        )


def test_an_image_of_several_prompts_has_the_maps_of_each(random_model):
    own = extractor(random_model)
    image = images(1)
    maps = own.extract(image, [LONG])
    assert maps.cross.shape == (1, PIXELS, len(LONG))
    prompts = own.prompts(LONG)
    parts = [own.extract(image, [[LONG[c] for c in prompt.columns]]) for prompt in prompts]
    assert len(parts) == 2
    assert torch.equal(torch.cat([part.cross for part in parts], dim=2), maps.cross)
    torch.testing.assert_close(
        maps.self_attention, (parts[0].self_attention + parts[1].self_attention) / 2
    )


@pytest.mark.parametrize("count", [1, 2])
def test_images_without_categories(random_model, count):
    maps = extractor(random_model, 2).extract(images(count), [()] * count)
    assert maps.cross.shape == (count, PIXELS, 0)
    assert maps.valid.shape == (count, 0)
    assert maps.valid.dtype == torch.bool
    torch.testing.assert_close(maps.self_attention.sum(dim=2), torch.ones(count, PIXELS))


def test_rows_sum_to_one_and_nothing_is_negative(random_model):
    maps = extractor(random_model, 2).extract(images(2), [PAIR, LONG])
    torch.testing.assert_close(maps.self_attention.sum(dim=2), torch.ones(2, PIXELS))
    assert maps.self_attention.min() >= 0
    assert maps.cross.min() >= 0


class Counting:
    """Return a model whose text encoder records the texts that it embeds."""

    def __init__(self, encoder):
        self.encoder, self.config, self.calls = encoder, encoder.config, []

    def __call__(self, ids):
        self.calls.append(ids.tolist())
        return self.encoder(ids)


def test_a_prompt_is_embedded_once(random_model):
    encoder = Counting(random_model.text_encoder)
    model = dataclasses.replace(random_model, text_encoder=encoder)
    own = extractor(model, 4)
    own.extract(images(3), [DOG, PAIR, DOG])
    own.extract(images(4), [PAIR, DOG, DOG, PAIR])
    assert len(encoder.calls) == 2
    own.extract(images(2), [LONG, LONG])
    assert len(encoder.calls) == 4
    assert all(len(ids) == 1 and len(ids[0]) == 77 for ids in encoder.calls)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_gives_maps_in_full(random_model, random_model_folder, dtype):
    model = load_model(str(random_model_folder), device=torch.device("cpu"), dtype=dtype)
    image, labels = images(2), [PAIR, DOG]
    for sections in VARIANTS:
        maps = extractor(model, 2, **sections).extract(image, labels)
        exact = extractor(random_model, 2, **sections).extract(image, labels)
        for own, other in (
            (maps.cross, exact.cross),
            (maps.self_attention, exact.self_attention),
        ):
            assert own.dtype == torch.float32
            assert own.isfinite().all()
            if "cluster" not in sections:
                correlation = torch.corrcoef(torch.stack([own.flatten(), other.flatten()]))
                assert correlation[0, 1] > 0.95


def test_what_cannot_be_is_said(random_model):
    with pytest.raises(SettingsError, match=r"capture.timestep is 1000, .* 0 to 999"):
        extractor(random_model, capture={"timestep": 1000})
    own = extractor(random_model, capture={"cross_heads": {4: [20]}})
    with pytest.raises(SettingsError, match="heads 0 to 19"):
        own.extract(images(1), [DOG])
    with pytest.raises(PromptError, match="too long"):
        extractor(random_model).prompts(categories("abcdefghij" * 9))


def test_the_models_own_processors_are_back(random_model):
    before = random_model.unet.attn_processors
    extractor(random_model).extract(images(1), [DOG])
    assert all(random_model.unet.attn_processors[k] is v for k, v in before.items())
