"""The formulas that the fast path rearranges, as they are written down."""

import math

import torch
from torch import Tensor

from iseg_cli.config.schema import EntSelfSettings
from iseg_cli.ops.cluster import CLUSTERS, FLOOR, OFFSET


def cluster_by_distance(maps: Tensor, *, side: int, rounds: int) -> Tensor:
    """Give every position the mean map of its cluster, as `ops.cluster.cluster_maps` does.

    Distances are computed for each pair of a cluster and a position token by token, which takes
    clusters x positions x tokens numbers several times over (at L = 64 each time 45 MB).

    Args:
        maps: Float[pixels tokens] of one image.
        side: of its grid.
        rounds: of k-means.
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
    """Take a step against the entropy of self-attention, as `ops.ent_self.reduce_entropy` does.

    Args:
        attention: Float[1 pixels pixels], rows (queries) summing to 1.
        rule: the step's size and logarithm.
    """
    peak = attention.amax(dim=1, keepdim=True)
    shares = attention / peak.masked_fill(peak == 0, 1)
    slope = torch.log(math.e * shares) if rule.log == "natural" else torch.log10(math.e * shares)
    shares = shares + torch.where(shares == 0, 0, rule.step_size * slope)  # eq. 5 and 6
    shares = shares.clamp(min=0)
    total = shares.sum(dim=2, keepdim=True)
    shares = shares / total.masked_fill(total == 0, 1)
    shares.diagonal(dim1=1, dim2=2).add_(total.squeeze(2) == 0)  # it attends to itself alone
    return shares


def _divergence(centres: Tensor, points: Tensor) -> Tensor:
    """Return the symmetric Kullback-Leibler divergence, Float[clusters pixels]."""
    p, q = (centres + OFFSET)[:, None], (points + OFFSET)[None]
    ratio = torch.log(p) - torch.log(q)
    return (p * ratio).sum(dim=-1) * 0.5 - (q * ratio).sum(dim=-1) * 0.5
