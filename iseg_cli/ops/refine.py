"""Iterative refinement: category maps times self-attention (section 3.3, eq. 3)."""

from collections.abc import Iterator
from itertools import islice

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def normalise(
    maps: Float[Tensor, "batch pixels categories"],
) -> Float[Tensor, "batch pixels categories"]:
    """Return each map shifted to a least value of 0 and scaled to a sum of 1 over positions.

    A constant map becomes zero everywhere: only zeros stay constant to the last bit in a product
    with attention. A map also counts as constant if its range is within the rounding of such a
    product; otherwise rounding would be scaled up to a map. Computes in float32 or better.

    Example:
        >>> normalise(torch.tensor([[[1.0], [2.0], [4.0]]])).flatten()
        tensor([0.0000, 0.2500, 0.7500])
    """
    maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
    magnitude = maps.abs().amax(dim=1, keepdim=True)
    maps = maps - maps.amin(dim=1, keepdim=True)
    rounding = magnitude * (torch.finfo(maps.dtype).eps * maps.shape[1] ** 0.5)
    constant = maps.amax(dim=1, keepdim=True) <= rounding
    total = maps.sum(dim=1, keepdim=True)
    return (maps / total.masked_fill(constant, 1)).masked_fill(constant, 0)


def refine(
    maps: Float[Tensor, "batch pixels categories"],
    attention: Float[Tensor, "batch pixels pixels"],
    *,
    iterations: int,
) -> Float[Tensor, "batch pixels categories"]:
    """Return category maps, multiplied by self-attention N times (eq. 3, algorithm 1 lines 11-17).

    Maps are normalised before the first product and after each. Categories do not influence each
    other, so padding changes nothing. Computes in float32 or better.

    Args:
        maps: each category's cross-attention map A_ca.
        attention: how each query (rows) attends to each key (columns); rows sum to 1. Usually its
            entropy is reduced.
        iterations: N, the number of products; with 0 maps are only normalised.

    Returns:
        Maps with a least value of 0 and a sum of 1; zero where a map is constant.
    """
    return next(islice(trajectory(maps, attention), iterations, None))


def trajectory(
    maps: Float[Tensor, "batch pixels categories"],
    attention: Float[Tensor, "batch pixels pixels"],
) -> Iterator[Float[Tensor, "batch pixels categories"]]:
    """Yield the maps that `refine` returns for 0, 1, 2 ... iterations, without end."""
    maps, attention = _raise_precision(maps, attention)
    maps = normalise(_lay_out(maps))
    while True:
        yield maps
        maps = normalise(_multiply(attention, maps))  # eq. 3


def refine_adaptively(
    maps: Float[Tensor, "batch pixels categories"],
    attention: Float[Tensor, "batch pixels pixels"],
    *,
    tolerance: float,
    min_iterations: int,
    max_iterations: int,
) -> tuple[Float[Tensor, "batch pixels categories"], Int64[Tensor, " batch"]]:
    """Return maps refined until they hardly change: the paper's future work (section 5).

    The change of a map in one product is the share of its mass that moves: half the sum of the
    absolute differences, 0 to 1. An image stops after the first product in which each of its maps
    changes by less than `tolerance`. It takes at least `min_iterations` and at most
    `max_iterations` products. Images do not influence each other.

    Args:
        maps: as for `refine`.
        attention: as for `refine`.
        tolerance: the share of a map's mass, 0 to 1; with 0 every image takes `max_iterations`.
        min_iterations: the least number of products.
        max_iterations: the greatest number of products.

    Returns:
        The maps as `refine` returns them, and the number of products of each image.
    """
    maps, attention = _raise_precision(maps, attention)
    refined = normalise(_lay_out(maps))
    steps = torch.zeros(len(maps), dtype=torch.int64)
    for image in range(len(maps)):
        current = refined[image : image + 1]
        for step in range(1, max_iterations + 1):
            previous = current
            current = normalise(_multiply(attention[image : image + 1], previous))
            steps[image] = step
            moved = (current - previous).abs().sum(dim=1) / 2
            if step >= min_iterations and bool((moved < tolerance).all()):
                break
        refined[image] = current[0]
    return refined, steps


def _lay_out(maps: Tensor) -> Tensor:
    """Return maps laid out in memory as `_multiply` returns them: on a CPU each map is contiguous.

    Then the rounding of a map's sum does not depend on the other maps.
    """
    return maps.transpose(1, 2).contiguous().transpose(1, 2) if maps.is_cpu else maps


def _multiply(attention: Tensor, maps: Tensor) -> Tensor:
    """Return attention @ maps; no column depends on the number of columns.

    On a CPU each map is multiplied as a vector: an image has few maps, and a product of such narrow
    matrices takes several times as long. Maps of zeros, which are padding, are skipped.
    """
    if not maps.is_cpu:
        return torch.bmm(attention, maps)
    vectors = maps.transpose(1, 2).contiguous()
    products = torch.zeros_like(vectors)
    for image, column in vectors.any(dim=2).nonzero().tolist():
        torch.mv(attention[image], vectors[image, column], out=products[image, column])
    return products.transpose(1, 2)


def _raise_precision(maps: Tensor, attention: Tensor) -> tuple[Tensor, Tensor]:
    """Return both in the more precise of their types, at least float32."""
    dtype = torch.promote_types(torch.promote_types(maps.dtype, attention.dtype), torch.float32)
    return maps.to(dtype), attention.to(dtype)
