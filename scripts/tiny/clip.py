"""The embedded CLIP: a CLIPModel of 1.6 M weights that reads 128 px in patches of 16.

Its attention starts as a convolution: in every block head h looks at the h-th of the 3 x 3
neighbours. Only the start is chosen; every weight trains. A vision transformer of this size that
starts from noise takes several times as many images to learn where its neighbours are.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from tiny.text import LENGTH

SIDE = 128
PATCH = 16
GRID = SIDE // PATCH
WIDTH = 144  # nine heads of 16
HEADS = 9
LAYERS = 5
TEXT_WIDTH = 96
SHARED = 96  # width of the embeddings that are compared
WAVES = 4  # frequencies of the positions' start per axis: sines and cosines fill a head
FIRST_LOGIT = 8.0  # of the neighbour that a head looks at; the next one's is about 6
FIRST_SCALE = 10.0  # of the cosine


def build_clip(tokenizer: CLIPTokenizer) -> CLIPModel:
    """A fresh CLIPModel; `start_patches` finishes its start."""
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 2 * TEXT_WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "max_position_embeddings": LENGTH,
        "projection_dim": SHARED,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {
        "image_size": SIDE,
        "patch_size": PATCH,
        "hidden_size": WIDTH,
        "intermediate_size": 4 * WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "projection_dim": SHARED,
    }
    clip = CLIPModel(
        CLIPConfig(
            text_config=text,
            vision_config=vision,
            projection_dim=SHARED,
            logit_scale_init_value=float(np.log(FIRST_SCALE)),
        )
    )
    start_attention(clip)
    with torch.no_grad():
        clip.text_model.embeddings.token_embedding.weight.normal_(0, 0.3)
        clip.text_model.embeddings.position_embedding.weight.normal_(0, 0.1)
    return clip


def waves(grid: int) -> Tensor:
    """Sines and cosines [grid * grid, 4 * WAVES] of rows, then columns; every row has norm 8."""
    angles = torch.arange(grid)[:, None] * _frequencies(grid)
    axis = torch.stack([angles.cos(), angles.sin()], dim=2).flatten(1)
    rows = axis[:, None].expand(grid, grid, -1)
    columns = axis[None].expand(grid, grid, -1)
    return torch.cat([rows, columns], dim=2).flatten(0, 1)


def _frequencies(grid: int) -> Tensor:
    """Angles per patch; the slowest wave is twice as long as the grid, so no place recurs."""
    return 2 * torch.pi * torch.arange(1, WAVES + 1) / (2 * grid)


def shift(grid: int, down: int, right: int) -> Tensor:
    """The rotation [4 * WAVES, 4 * WAVES] that moves `waves` by some patches."""
    blocks = []
    for distance in (down, right):
        for angle in (_frequencies(grid) * distance).tolist():
            cosine, sine = np.cos(angle), np.sin(angle)
            blocks.append(torch.tensor([[cosine, -sine], [sine, cosine]]))
    rotation: Tensor = torch.block_diag(*blocks).float()
    return rotation


@torch.no_grad()
def start_attention(clip: CLIPModel) -> None:
    """Write waves into the positions, and into every head the look at one neighbour."""
    vision = clip.vision_model
    level = torch.ones(WIDTH, 1)  # what layer norms take away: no wave lies along it
    basis = torch.linalg.qr(torch.cat([level, torch.randn(WIDTH, 4 * WAVES)], dim=1)).Q[:, 1:]
    places = waves(GRID) @ basis.T
    vision.embeddings.position_embedding.weight.zero_()
    vision.embeddings.position_embedding.weight[1:] = places
    neighbours = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    looks = [shift(GRID, *neighbour) for neighbour in neighbours]
    gain = FIRST_LOGIT**0.5 * 16**0.25 / (WIDTH / 2) ** 0.5
    for layer in vision.encoder.layers:
        attention = layer.self_attn
        attention.q_proj.weight.copy_(gain * torch.cat([look @ basis.T for look in looks]))
        attention.k_proj.weight.copy_(gain * torch.cat([basis.T] * HEADS))
        attention.v_proj.weight.normal_(0, WIDTH**-0.5)
        attention.out_proj.weight.normal_(0, (2 * LAYERS * WIDTH) ** -0.5)


@torch.no_grad()
def start_patches(clip: CLIPModel, images: npt.NDArray[np.uint8]) -> None:
    """Start the patch embedding with the principal components of patches, half whitened.

    They fill the room that the positions leave, and have the same norm as these on average.

    Args:
        clip: a fresh model.
        images: some training images [n, SIDE, SIDE, 3].
    """
    embeddings = clip.vision_model.embeddings
    patches = (
        functional.unfold(to_pixels(images), PATCH, stride=PATCH).transpose(1, 2).flatten(0, 1)
    )
    room = torch.linalg.svd(embeddings.position_embedding.weight[1:].T).U[:, 4 * WAVES :]
    values, vectors = torch.linalg.eigh(torch.cov(patches.T))
    components = (vectors * values.clamp_min(1e-6) ** -0.25)[:, -room.shape[1] :]
    components /= (patches @ components).square().sum(dim=1).mean().sqrt()
    length = embeddings.position_embedding.weight[1:].norm(dim=1).mean()
    filters = length * room @ components.T
    embeddings.patch_embedding.weight.copy_(filters.view_as(embeddings.patch_embedding.weight))


def to_pixels(images: npt.NDArray[np.uint8], side: int = SIDE) -> Tensor:
    """Images [n, h, w, 3] uint8 as [n, 3, side, side] in [-1, 1]."""
    pixels = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
    if pixels.shape[-1] != side:
        pixels = functional.interpolate(
            pixels, size=(side, side), mode="bilinear", align_corners=False
        )
    return pixels.contiguous()


def lay_patches(clip: CLIPModel, pixels: Tensor, corner: tuple[int, int]) -> Tensor:
    """Class token and patches with positions [n, 1 + patches, WIDTH], as blocks take them.

    A smaller image takes the positions of a window of the grid whose first patch is at `corner`
    (row, column): it is a scene of which only that window is looked at.
    """
    embeddings = clip.vision_model.embeddings
    patches = embeddings.patch_embedding(pixels)
    height, width = patches.shape[2:]
    rows, columns = (
        torch.arange(size) + first for size, first in zip((height, width), corner, strict=True)
    )
    places = embeddings.position_embedding((1 + rows[:, None] * GRID + columns).flatten())
    patches = patches.flatten(2).transpose(1, 2) + places
    token = embeddings.class_embedding + embeddings.position_embedding.weight[0]
    tokens = torch.cat([token.expand(len(patches), 1, -1), patches], dim=1)
    laid: Tensor = clip.vision_model.pre_layrnorm(tokens)
    return laid


def embed_images(
    clip: CLIPModel, pixels: Tensor, corner: tuple[int, int] = (0, 0)
) -> tuple[Tensor, Tensor]:
    """Unit embeddings of images [n, SHARED] and of their patches [n, patches, SHARED].

    A patch's embedding is its share of the last block's attention, had it all of it: its value,
    projected. The image's is CLIPModel's own (only the class token needs the last block's queries
    and MLP, so they are computed for it alone).
    """
    vision = clip.vision_model
    hidden = lay_patches(clip, pixels, corner)
    *layers, last = vision.encoder.layers
    for layer in layers:
        hidden = layer(hidden, None)
    normed = last.layer_norm1(hidden)
    attention = last.self_attn
    heads = (len(hidden), -1, HEADS, WIDTH // HEADS)
    query = attention.q_proj(normed[:, :1]).view(heads).transpose(1, 2)
    key = attention.k_proj(normed).view(heads).transpose(1, 2)
    value = attention.v_proj(normed)
    mixed = functional.scaled_dot_product_attention(query, key, value.view(heads).transpose(1, 2))
    token = hidden[:, :1] + attention.out_proj(mixed.transpose(1, 2).flatten(2))
    token = (token + last.mlp(last.layer_norm2(token)))[:, 0]
    patches = attention.out_proj(value[:, 1:])
    shared = [clip.visual_projection(vision.post_layernorm(part)) for part in (token, patches)]
    image, local = (functional.normalize(part, dim=-1) for part in shared)
    return image, local


def embed_texts(clip: CLIPModel, ids: Tensor) -> Tensor:
    """Unit embeddings [n, SHARED] of token ids [n, tokens]."""
    return functional.normalize(clip.get_text_features(ids).pooler_output, dim=-1)
