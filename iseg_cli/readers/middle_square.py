"""Crops images and ground truth to the middle square, as DiffSeg's protocol does."""

import numpy as np
from jaxtyping import Int64, Shaped

from iseg_cli.types import Mask


def middle_square(
    image: Shaped[np.ndarray, "height width ..."],
) -> Shaped[np.ndarray, "side side ..."]:
    """Return the largest square in the middle of an image or of labels, as a view.

    If the margins differ by a pixel, the first is the smaller one, as in DiffSeg's evaluation.

    Example:
        >>> middle_square(np.arange(5)[None].repeat(2, axis=0))[0].tolist()
        [1, 2]
    """
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def crop_ground_truth(ground_truth: Mask, side: int) -> Mask:
    """Return the middle square of ground truth, resized to `side` x `side` pixels.

    A pixel gets the label under its centre, so no new label appears. DiffSeg's evaluation has the
    same rule: TensorFlow's nearest neighbour with half-pixel centres.
    """
    square = middle_square(ground_truth.labels)
    under = _under_centres(square.shape[0], side)
    return Mask(square[under[:, None], under])


def _under_centres(length: int, count: int) -> Int64[np.ndarray, " count"]:
    """Return which of `length` pixels are under the centres of `count`: floor((i + 1/2) l / n)."""
    return (2 * np.arange(count, dtype=np.int64) + 1) * length // (2 * count)
