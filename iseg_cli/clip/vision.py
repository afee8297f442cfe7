"""CLIP's image transformer, block by block: its attention can be read and replaced."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate, scaled_dot_product_attention

from iseg_cli.clip.loading import ClipModel


@dataclass(frozen=True, eq=False)
class PatchOutput:
    """Embeddings and attention of the patches of a batch, in float32.

    Attributes:
        features: each patch's embedding in the space of texts, not scaled to unit length. In the
            last block a patch attends to itself alone.
        attention: of each block, mean over heads, from patch (rows) to patch (columns). The class
            token is left out, so rows sum to less than 1. That of the last block is the trained
            attention, although `features` do not use it.
    """

    features: Float[Tensor, "batch patches channels"]
    attention: Float[Tensor, "blocks batch patches patches"]


def fit_patches(
    image: UInt8[np.ndarray, "height width 3"],
    *,
    patch: int,
    side: int | None,
    max_side: int,
    scale: float = 1.0,
) -> UInt8[np.ndarray, "rows columns 3"]:
    """Return an image resized bicubically to whole patches.

    Args:
        image: RGB.
        patch: the side of a patch, in pixels.
        side: the side of the square that the image becomes; None keeps its aspect ratio.
        max_side: the greatest length of the longer side if `side` is None.
        scale: the factor of the size after that.
    """
    height, width = image.shape[:2]
    shrink = min(1.0, max_side / max(height, width))
    own = (height * shrink, width * shrink) if side is None else (side, side)
    size = [round(length * scale) for length in own]
    rows, columns = (max(1, math.ceil(length / patch)) for length in size)
    resized = Image.fromarray(image).resize(
        (columns * patch, rows * patch), Image.Resampling.BICUBIC
    )
    return np.array(resized)


def to_pixels(
    clip: ClipModel, images: UInt8[np.ndarray, "batch height width 3"]
) -> Float[Tensor, "batch 3 height width"]:
    """Return RGB images scaled as in CLIP's training, on CLIP's device, in float32."""
    pixels = torch.from_numpy(images).to(clip.device).permute(0, 3, 1, 2).float().div(255)
    mean, std = (pixels.new_tensor(values)[:, None, None] for values in (clip.mean, clip.std))
    return (pixels - mean) / std


def fill_batch(batch: Tensor, size: int) -> Tensor:
    """Return a batch filled up to `size` with its last element: one shape is rounded alike."""
    return torch.cat([batch, *[batch[-1:]] * (size - len(batch))])


@torch.inference_mode()
def read_patches(
    clip: ClipModel, pixels: Float[Tensor, "batch 3 height width"], *, values_alone: bool = False
) -> PatchOutput:
    """Return embeddings and attention of the patches of images, in row-major order.

    Args:
        clip: the model.
        pixels: as `to_pixels` returns them; their sides are whole numbers of patches.
        values_alone: whether the output of the last block is its projected values alone, without
            the residual and without the MLP.
    """
    hidden = embed_tokens(clip, pixels)
    blocks = vision_blocks(clip)
    attentions = []
    for number, block in enumerate(blocks, start=1):
        query, key, value = project_heads(block, hidden)
        weights = attention_weights(block, query, key)
        attentions.append(weights.mean(dim=1)[:, 1:, 1:])
        is_last = number == len(blocks)
        mixed = value if is_last else weights.to(value.dtype) @ value
        alone = is_last and values_alone
        hidden = join_heads(block, mixed) if alone else finish_block(block, hidden, mixed)
    return PatchOutput(to_text_space(clip, hidden[:, 1:]), torch.stack(attentions))


@torch.inference_mode()
def read_whole(
    clip: ClipModel,
    pixels: Float[Tensor, "batch 3 height width"],
    visible: Bool[Tensor, "batch patches"] | None = None,
) -> Float[Tensor, "batch channels"]:
    """Return each image's embedding in the space of texts, not scaled to unit length, in float32.

    Args:
        clip: the model.
        pixels: as `to_pixels` returns them.
        visible: the patches that the class token may attend to, in every block; None for all. A
            patch may always attend to every other patch.
    """
    hidden = embed_tokens(clip, pixels)
    allowed = None
    if visible is not None:
        tokens = hidden.shape[1]
        allowed = torch.ones(len(hidden), 1, tokens, tokens, dtype=torch.bool, device=hidden.device)
        allowed[:, 0, 0, 1:] = visible.to(hidden.device)
    for block in vision_blocks(clip):
        hidden = pass_block(block, hidden, allowed)
    return to_text_space(clip, hidden[:, 0])


def vision_blocks(clip: ClipModel) -> Sequence[Any]:
    """Return the blocks of the image transformer, first to last."""
    blocks: Sequence[Any] = clip.model.vision_model.encoder.layers
    return blocks


def embed_tokens(
    clip: ClipModel, pixels: Float[Tensor, "batch 3 height width"]
) -> Float[Tensor, "batch tokens channels"]:
    """Return the input of the first block: the class token, then the patches."""
    embeddings = clip.model.vision_model.embeddings
    patches = embeddings.patch_embedding(pixels.to(clip.dtype))
    rows, columns = patches.shape[-2:]
    first = embeddings.class_embedding.expand(len(pixels), 1, -1)
    tokens = torch.cat([first, patches.flatten(2).transpose(1, 2)], dim=1)
    tokens = tokens + _positions(embeddings.position_embedding.weight, rows, columns)
    hidden: Tensor = clip.model.vision_model.pre_layrnorm(tokens)
    return hidden


def project_heads(
    block: Any, hidden: Float[Tensor, "batch tokens channels"]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return a block's queries, keys and values, each Float[batch heads tokens channels]."""
    layer = block.self_attn
    normed = block.layer_norm1(hidden)
    query, key, value = (
        project(normed).unflatten(-1, (layer.num_heads, -1)).transpose(1, 2)
        for project in (layer.q_proj, layer.k_proj, layer.v_proj)
    )
    return query, key, value


