"""From category maps to labels: what is background, and which category wins (appendix B).

The paper does not say how background is told from categories; the rules here are those of the
authors' released code: `power` for VOC, `threshold` for COCO.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor


def min_max(
    scores: Float[Tensor, "batch categories height width"],
) -> Float[Tensor, "batch categories height width"]:
    """Stretch each category's scores over the image to [0, 1], in float32 or better.

    A constant map has nothing to tell and becomes zero, so that it claims no pixel from the
    background.
    """
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    scores = scores - scores.amin(dim=(2, 3), keepdim=True)
    greatest = scores.amax(dim=(2, 3), keepdim=True)
    return scores / greatest.masked_fill(greatest == 0, 1)


def background_score(
    scores: Float[Tensor, "batch categories height width"],
    *,
    valid: Bool[Tensor, "batch categories"] | None = None,
) -> Float[Tensor, "batch height width"]:
    """Return (1 - the greatest category score) squared: 1 where no category responds.

    Args:
        scores: category scores in [0, 1].
        valid: which categories count; None for all.
    """
    strongest, _ = _strongest(scores, valid)
    return _power(strongest)


def assign(
    scores: Float[Tensor, "batch categories height width"],
    *,
    background: Literal["power", "threshold", "none"] = "power",
    threshold: float = 0.0,
    valid: Bool[Tensor, "batch categories"] | None = None,
) -> Int64[Tensor, "batch height width"]:
    """Label every pixel with its strongest category, or as background.

    `power` prefers background unless a category's score exceeds `background_score`. `threshold`
    takes background where no category reaches the threshold, or all are zero. `none` knows no
    background. Between equal scores background comes first, then the earlier category. Where an
    image has no category at all, everything is background.

    Args:
        scores: category scores in [0, 1], as `min_max` returns them.
        background: how background is told.
        threshold: the least score of a category, 0 to 1; only `threshold` looks at it.
        valid: which categories take part; None for all. Those that only fill up a batch must be
            left out for `none`, where a zero map could win.

    Returns:
        0 for background, c + 1 for the category in column c.
    """
    strongest, column = _strongest(scores, valid)
    if background == "power":
        is_background = _power(strongest) >= strongest
    elif background == "threshold":
        is_background = (strongest < threshold) | (strongest <= 0)
    else:
        is_background = strongest < 0
    return (column + 1).masked_fill(is_background, 0)


def ignore_band(
    labels: Int64[Tensor, "batch height width"],
    background_score: Float[Tensor, "batch height width"],
    *,
    low: float,
    high: float,
    ignore: int = 255,
) -> Int64[Tensor, "batch height width"]:
    """Mark pixels that are neither surely a category nor surely background.

    Args:
        labels: the labels so far.
        background_score: as the function of that name returns it.
        low: up to this score, a pixel keeps its label.
        high: from this score on, too.
        ignore: the label of the pixels between, which training leaves out.
    """
    return labels.masked_fill((background_score > low) & (background_score < high), ignore)


def _strongest(
    scores: Tensor, valid: Tensor | None
) -> tuple[Float[Tensor, "batch height width"], Int64[Tensor, "batch height width"]]:
    """Return each pixel's greatest score and its column; the score is -1 where none is valid."""
    if valid is not None:
        scores = scores.masked_fill(~valid[:, :, None, None], -1)
    if scores.shape[1] == 0:
        scores = scores.new_full((scores.shape[0], 1, *scores.shape[2:]), -1)
    greatest = scores[:, 0].to(torch.promote_types(scores.dtype, torch.float32))
    column = torch.zeros_like(greatest, dtype=torch.int64)
    # Category by category, which takes a small part of the time of torch.argmax over so few, and
    # keeps the first of equal scores.
    for later in range(1, scores.shape[1]):
        column.masked_fill_(scores[:, later] > greatest, later)
        greatest = torch.maximum(greatest, scores[:, later])
    return greatest, column


def _power(strongest: Tensor) -> Tensor:
    """Return how likely background is, given the greatest category score of each pixel."""
    return (1 - strongest.clamp(min=0)).square()
