"""From the attention of many heads, layers and prompts to one map per category.

Section 3.3 of the paper fuses cross-attention of several resolutions without giving the details;
the order used here is that of the authors' released code: heads, positions, resolutions, tokens.
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
    """Bring maps on a square grid to `height` x `width` bilinearly, in float32 or better.

    Pixels are areas, not points (`align_corners=False`); values beyond the border repeat it.
    """
    batch, pixels, categories = maps.shape
    side = math.isqrt(pixels)
    # Categories join the batch, for `interpolate` refuses an image without any.
    grid = maps.transpose(1, 2).reshape(batch * categories, 1, side, side)
    grid = grid.to(torch.promote_types(maps.dtype, torch.float32))
    grid = interpolate(grid, size=(height, width), mode="bilinear", align_corners=False)
    return grid.reshape(batch, categories, height, width)


def fuse_resolutions(
    maps: Sequence[Float[Tensor, "batch _ tokens"]], weights: Sequence[float], *, side: int
) -> Float[Tensor, "batch pixels tokens"]:
    """Add the maps of several resolutions on one grid of `side` x `side` positions.

    Every map is divided by its sum over positions, token by token, before it is enlarged, and is
    not divided again: a map of 16 x 16 therefore weighs four times what its weight says against
    one of 32 x 32, as in the released code. A token without any attention stays zero.

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
    """Turn token positions into the weights of `tokens_to_categories`.

    Args:
        positions: for each image, for each of its categories, the tokens that carry its map.
        tokens: the length of the prompts.

    Returns:
        Rows that average over a category's tokens; zero rows where an image has fewer categories
        than another, or a category no tokens.
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
    """Average the maps of each category's tokens: A_ca of section 3.3.

    Args:
        maps: one map per token.
        membership: how much each token counts for each category; a zero row is padding and gives
            a zero map.
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
    """Gather category maps of images whose categories were split over several prompts.

    Args:
        maps: the categories' maps, prompt by prompt.
        images: the image that each prompt describes, 0 to `batch - 1`.
        columns: where in its image each map belongs, 0 to `categories - 1`; negative for padding.
        batch: the number of images.
        categories: the greatest number of categories in an image.

    Returns:
        Each map in its place; places that no prompt fills are zero.
    """
    joined = maps.new_zeros(batch, maps.shape[1], categories)
    prompt, slot = (columns >= 0).nonzero(as_tuple=True)
    joined[images[prompt], :, columns[prompt, slot]] = maps[prompt, :, slot]
    return joined
