"""Two figures of how plausible a mask is: each category's share of the image, and its margin."""

from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from iseg_cli.ops.assign import background_score


def area_shares(
    labels: Int64[Tensor, "batch height width"], *, categories: int
) -> Float[Tensor, "batch categories"]:
    """Return the share of the image's pixels that have each category's label, 0 to 1.

    Args:
        labels: c + 1 where the c-th category won, as `assign` returns them.
        categories: how many categories each image has.
    """
    return _inside(labels, categories).float().mean(dim=(2, 3))


def mean_margins(
    scores: Float[Tensor, "batch categories height width"],
    labels: Int64[Tensor, "batch height width"],
    *,
    background: Literal["power", "threshold", "none"] = "power",
    threshold: float = 0.0,
) -> Float[Tensor, "batch categories"]:
    """Return the mean distance of each category's score from its best rival, over its own pixels.

    The rivals of a category are the other categories and the background. The background's score is
    (1 - m) squared for `power`, where m is the greatest category score; the threshold for
    `threshold`; and 0 for `none`. A margin near 1 means a clear map, a margin near 0 a close
    decision. A category without pixels has 0.

    Args:
        scores: category scores in [0, 1] that the labels were assigned by.
        labels: c + 1 where the c-th category won.
        background: the rule for background.
        threshold: the least score of a category, for `threshold`.
    """
    categories = scores.shape[1]
    inside = _inside(labels, categories)
    greatest = scores.topk(min(2, categories), dim=1).values
    rival = greatest[:, 1:].amax(dim=1) if categories > 1 else torch.zeros_like(scores[:, 0])
    if background == "power":
        rival = rival.maximum(background_score(scores))
    elif background == "threshold":
        rival = rival.clamp(min=threshold)
    margin = (greatest[:, :1] - rival[:, None]) * inside
    return margin.sum(dim=(2, 3)) / inside.sum(dim=(2, 3)).clamp(min=1)


def _inside(labels: Tensor, categories: int) -> Tensor:
    """Return which pixels each category won, Bool[batch categories height width]."""
    own = torch.arange(1, categories + 1, device=labels.device)
    return labels[:, None] == own[:, None, None]
