"""CLIP's dense maps: attention against loops in float64, the forward against transformers."""

import numpy as np
import pytest
import reference
import torch
from clip_scenes import square_pictures
from hypothesis import given, settings
from hypothesis import strategies as st

from iseg_cli.clip.dense_clip import DenseClip, dense_features
from iseg_cli.clip.text_embedder import ClipTextEmbedder
from iseg_cli.clip.vision import to_pixels
from iseg_cli.config.schema import ClipSettings
from iseg_cli.errors import PromptError
from iseg_cli.ops.self_self import self_self_attention

TEMPLATES = ("a photograph of {}", "{} and other object")
WORDS = [["dog", "cat", "bus"], ["potted plant"], ["car", "dog"]]
SURROUNDINGS = ("grass", "sky")


def dense(clip, **changes):
    return DenseClip(clip, ClipSettings(templates=TEMPLATES, **changes), batch_size=4)


def heads(*shape, seed=0):
    return torch.tensor(np.random.default_rng(seed).standard_normal(shape))


# --- the attention ---


def test_attention_of_a_batch():
    query, key, value = (heads(2, 3, 7, 4, seed=seed) for seed in range(3))
    mixed = self_self_attention(query, key, value, scale=0.5)
    for image, head in np.ndindex(2, 3):
        expected = reference.self_self_attention(
            *(x[image, head].numpy() for x in (query, key, value)), 0.5
        )
        np.testing.assert_allclose(mixed[image, head], expected, rtol=1e-10, atol=1e-12)


def test_two_tokens_by_hand():
    """Queries are alike: 1/2 each. Keys and values (0 or 1) are unlike: e to 1, or 1 to 1."""
    value = torch.tensor([[[[1.0], [0.0]]]]).double()
    query = torch.ones(1, 1, 2, 1).double()
    e = np.exp(1)
    mixed = self_self_attention(query, value, value, scale=1.0)
    first = (0.5 + 2 * e / (e + 1)) / 3
    np.testing.assert_allclose(mixed.flatten(), [first, 0.5])


def test_unlike_tokens_keep_their_own_values():
    """With a large scale each token attends to itself alone in all three."""
    tokens = torch.eye(5).double()[None, None]
    mixed = self_self_attention(tokens, tokens, tokens, scale=50.0)
    torch.testing.assert_close(mixed, tokens)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.floats(0, 5))
def test_values_are_averaged(seed, scale):
    query, key, value = (heads(1, 2, 6, 3, seed=[seed, i]) for i in range(3))
    mixed = self_self_attention(query, key, value, scale=scale)
    low, high = value.amin(dim=2, keepdim=True), value.amax(dim=2, keepdim=True)
    assert ((mixed >= low - 1e-12) & (mixed <= high + 1e-12)).all()
    shifted = self_self_attention(query, key, torch.ones_like(value), scale=scale)
    torch.testing.assert_close(shifted, torch.ones_like(value))


def test_half_precision_is_rounded_once():
    parts = [heads(1, 2, 50, 8, seed=seed).half() for seed in range(3)]
    mixed = self_self_attention(*parts, scale=0.35)
    assert mixed.dtype == torch.float16
    exact = self_self_attention(*(part.double() for part in parts), scale=0.35)
    torch.testing.assert_close(mixed.double(), exact, atol=4e-3, rtol=4e-3)


# --- the features ---


@torch.no_grad()
def features_by_hand(clip, pixels):
    """Return features of transformers' forward up to the last block, then of the reference."""
    vision = clip.model.vision_model
    states = vision(
        pixel_values=pixels, output_hidden_states=True, interpolate_pos_encoding=True
    ).hidden_states
    last = vision.encoder.layers[-1]
    normed = last.layer_norm1(states[-2])
    layer = last.self_attn
    projected = [
        project(normed).unflatten(-1, (layer.num_heads, -1)).double().numpy()
        for project in (layer.q_proj, layer.k_proj, layer.v_proj)
    ]
    mixed = np.zeros_like(projected[2])
    for image, head in np.ndindex(len(pixels), layer.num_heads):
        parts = (x[image, :, head] for x in projected)
        mixed[image, :, head] = reference.self_self_attention(*parts, layer.head_dim**-0.5)
    out = layer.out_proj(torch.tensor(mixed).flatten(2).float())
    return clip.model.visual_projection(vision.post_layernorm(out))[:, 1:]


