"""Formulas of the method as the papers write them; the fast path rearranges them."""

import math

import torch
from torch import Tensor

from iseg_cli.config.schema import EntSelfSettings
from iseg_cli.ops.cluster import CLUSTERS, FLOOR, OFFSET


def cluster_by_distance(maps: Tensor, *, side: int, rounds: int) -> Tensor:
    """Return maps in which every position has the mean map of its cluster, as `cluster_maps` does.

    Distances are computed token by token for each pair of a cluster and a position. This takes
    several tensors of clusters x positions x tokens numbers (45 MB each at L = 64).

    Args:
        maps: Float[pixels tokens] of one image.
        side: the side of its grid.
        rounds: the rounds of k-means.
    """
    points = torch.where(maps == 0, FLOOR, maps)
    step = max(1, math.floor(side / math.sqrt(CLUSTERS)))
    line = torch.arange(0, side, step, device=maps.device)
    centres = points[(line[:, None] * side + line).flatten()]
    for _ in range(rounds):
        nearest = _divergence(centres, points).argmin(dim=0)
        left = nearest.unique()
        centres = torch.stack([points[nearest == one].mean(dim=0) for one in left])
    same = (nearest[:, None] == nearest).to(maps.dtype)  # which positions share a cluster
    return same @ maps / same.sum(dim=1, keepdim=True)


def reduce_entropy_plainly(attention: Tensor, rule: EntSelfSettings) -> Tensor:
    """Return self-attention with less entropy, as `ops.ent_self.reduce_entropy` does.

    Args:
        attention: Float[1 pixels pixels]; rows (queries) sum to 1.
        rule: the step size and the logarithm.
    """
    peak = attention.amax(dim=1, keepdim=True)
    shares = attention / peak.masked_fill(peak == 0, 1)
    slope = torch.log(math.e * shares) if rule.log == "natural" else torch.log10(math.e * shares)
    shares = shares + torch.where(shares == 0, 0, rule.step_size * slope)  # eq. 5 and 6
    shares = shares.clamp(min=0)
    total = shares.sum(dim=2, keepdim=True)
    shares = shares / total.masked_fill(total == 0, 1)
    shares.diagonal(dim1=1, dim2=2).add_(
        total.squeeze(2) == 0
    )  # this query attends to itself alone
    return shares


def _divergence(centres: Tensor, points: Tensor) -> Tensor:
    """Return the symmetric Kullback-Leibler divergence, Float[clusters pixels]."""
    p, q = (centres + OFFSET)[:, None], (points + OFFSET)[None]
    ratio = torch.log(p) - torch.log(q)
    return (p * ratio).sum(dim=-1) * 0.5 - (q * ratio).sum(dim=-1) * 0.5
