"""CLIP's image transformer: the forward of transformers is the oracle."""

import numpy as np
import torch

from iseg_cli.clip.vision import read_patches, read_whole, to_pixels


def pictures(count, height=32, width=32):
    return np.random.default_rng(5).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def test_the_whole_image_is_seen_as_transformers_sees_it(random_clip):
    pixels = to_pixels(random_clip, pictures(3))
    with torch.inference_mode():
        theirs = random_clip.model.get_image_features(pixel_values=pixels).pooler_output
    torch.testing.assert_close(read_whole(random_clip, pixels), theirs, rtol=1e-5, atol=1e-6)
    everything = torch.ones(3, 16, dtype=torch.bool)
    seen = read_whole(random_clip, pixels, everything)
    torch.testing.assert_close(seen, theirs, rtol=1e-5, atol=1e-6)


def test_the_class_token_sees_only_what_is_visible(random_clip):
    """With one block, patches that the class token may not attend to change nothing."""
    pixels = to_pixels(random_clip, pictures(1)).repeat(2, 1, 1, 1)
    pixels[1, :, 8:, 8:] = 0  # the last three rows and columns of patches
    visible = torch.zeros(2, 16, dtype=torch.bool)
    visible[:, :4] = True
    layers = random_clip.model.vision_model.encoder.layers
    random_clip.model.vision_model.encoder.layers = layers[:1]
    try:
        one, other = read_whole(random_clip, pixels, visible)
        torch.testing.assert_close(one, other)
        assert not torch.allclose(*read_whole(random_clip, pixels))
    finally:
        random_clip.model.vision_model.encoder.layers = layers


def test_attention_is_that_of_transformers(random_clip_folder, random_clip):
    eager = type(random_clip.model).from_pretrained(
        random_clip_folder, attn_implementation="eager", local_files_only=True
    )
    pixels = to_pixels(random_clip, pictures(2))
    with torch.inference_mode():
        theirs = eager.vision_model(pixel_values=pixels, output_attentions=True).attentions
    ours = read_patches(random_clip, pixels).attention
    assert ours.shape == (6, 2, 16, 16)
    for block in range(6):  # the last one as well, although its patches keep to themselves
        expected = theirs[block].mean(dim=1)[:, 1:, 1:]
        torch.testing.assert_close(ours[block], expected, rtol=1e-4, atol=1e-6)
        assert float(expected.max()) > 0.15  # far from uniform
    alone = read_patches(random_clip, pixels, values_alone=True).attention
    assert torch.equal(alone, ours)


def test_the_last_block_keeps_patches_to_themselves(random_clip, monkeypatch):
    """Attention of each token to itself gives the same features."""
    pixels = to_pixels(random_clip, pictures(2))
    ours = read_patches(random_clip, pixels).features
    last = random_clip.model.vision_model.encoder.layers[-1].self_attn

    def by_itself(hidden_states, **_):
        return last.out_proj(last.v_proj(hidden_states)), None

    monkeypatch.setattr(last, "forward", by_itself)
    with torch.inference_mode():
        seen = random_clip.model.vision_model(pixel_values=pixels)
        hidden = random_clip.model.vision_model.post_layernorm(seen.last_hidden_state)
        theirs = random_clip.model.visual_projection(hidden)
    torch.testing.assert_close(ours, theirs[:, 1:], rtol=1e-4, atol=1e-5)


def test_values_alone_leave_out_the_rest_of_the_last_block(random_clip):
    pixels = to_pixels(random_clip, pictures(2))
    ours = read_patches(random_clip, pixels, values_alone=True).features
    vision = random_clip.model.vision_model
    last = vision.encoder.layers[-1]
    with torch.inference_mode():
        entered = vision.pre_layrnorm(vision.embeddings(pixels))
        for layer in vision.encoder.layers[:-1]:
            entered = layer(entered, None)
        values = last.self_attn.out_proj(last.self_attn.v_proj(last.layer_norm1(entered)))
        theirs = random_clip.model.visual_projection(vision.post_layernorm(values))
    torch.testing.assert_close(ours, theirs[:, 1:], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(ours, read_patches(random_clip, pixels).features, atol=0.1)


def test_other_sizes_resize_the_positions(random_clip):
    """Position embeddings are enlarged and shrunk bilinearly."""
    reading = read_patches(random_clip, to_pixels(random_clip, pictures(2, height=48, width=24)))
    assert reading.features.shape == (2, 6 * 3, 16)
    assert reading.attention.shape == (6, 2, 18, 18)
    weight = random_clip.model.vision_model.embeddings.position_embedding.weight
    before = weight.clone()
    grid = torch.arange(16, dtype=torch.float32).reshape(4, 4)
    try:
        weight[1:] = grid.reshape(16, 1)
        from iseg_cli.clip.vision import _positions

        halved = _positions(weight, 2, 8)[0, 1:, 0].reshape(2, 8)
    finally:
        weight.copy_(before)
    # Rows 0 and 1 meet in the middle, and so do 2 and 3; columns are drawn apart to quarters.
    np.testing.assert_allclose(halved[:, 0], [2, 10])
    np.testing.assert_allclose(halved[0], [2, 2.25, 2.75, 3.25, 3.75, 4.25, 4.75, 5])
