"""Iterative refinement: category maps spread along self-attention (section 3.3, eq. 3)."""

from collections.abc import Iterator
from itertools import islice

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def normalise(
    maps: Float[Tensor, "batch pixels categories"],
) -> Float[Tensor, "batch pixels categories"]:
    """Shift each map to a least value of 0 and scale it to a sum of 1 over positions.

    A constant map becomes zero everywhere: still constant, and the only one that a product with
    attention leaves constant to the last bit. Maps whose spread is within the rounding of such a
    product count as constant, lest noise be blown up to a map. Computes in float32 or better.
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
    """Multiply category maps by self-attention again and again (eq. 3, algorithm 1 lines 11-17).

    Maps are normalised before, between and after. Categories do not influence each other, so
    padding changes nothing. Computes in float32 or better.

    Args:
        maps: each category's cross-attention map A_ca.
        attention: how each query (rows) attends to each key (columns), rows summing to 1, usually
            with its entropy reduced.
        iterations: N, the number of products; 0 only normalises.

    Returns:
        Maps with a least value of 0 and a sum of 1; zero where a map is constant.
    """
    return next(islice(trajectory(maps, attention), iterations, None))


def trajectory(
    maps: Float[Tensor, "batch pixels categories"],
    attention: Float[Tensor, "batch pixels pixels"],
) -> Iterator[Float[Tensor, "batch pixels categories"]]:
    """Yield what `refine` returns for 0, 1, 2 ... iterations, one product each, without end."""
    maps, attention = _raise_precision(maps, attention)
    maps = normalise(maps)
    while True:
        yield maps
        maps = normalise(torch.bmm(attention, maps))  # eq. 3


def refine_adaptively(
    maps: Float[Tensor, "batch pixels categories"],
    attention: Float[Tensor, "batch pixels pixels"],
    *,
    tolerance: float,
    min_iterations: int,
    max_iterations: int,
) -> tuple[Float[Tensor, "batch pixels categories"], Int64[Tensor, " batch"]]:
    """Refine each image until its maps hardly change: the paper's future work (section 5).

    A step changes a map by the share of its mass that moves, half the sum of the absolute
    differences, 0 to 1. An image stops after the first step, from the `min_iterations`-th on, in
    which none of its maps changes by `tolerance` or more, at the latest after `max_iterations`.
    Images stop on their own, whatever else is in the batch.

    Args:
        maps: as for `refine`.
        attention: as for `refine`.
        tolerance: the share of a map's mass, 0 to 1; 0 always takes `max_iterations`.
        min_iterations: the least number of products.
        max_iterations: the greatest number of products.

    Returns:
        The maps as `refine` returns them, and the number of products of each image.
    """
    maps, attention = _raise_precision(maps, attention)
    refined = normalise(maps)
    steps = torch.zeros(len(maps), dtype=torch.int64)
    for image in range(len(maps)):
        current = refined[image : image + 1]
        for step in range(1, max_iterations + 1):
            previous = current
            current = normalise(torch.bmm(attention[image : image + 1], previous))
            steps[image] = step
            moved = (current - previous).abs().sum(dim=1) / 2
            if step >= min_iterations and bool((moved < tolerance).all()):
                break
        refined[image] = current[0]
    return refined, steps


def _raise_precision(maps: Tensor, attention: Tensor) -> tuple[Tensor, Tensor]:
    """Bring both to the more precise of their types, at least float32."""
    dtype = torch.promote_types(torch.promote_types(maps.dtype, attention.dtype), torch.float32)
    return maps.to(dtype), attention.to(dtype)
