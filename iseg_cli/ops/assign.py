"""From category maps to labels: what is background, and which category wins (appendix B).

The paper does not say how pixels become background. The rules here are those of the authors'
released code: `power` for VOC, `threshold` for COCO.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor


def min_max(
    scores: Float[Tensor, "batch categories height width"],
) -> Float[Tensor, "batch categories height width"]:
    """Return each category's scores, stretched to [0, 1] over the image, in float32 or better.

    A constant map becomes zero, so that it takes no pixel from the background.

    Example:
        >>> min_max(torch.tensor([[[[1.0, 2.0, 3.0]]]]))
        tensor([[[[0.0000, 0.5000, 1.0000]]]])
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
        valid: which categories are looked at; None for all.
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
    """Return the label of every pixel: its strongest category, or background.

    With `power`, a pixel is background unless a category's score exceeds `background_score`. With
    `threshold`, a pixel is background where no category reaches the threshold, or all scores are
    zero. With `none`, no pixel is background. Between equal scores background wins, then the
    earlier category. In an image without categories every pixel is background.

    Args:
        scores: category scores in [0, 1], as `min_max` returns them.
        background: the rule for background.
        threshold: the least score of a category, 0 to 1; only the rule `threshold` reads it.
        valid: which categories are looked at; None for all. With `none`, columns of padding must
            be left out, because a zero map could win.

    Returns:
        0 for background, c + 1 for the category in column c.

    Example:
        >>> assign(torch.tensor([[[[0.1, 0.9]], [[0.2, 0.3]]]]))
        tensor([[[0, 1]]])
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
    """Return labels in which uncertain pixels, between category and background, are ignored.

    Args:
        labels: the labels so far.
        background_score: as the function `background_score` returns it.
        low: a pixel with at most this score keeps its label.
        high: a pixel with at least this score keeps its label.
        ignore: the label of the pixels between; training leaves them out.
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
    # A loop over the few categories is much faster than torch.argmax, and it keeps the first of
    # equal scores.
    for later in range(1, scores.shape[1]):
        column.masked_fill_(scores[:, later] > greatest, later)
        greatest = torch.maximum(greatest, scores[:, later])
    return greatest, column


def _power(strongest: Tensor) -> Tensor:
    """Return the background's score, given the greatest category score of each pixel."""
    return (1 - strongest.clamp(min=0)).square()
