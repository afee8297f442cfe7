"""Clustering of positions by their attention to tokens: a map then covers the whole object.

The paper does not have it. The authors' released code does it by default, before it selects tokens.
"""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import one_hot

OFFSET = 1e-5
"""Added to every value before a logarithm is taken."""

FLOOR = 1e-6
"""The value that replaces an exact zero when distances are measured."""

CLUSTERS = 32
"""Clusters start at positions floor(side / sqrt(CLUSTERS)) apart, in rows and columns."""


def cluster_maps(
    maps: Float[Tensor, "batch pixels tokens"], *, side: int, rounds: int = 20
) -> Float[Tensor, "batch pixels tokens"]:
    """Return maps in which every position has the mean map of its cluster.

    This is k-means. The distance is the symmetric Kullback-Leibler divergence over tokens,
    (KL(p|q) + KL(q|p)) / 2 = sum((p - q) * (log p - log q)) / 2. Clusters start at positions
    0, s, 2s ... of every s-th row with s = floor(side / sqrt(32)): 6 x 6 clusters for a side of 64.
    A cluster without positions is dropped. Between equal distances the earlier cluster wins.

    Images do not influence each other. Computes in float32 or better.

    Args:
        maps: each token's attention at every position, not negative.
        side: the side of the grid. Below 12 every position starts as a cluster.
        rounds: how many times positions are assigned to clusters, 1 or more.
    """
    maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
    points = maps.masked_fill(maps == 0, FLOOR) + OFFSET
    logs = points.log()
    # The distance depends only on differences. Centring both factors reduces rounding.
    shift, log_shift = points.mean(dim=1, keepdim=True), logs.mean(dim=1, keepdim=True)
    points_t, logs_t = (points - shift).transpose(1, 2), (logs - log_shift).transpose(1, 2)

    centres = points[:, _start_positions(side, maps.device)]
    empty = torch.zeros_like(centres[..., 0], dtype=torch.bool)
    for _ in range(rounds):
        shifted, log_shifted = centres - shift, centres.log() - log_shift
        # Twice the distance minus sum(p * log p) of the point, which is the same for all centres.
        distance = (shifted * log_shifted).sum(dim=2, keepdim=True)
        distance = distance - torch.bmm(shifted, logs_t) - torch.bmm(log_shifted, points_t)
        nearest = distance.masked_fill(empty[..., None], math.inf).argmin(dim=1)
        # Sums are matrix products, because scattered additions are not deterministic on a GPU.
        member = one_hot(nearest, centres.shape[1]).to(maps)
        sizes = member.sum(dim=1)
        empty = sizes == 0
        share = (member / sizes.masked_fill(empty, 1)[:, None]).transpose(1, 2)
        centres = torch.bmm(share, points).masked_fill(empty[..., None], 1)

    means = torch.bmm(share, maps)
    return means.gather(1, nearest[..., None].expand_as(maps))


def _start_positions(side: int, device: torch.device) -> Int64[Tensor, " clusters"]:
    """Return the positions, in row-major order, where clusters start."""
    step = max(1, math.floor(side / math.sqrt(CLUSTERS)))
    line = torch.arange(0, side, step, device=device)
    return (line[:, None] * side + line).flatten()
