"""From the cross-attention of several resolutions and prompts to one map per category.

Section 3.3 of the paper fuses resolutions and gives no details. The sequence here is that of the
authors' released code: heads, positions, resolutions, tokens.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import interpolate


def resize(
    maps: Float[Tensor, "batch pixels categories"], *, height: int, width: int
) -> Float[Tensor, "batch categories height width"]:
    """Return maps of a square grid at `height` x `width`, bilinearly, in float32 or better.

    Pixels are areas, not points (`align_corners=False`). Beyond the border its values are repeated.

    Example:
        >>> resize(torch.tensor([[[0.0], [4.0], [0.0], [4.0]]]), height=1, width=4)
        tensor([[[[0., 1., 3., 4.]]]])
    """
    batch, pixels, categories = maps.shape
    side = math.isqrt(pixels)
    # Categories become part of the batch, because `interpolate` refuses an image without channels.
    grid = maps.transpose(1, 2).reshape(batch * categories, 1, side, side)
    grid = grid.to(torch.promote_types(maps.dtype, torch.float32))
    grid = interpolate(grid, size=(height, width), mode="bilinear", align_corners=False)
    return grid.reshape(batch, categories, height, width)


def fuse_resolutions(
    maps: Sequence[Float[Tensor, "batch _ tokens"]], weights: Sequence[float], *, side: int
) -> Float[Tensor, "batch pixels tokens"]:
    """Return the weighted sum of the maps of several resolutions on one `side` x `side` grid.

    Every map is divided by its sum over positions, token by token, and enlarged then. It is not
    divided again. So a map of 16 x 16 counts four times as much as its weight says, compared with
    a map of 32 x 32; the released code does the same. A token without attention stays zero.

    Args:
        maps: one per resolution, each on its own square grid, heads averaged, not negative.
        weights: one per map.
        side: the side of the common grid.
    """
    fused = []
    for attention, weight in zip(maps, weights, strict=True):
        dtype = torch.promote_types(attention.dtype, torch.float32)
        total = attention.sum(dim=1, keepdim=True, dtype=dtype)
        share = attention / total.masked_fill(total == 0, 1)
        fused.append(weight * resize(share, height=side, width=side).flatten(2))
    return torch.stack(fused).sum(dim=0).transpose(1, 2)


def membership(
    positions: Sequence[Sequence[Sequence[int]]], *, tokens: int
) -> Float[Tensor, "batch categories tokens"]:
    """Return the weights of `tokens_to_categories`, given the positions of tokens.

    Args:
        positions: for each image and each of its categories, the tokens whose maps are averaged.
        tokens: the length of the prompts.

    Returns:
        Rows that average over a category's tokens. A row is zero where an image has fewer
        categories than another image, or where a category has no tokens.
    """
    categories = max((len(image) for image in positions), default=0)
    weights = torch.zeros(len(positions), categories, tokens)
    for row, image in enumerate(positions):
        for column, chosen in enumerate(image):
            for token in chosen:
                weights[row, column, token] += 1 / len(chosen)
    return weights


def tokens_to_categories(
    maps: Float[Tensor, "batch pixels tokens"],
    membership: Float[Tensor, "batch categories tokens"],
) -> Float[Tensor, "batch pixels categories"]:
    """Return the mean map of each category's tokens: A_ca of section 3.3.

    Args:
        maps: one map per token.
        membership: the weight of each token for each category. A zero row is padding and gives a
            zero map.
    """
    return torch.bmm(maps, membership.to(maps).transpose(1, 2))


def join_prompts(
    maps: Float[Tensor, "prompts pixels slots"],
    images: Int[Tensor, " prompts"],
    columns: Int[Tensor, "prompts slots"],
    *,
    batch: int,
    categories: int,
) -> Float[Tensor, "batch pixels categories"]:
    """Return the category maps of images whose categories were split over several prompts.

    Args:
        maps: the maps of the categories, prompt by prompt.
        images: the image that each prompt describes, 0 to `batch - 1`.
        columns: the column of each map within its image, 0 to `categories - 1`; negative for
            padding.
        batch: the number of images.
        categories: the greatest number of categories in an image.

    Returns:
        Each map in its column. Columns that no prompt fills are zero.
    """
    joined = maps.new_zeros(batch, maps.shape[1], categories)
    prompt, slot = (columns >= 0).nonzero(as_tuple=True)
    joined[images[prompt], :, columns[prompt, slot]] = maps[prompt, :, slot]
    return joined
