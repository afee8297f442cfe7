"""DiffSeg: segments from self-attention alone, by merging positions that attend alike.

Tian et al., "Diffuse, Attend, and Segment" (CVPR 2024), section 3. What the paper leaves open is
done as in its released code: where anchors stand, that one proposal may join several merged ones.
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
    """Bring self-attention of several resolutions to one grid and average it.

    The keys' side is enlarged bilinearly and divided by its sum, the queries' side repeated. A
    resolution weighs as much as its side is long. Computes in float32 or better, one image at a
    time: beside the result it takes memory for two images' attention.

    Args:
        maps: how each query (rows) attends to each key (columns), one per resolution, on square
            grids of their own.
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
        query = (coarse[:, None] * grid + coarse).flatten()  # which of its queries stands there
        for index, image in enumerate(one):
            enlarged = resize(image.T[None], height=side, width=side)[0].flatten(1)
            share = grid / sum(sides) / enlarged.sum(dim=1, keepdim=True)
            merged[index].addcmul_(enlarged[query], share[query])
    return merged


def anchor_positions(side: int, *, anchors: int) -> Int64[Tensor, " positions"]:
    """Return where anchors stand on the grid: `anchors` squared positions, in row-major order.

    They are floor((L - 1) / (anchors - 1)) apart, in the middle of the grid: rows and columns
    1, 5 ... 61 for 16 on a side of 64. At most every position is one.
    """
    count = min(anchors, side)
    step = (side - 1) // max(1, count - 1)
    line = (side - 1 - step * (count - 1)) // 2 + step * torch.arange(count)
    return (line[:, None] * side + line).flatten()


def symmetric_kl(
    points: Float[Tensor, "points pixels"], others: Float[Tensor, "others pixels"]
) -> Float[Tensor, "points others"]:
    """Return half the sum of both Kullback-Leibler divergences of every pair, from 0 up.

    Equal to sum((p - q) * (log p - log q)) / 2, by matrix products. An exact zero counts as the
    least positive number of its type.
    """
    logs = _log(others)
    # Only differences of logarithms count: centred, they are no larger than the divergences, so
    # that little is lost where the terms below cancel.
    shift = logs.mean(dim=0)
    logs -= shift
    own_logs = _log(points) - shift
    # Sums, not products of vectors: those add up one by one, and lose ten times as much.
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
    """Merge one image's attention into proposals for segments, each a distribution over positions.

    The first round averages, for every anchor, all positions that diverge from it by less than the
    threshold. Every further round goes through the proposals in their order: one that no earlier
    one has taken takes all that diverge from it by less than the threshold, taken or not, and is
    replaced by their mean.

    Args:
        attention: one image of `merge_resolutions`.
        side: L.
        anchors: anchors along one side of the grid.
        threshold: symmetric divergence, in nats, under which positions and proposals merge.
        rounds: the number of rounds, 1 or more.
    """
    attention = attention.to(torch.promote_types(attention.dtype, torch.float32))
    starts = anchor_positions(side, anchors=anchors).to(attention.device)
    near = symmetric_kl(attention[starts], attention) < threshold
    near[torch.arange(len(starts)), starts] = True  # rounding must not part an anchor from itself
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
    """Give every pixel to the strongest of some maps: DiffSeg's non-maximum suppression.

    Maps are enlarged bilinearly, one at a time, so that memory does not grow with their number.
    Equal values go to the earlier map.

    Args:
        maps: on the grid, one for each proposal or segment.
        height: of the image, in pixels.
        width: of the image, in pixels.
        most: how many segments there may be; the smallest of more give up their pixels.
        stretch: whether each enlarged map is stretched to [0, 1] first, as category maps are.

    Returns:
        The number of each pixel's segment, from 0, the one with most pixels first; and which map
        each segment is.
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
    """Average the points of each group; every group has one."""
    return (members.to(points) @ points) / members.sum(dim=1, keepdim=True)


def _leaders(near: Bool[Tensor, "points points"]) -> list[int]:
    """Return the points that, in their order, no earlier one of these has near it."""
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