def test_features_step_by_step(random_clip):
    pixels = to_pixels(
        random_clip, square_pictures(2, side=32)
    )  # CLIP's own size: no resized positions
    ours = dense_features(random_clip, pixels)
    assert ours.shape == (2, 16, 16)
    torch.testing.assert_close(ours, features_by_hand(random_clip, pixels), atol=2e-5, rtol=1e-4)


def test_patches_differ(random_clip):
    features = dense_features(random_clip, to_pixels(random_clip, square_pictures(1)))[0]
    assert features.shape == (25, 16)
    assert torch.cdist(features, features).add(torch.eye(25)).min() > 1e-4


# --- the map ---


@pytest.mark.parametrize("surroundings", [SURROUNDINGS, ()])
def test_cosines_step_by_step(random_clip, surroundings):
    pictures = square_pictures()
    found = dense(random_clip).match(pictures, WORDS, surroundings)
    assert found.scale == random_clip.scale
    texts = ClipTextEmbedder(random_clip, TEMPLATES)
    for picture, words, ours in zip(pictures, WORDS, found.cosines, strict=True):
        features = dense_features(random_clip, to_pixels(random_clip, picture[None]))[0]
        directions = features.double() / features.double().norm(dim=1, keepdim=True)
        expected = directions @ texts.embed(words).double().T
        if surroundings:
            background = (directions @ texts.embed(surroundings).double().T).amax(dim=1)
            expected = torch.cat([background[:, None], expected], dim=1)
        torch.testing.assert_close(ours.double(), expected, atol=2e-6, rtol=0)


def test_an_image_without_categories_has_its_background(random_clip):
    found = dense(random_clip).match(square_pictures(1), [[]], SURROUNDINGS)
    assert found.cosines[0].shape == (25, 1)
    found = dense(random_clip).match(square_pictures(1), [[]], ())
    assert found.cosines[0].shape == (25, 0)


@pytest.mark.parametrize(
    ("changes", "patches"),
    [({}, 25), ({"side": 64}, 64), ({"side": 33}, 25), ({"max_side": 24}, 9)],
)
def test_images_are_shown_in_whole_patches(random_clip, changes, patches):
    found = dense(random_clip, **changes).match(square_pictures(1), [["dog"]], SURROUNDINGS)
    assert found.cosines[0].shape == (patches, 2)


def test_neighbours_change_no_bit(random_clip):
    ours, pictures = dense(random_clip), square_pictures()
    alone = [
        ours.match(picture[None], [words], SURROUNDINGS).cosines[0]
        for picture, words in zip(pictures, WORDS, strict=True)
    ]
    for rows in ([0, 1, 2], [2, 0], [1, 1, 0]):
        found = ours.match(pictures[rows], [WORDS[i] for i in rows], SURROUNDINGS)
        for i, own in zip(rows, found.cosines, strict=True):
            assert torch.equal(own, alone[i])


def test_batches_only_round(random_clip):
    """As on a GPU: full batches, the last one filled up."""
    ours, pictures = dense(random_clip), square_pictures(5)
    words = [["dog", "cat"]] * 5
    alone = ours.match(pictures, words, SURROUNDINGS).cosines
    ours._together = 3
    together = ours.match(pictures, words, SURROUNDINGS).cosines
    torch.testing.assert_close(torch.stack(together), torch.stack(alone), atol=2e-6, rtol=0)


def test_words_that_are_too_long_are_named(random_clip):
    long = "photograph of a " * 30
    with pytest.raises(PromptError, match="too long for this CLIP"):
        dense(random_clip).check(["dog", long])
    dense(random_clip).check(["dog", "cat"])
