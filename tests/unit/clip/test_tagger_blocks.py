"""All blocks of CLIP are asked for agreement, the last one with its trained attention."""

import numpy as np
import pytest
import reference
import torch
from clip_scenes import TEMPLATES, tagger, unequal_pictures
from reference_clip import VisionReference, patch_scores

from iseg_cli.clip.text_embedder import ClipTextEmbedder
from iseg_cli.clip.vision import read_patches, to_pixels, vision_blocks
from iseg_cli.ops.tagclip import trusted_attention

WORDS = ["dog", "cat", "bus", "potted plant", "grass", "sky"]


@pytest.fixture(scope="module")
def vision(random_clip):
    return VisionReference(random_clip.model)


@pytest.fixture(scope="module")
def squares(random_clip):
    """Images of the model's training size, as its input."""
    ours = tagger(random_clip, side=32)
    return [to_pixels(random_clip, ours.fit(scene)[0][None]) for scene in unequal_pictures()]


def test_every_block_as_in_float64(random_clip, vision, squares):
    for pixels in squares:
        ours = read_patches(random_clip, pixels)
        points, attention = vision.read(pixels[0].double().numpy())
        np.testing.assert_allclose(ours.attention[:, 0], attention, atol=1e-6)
        np.testing.assert_allclose(ours.features[0], points, atol=2e-5)


@pytest.mark.parametrize("min_agreeing", [1, 2, 4, 6])
def test_scores_as_in_float64(random_clip, vision, squares, min_agreeing):
    texts = ClipTextEmbedder(random_clip, TEMPLATES).embed(WORDS).double().numpy()
    ours = tagger(random_clip, side=32, reidentify=False, min_agreeing_blocks=min_agreeing)
    for scene, pixels in zip(unequal_pictures(), squares, strict=True):
        expected = patch_scores(
            vision, pixels[0].double().numpy(), texts, scale=random_clip.scale, averaged=[4],
            min_agreeing=min_agreeing,
        )  # fmt: skip
        scores = ours.score([ours.fit(scene)])[0]
        np.testing.assert_allclose(scores, expected.max(axis=0)[:4], atol=5e-6)


def test_the_last_block_is_asked(vision, squares):
    """The identity in place of its attention would keep other pairs."""
    for pixels in squares:
        _, attention = vision.read(pixels[0].double().numpy())
        kept = reference.trusted_attention(attention, [4], 3) > 0
        without = attention.copy()
        without[-1] = np.eye(len(kept))
        assert (kept != (reference.trusted_attention(without, [4], 3) > 0)).any()


def test_agreement_by_hand():
    """Two patches, three blocks, two must agree; the third block decides for the pair (0, 1).

    Means are 0.4, 0.25 and 0.3. Over them: in the first block (0, 0) and (0, 1), in the second
    (0, 0), in the third (0, 1) and (1, 0).
    """
    blocks = [[[0.7, 0.5], [0.2, 0.2]], [[0.4, 0.2], [0.2, 0.2]], [[0.2, 0.4], [0.5, 0.1]]]
    kept = trusted_attention(torch.tensor(blocks)[:, None], averaged=[1], min_agreeing_blocks=2)
    torch.testing.assert_close(kept, torch.tensor([[[0.4, 0.2], [0.0, 0.0]]]))


def test_a_last_block_that_asks_nothing_attends_evenly(random_clip):
    """With queries of zero the softmax over 16 patches and the class token is 1/17 for every pair.

    The features do not change: in the last block a patch keeps its own value.
    """
    pixels = to_pixels(
        random_clip, tagger(random_clip, side=32).fit(unequal_pictures(1)[0])[0][None]
    )
    before = read_patches(random_clip, pixels)
    asks = vision_blocks(random_clip)[-1].self_attn.q_proj
    weight, bias = asks.weight.clone(), asks.bias.clone()
    try:
        asks.weight.zero_()
        asks.bias.zero_()
        reading = read_patches(random_clip, pixels)
    finally:
        asks.weight.copy_(weight)
        asks.bias.copy_(bias)
    torch.testing.assert_close(reading.attention[-1], torch.full((1, 16, 16), 1 / 17))
    assert torch.equal(reading.attention[:-1], before.attention[:-1])
    assert torch.equal(reading.features, before.features)
    assert not torch.allclose(before.attention[-1], reading.attention[-1], atol=0.05)
