"""DiffSeg: segments from self-attention alone, by merging positions with similar attention.

Tian et al., "Diffuse, Attend, and Segment" (CVPR 2024), section 3. The paper leaves some details
open; these follow its released code: the positions of anchors, and one proposal that may be part of
several merged proposals.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from iseg_cli.ops.aggregate import resize
from iseg_cli.ops.assign import min_max


def merge_resolutions(
    maps: Sequence[Float[Tensor, "batch _ _"]], *, side: int
) -> Float[Tensor, "batch pixels pixels"]:
    """Return the mean of the self-attention of several resolutions, on one grid.

    The axis of keys is enlarged bilinearly and divided by its sum; the axis of queries is repeated.
    The weight of a resolution is proportional to its side. Computes in float32 or better, one image
    at a time: besides the result, it needs memory for the attention of two images.

    Args:
        maps: one per resolution, each on its own square grid: how each query (rows) attends to
            each key (columns).
        side: L, the side of the common grid.

    Returns:
        A distribution over keys for each query: rows sum to 1.
    """
    sides = [math.isqrt(one.shape[1]) for one in maps]
    dtype = torch.promote_types(maps[0].dtype, torch.float32)
    merged = torch.zeros(len(maps[0]), side**2, side**2, dtype=dtype, device=maps[0].device)
    line = torch.arange(side, device=merged.device)
    for one, grid in zip(maps, sides, strict=True):
        coarse = line * grid // side
        # The query of the coarse grid that covers each position.
        query = (coarse[:, None] * grid + coarse).flatten()
        for index, image in enumerate(one):
            enlarged = resize(image.T[None], height=side, width=side)[0].flatten(1)
            share = grid / sum(sides) / enlarged.sum(dim=1, keepdim=True)
            merged[index].addcmul_(enlarged[query], share[query])
    return merged


def anchor_positions(side: int, *, anchors: int) -> Int64[Tensor, " positions"]:
    """Return the positions of the anchors: `anchors` squared of them, in row-major order.

    They are floor((L - 1) / (anchors - 1)) apart and centred on the grid: rows and columns
    1, 5 ... 61 for 16 anchors on a side of 64. On a small grid every position is an anchor.

    Example:
        >>> anchor_positions(4, anchors=2).tolist()
        [0, 3, 12, 15]
    """
    count = min(anchors, side)
    step = (side - 1) // max(1, count - 1)
    line = (side - 1 - step * (count - 1)) // 2 + step * torch.arange(count)
    return (line[:, None] * side + line).flatten()


def symmetric_kl(
    points: Float[Tensor, "points pixels"], others: Float[Tensor, "others pixels"]
) -> Float[Tensor, "points others"]:
    """Return the symmetric Kullback-Leibler divergence of every pair, 0 or more, in nats.

    It is (KL(p|q) + KL(q|p)) / 2 = sum((p - q) * (log p - log q)) / 2, computed by matrix products.
    An exact zero is replaced by the least positive number of its type.
    """
    logs = _log(others)
    # Only differences of logarithms matter. Centred logarithms are no larger than the divergences,
    # so that little precision is lost where the terms below cancel.
    shift = logs.mean(dim=0)
    logs -= shift
    own_logs = _log(points) - shift
    # Sums are used here, because a product of vectors adds up one by one and rounds ten times more.
    own = (points * own_logs).sum(dim=1, keepdim=True)
    other = (others * logs).sum(dim=1)
    crossed = (points @ logs.T).add_(own_logs @ others.T)
    return ((own + other - crossed) / 2).clamp_(min=0)


def propose(
    attention: Float[Tensor, "pixels pixels"],
    *,
    side: int,
    anchors: int = 16,
    threshold: float = 1.1,
    rounds: int = 3,
) -> Float[Tensor, "proposals pixels"]:
    """Return proposals for the segments of one image: distributions over positions.

    The first round averages, for every anchor, all positions whose divergence from it is less than
    the threshold. Every later round takes the proposals one after the other. If no earlier proposal
    has taken a proposal, then it takes all proposals whose divergence from it is less than the
    threshold, also those that are already taken, and their mean replaces it.

    Args:
        attention: of one image, as `merge_resolutions` returns it.
        side: L.
        anchors: anchors along one side of the grid.
        threshold: positions and proposals merge if their divergence, in nats, is less.
        rounds: the number of rounds, 1 or more.
    """
    attention = attention.to(torch.promote_types(attention.dtype, torch.float32))
    starts = anchor_positions(side, anchors=anchors).to(attention.device)
    near = symmetric_kl(attention[starts], attention) < threshold
    near[torch.arange(len(starts)), starts] = True  # an anchor is near itself, despite rounding
    proposals = _means(near, attention)
    for _ in range(rounds - 1):
        near = symmetric_kl(proposals, proposals) < threshold
        near.fill_diagonal_(True)
        proposals = _means(near[_leaders(near)], proposals)
    return proposals


def partition(
    maps: Float[Tensor, "maps pixels"],
    *,
    height: int,
    width: int,
    most: int = 254,
    stretch: bool = False,
) -> tuple[Int64[Tensor, "height width"], Int64[Tensor, " segments"]]:
    """Return which map is the strongest at every pixel: DiffSeg's non-maximum suppression.

    Maps are enlarged bilinearly, one at a time, so that memory does not grow with their number.
    Between equal values the earlier map wins.

    Args:
        maps: one for each proposal or segment, on the square grid.
        height: of the image, in pixels.
        width: of the image, in pixels.
        most: the greatest number of segments. If there are more, the smallest lose their pixels.
        stretch: whether each enlarged map is first stretched to [0, 1], as category maps are.

    Returns:
        The number of each pixel's segment, counted from 0, the largest segment first; and the map
        of each segment.
    """
    winner = _strongest(maps, height, width, stretch)
    sizes = winner.flatten().bincount(minlength=len(maps))
    found = int((sizes > 0).sum())
    kept = sizes.argsort(descending=True, stable=True)[: min(found, most)]
    if found > most:
        return _strongest(maps[kept], height, width, stretch), kept
    number = torch.zeros_like(sizes)
    number[kept] = torch.arange(found, device=kept.device)
    return number[winner], kept


def _log(points: Tensor) -> Tensor:
    return points.clamp(min=torch.finfo(points.dtype).tiny).log_()


def _means(
    members: Bool[Tensor, "groups points"], points: Float[Tensor, "points pixels"]
) -> Float[Tensor, "groups pixels"]:
    """Return the mean of the points of each group; every group has at least one point."""
    return (members.to(points) @ points) / members.sum(dim=1, keepdim=True)


def _leaders(near: Bool[Tensor, "points points"]) -> list[int]:
    """Return the points, one after the other, that are near no earlier point of the result."""
    near = near.cpu()
    taken = torch.zeros(len(near), dtype=torch.bool)
    leaders = []
    for point in range(len(near)):
        if not taken[point]:
            leaders.append(point)
            taken |= near[point]
    return leaders


def _strongest(maps: Tensor, height: int, width: int, stretch: bool) -> Tensor:
    """Return which map is the greatest at every pixel, Int64[height width]."""
    winner = torch.zeros(height, width, dtype=torch.int64, device=maps.device)
    greatest: Tensor | None = None
    for index, one in enumerate(maps):
        score = resize(one[None, :, None], height=height, width=width)
        score = (min_max(score) if stretch else score)[0, 0]
        if greatest is None:
            greatest = score
            continue
        better = score > greatest
        winner[better] = index
        greatest = torch.where(better, score, greatest)
    return winner
