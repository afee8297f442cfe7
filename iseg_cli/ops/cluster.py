"""Clusters positions by what they attend to, so that all of an object takes part in its map.

Not in the paper; the authors' released code does it, on by default, before tokens are selected.
"""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import one_hot

OFFSET = 1e-5
"""Added to every value before a logarithm is taken."""

FLOOR = 1e-6
"""What stands for an exact zero when distances are measured."""

CLUSTERS = 32
"""Start positions stand floor(side / sqrt(CLUSTERS)) apart, in rows and columns."""


def cluster_maps(
    maps: Float[Tensor, "batch pixels tokens"], *, side: int, rounds: int = 20
) -> Float[Tensor, "batch pixels tokens"]:
    """Give every position the mean map of its cluster.

    k-means whose distance is the symmetric Kullback-Leibler divergence over tokens,
    (KL(p|q) + KL(q|p)) / 2 = sum((p - q) * (log p - log q)) / 2. Clusters start at positions
    0, s, 2s ... of every s-th row with s = floor(side / sqrt(32)), 6 x 6 of them for a side of 64;
    those that lose all their positions are dropped. Equal distances go to the earlier cluster.

    Images do not influence each other. Computes in float32 or better.

    Args:
        maps: each token's attention at every position, not negative.
        side: the side of the grid; below 12 every position is a cluster of its own at the start.
        rounds: how often positions are assigned, at least once.
    """
    maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
    points = maps.masked_fill(maps == 0, FLOOR) + OFFSET
    logs = points.log()
    # The distance depends on differences alone, so both may be centred: less is lost to rounding.
    shift, log_shift = points.mean(dim=1, keepdim=True), logs.mean(dim=1, keepdim=True)
    points_t, logs_t = (points - shift).transpose(1, 2), (logs - log_shift).transpose(1, 2)

    centres = points[:, _start_positions(side, maps.device)]
    empty = torch.zeros_like(centres[..., 0], dtype=torch.bool)
    for _ in range(rounds):
        shifted, log_shifted = centres - shift, centres.log() - log_shift
        # Twice the distance, less the points' own sum(p * log p), which all centres share.
        distance = (shifted * log_shifted).sum(dim=2, keepdim=True)
        distance = distance - torch.bmm(shifted, logs_t) - torch.bmm(log_shifted, points_t)
        nearest = distance.masked_fill(empty[..., None], math.inf).argmin(dim=1)
        # Sums as matrix products: scattered additions are not deterministic on every device.
        member = one_hot(nearest, centres.shape[1]).to(maps)
        sizes = member.sum(dim=1)
        empty = sizes == 0
        share = (member / sizes.masked_fill(empty, 1)[:, None]).transpose(1, 2)
        centres = torch.bmm(share, points).masked_fill(empty[..., None], 1)

    means = torch.bmm(share, maps)
    return means.gather(1, nearest[..., None].expand_as(maps))


def _start_positions(side: int, device: torch.device) -> Int64[Tensor, " clusters"]:
    """Return the positions, in row-major order, at which clusters start."""
    step = max(1, math.floor(side / math.sqrt(CLUSTERS)))
    line = torch.arange(0, side, step, device=device)
    return (line[:, None] * side + line).flatten()