def attention_weights(
    block: Any,
    query: Float[Tensor, "batch heads tokens channels"],
    key: Float[Tensor, "batch heads tokens channels"],
) -> Float[Tensor, "batch heads tokens tokens"]:
    """Return the softmax over keys (columns), in float32 for every type of the model."""
    scores = (query * block.self_attn.scale) @ key.transpose(-1, -2)
    weights: Tensor = scores.softmax(dim=-1, dtype=torch.float32)
    return weights


def join_heads(
    block: Any, mixed: Float[Tensor, "batch heads tokens channels"]
) -> Float[Tensor, "batch tokens channels"]:
    """Return the output of a block's attention, given the values that it mixed."""
    out: Tensor = block.self_attn.out_proj(mixed.transpose(1, 2).flatten(2))
    return out


def finish_block(
    block: Any,
    hidden: Float[Tensor, "batch tokens channels"],
    mixed: Float[Tensor, "batch heads tokens channels"],
) -> Float[Tensor, "batch tokens channels"]:
    """Return the output of a block, given its input and the values that attention mixed."""
    hidden = hidden + join_heads(block, mixed)
    out: Tensor = hidden + block.mlp(block.layer_norm2(hidden))
    return out


def pass_block(
    block: Any, hidden: Float[Tensor, "batch tokens channels"], allowed: Tensor | None = None
) -> Float[Tensor, "batch tokens channels"]:
    """Return the output of a block with its trained attention, given its input.

    Args:
        block: one of `vision_blocks`.
        hidden: the input of the block.
        allowed: Bool[batch 1 tokens tokens], which tokens (columns) a token (row) may attend to;
            None for all.
    """
    query, key, value = project_heads(block, hidden)
    mixed = scaled_dot_product_attention(
        query, key, value, attn_mask=allowed, scale=block.self_attn.scale
    )
    return finish_block(block, hidden, mixed)


def to_text_space(
    clip: ClipModel, hidden: Float[Tensor, "*tokens width"]
) -> Float[Tensor, "*tokens channels"]:
    """Return the output of the last block, projected to the space of texts, in float32."""
    points: Tensor = clip.model.visual_projection(clip.model.vision_model.post_layernorm(hidden))
    return points.float()


def _positions(weight: Tensor, rows: int, columns: int) -> Float[Tensor, "1 tokens channels"]:
    """Return the position embeddings of a grid, resized bilinearly from the model's grid."""
    first, grid = weight[:1], weight[1:]
    side = round(len(grid) ** 0.5)
    if (rows, columns) != (side, side):
        square = grid.T.reshape(1, -1, side, side).float()
        resized = interpolate(square, size=(rows, columns), mode="bilinear", align_corners=False)
        grid = resized.flatten(2)[0].T.to(weight.dtype)
    return torch.cat([first, grid])[None]
