"""From CLIP's patches to the classes in an image: TagCLIP's two refinements (arXiv 2312.12828).

Patches are in row-major order. Classes are the wanted classes, then the background prompts. These
share the softmax, so that the surroundings of objects are not given to a wanted class.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import max_pool2d, normalize, pad


def class_probabilities(
    features: Float[Tensor, "batch patches channels"],
    texts: Float[Tensor, "classes channels"],
    *,
    scale: float,
) -> Float[Tensor, "batch patches classes"]:
    """Return the softmax over classes of `scale` times the cosine with each class's text.

    Args:
        features: of any length except zero.
        texts: of unit length.
        scale: the inverse temperature that CLIP learned (100 for OpenAI's).
    """
    return (scale * (normalize(features, dim=-1) @ texts.T)).softmax(dim=-1)


def trusted_attention(
    attention: Float[Tensor, "blocks batch patches patches"],
    *,
    averaged: Sequence[int],
    min_agreeing_blocks: int,
) -> Float[Tensor, "batch patches patches"]:
    """Return the mean attention of some blocks where enough of all blocks agree (the first mask).

    A block agrees to a pair of patches if its attention there is over its own mean.

    Args:
        attention: of each block, from patch (rows) to patch (columns).
        averaged: the blocks to average, counted from 0.
        min_agreeing_blocks: how many blocks must agree to keep a pair; other pairs become 0.
    """
    agreed = (attention > attention.mean(dim=(2, 3), keepdim=True)).sum(
        dim=0
    ) >= min_agreeing_blocks
    return attention[list(averaged)].mean(dim=0) * agreed


def refine_scores(
    coarse: Float[Tensor, "batch patches classes"],
    attention: Float[Tensor, "batch patches patches"],
    *,
    rows: int,
) -> Float[Tensor, "batch patches classes"]:
    """Return patch scores, multiplied by attention twice (double-mask-attention refinement).

    The first product tells where each class responds: where its map is over the map's mean,
    enlarged to boxes. The second product takes only the coarse scores of patches in these boxes.

    Args:
        coarse: the scores of each patch.
        attention: as `trusted_attention` returns it.
        rows: the number of rows of the grid of patches.
    """
    maps = _stretch(attention @ coarse).transpose(1, 2).unflatten(-1, (rows, -1))
    boxes = fill_boxes(maps > maps.mean(dim=(2, 3), keepdim=True))
    # A constant map does not tell where its class is: then all patches are taken.
    boxes = boxes | ~boxes.any(dim=3, keepdim=True).any(dim=2, keepdim=True)
    # A mask on the columns of attention is the same as a mask on the rows of the scores.
    return attention @ (coarse * boxes.flatten(2).transpose(1, 2))


def fill_boxes(
    mask: Bool[Tensor, "batch classes rows columns"],
) -> Bool[Tensor, "batch classes rows columns"]:
    """Return the mask with the upright box around each connected part filled.

    Parts are connected at sides and corners.
    """
    batch, classes, rows, columns = mask.shape
    label = _label_parts(mask).flatten(2)
    position = torch.arange(rows * columns, device=mask.device).expand_as(label)
    row, column = position // columns, position % columns
    parts = rows * columns + 1
    top, left = (_of_parts(label, x, parts, "amin") for x in (row, column))
    bottom, right = (_of_parts(label, x, parts, "amax") + 1 for x in (row, column))
    there = torch.zeros_like(top).scatter_(2, label, 1)
    there[..., 0] = 0  # label 0: patches of no part
    # Each box adds 1 at its top left corner and subtracts it behind its right and lower sides. The
    # cumulative sums are over 0 exactly within boxes.
    wide = columns + 1
    steps = torch.zeros(batch, classes, (rows + 1) * wide, dtype=top.dtype, device=mask.device)
    for y, x, sign in ((top, left, 1), (top, right, -1), (bottom, left, -1), (bottom, right, 1)):
        steps.scatter_add_(2, y * wide + x, sign * there)
    covered = steps.unflatten(2, (rows + 1, wide)).cumsum(dim=2).cumsum(dim=3)
    inside: Tensor = covered[..., :rows, :columns] > 0
    return inside


def candidates(
    scores: Float[Tensor, "batch patches classes"], *, named: int, share: float
) -> Bool[Tensor, "batch named"]:
    """Return which classes are candidates: these are scored again in a crop.

    Args:
        scores: refined scores; those of background prompts come last.
        named: the number of wanted classes.
        share: 0 to 1. With the image's least score as 0 and its greatest as 1, background prompts
            included, the greatest score of a candidate is over this share.
    """
    flat = scores.flatten(1)
    low, high = flat.amin(dim=1, keepdim=True), flat.amax(dim=1, keepdim=True)
    return scores[..., :named].amax(dim=1) > low + share * (high - low)


def response_boxes(
    scores: Float[Tensor, "batch patches classes"], *, rows: int
) -> tuple[Bool[Tensor, "batch patches classes"], Int64[Tensor, "batch classes 4"]]:
    """Return the patches where each class responds, and their bounding box.

    A class responds where its map is over the middle between its least and its greatest score. If
    the map is constant, it responds everywhere.

    Returns:
        The patches, and (top, left, bottom, right) in patches; bottom and right are exclusive.
    """
    stretched = _stretch(scores)
    responds = (stretched > 0.5) | (stretched.amax(dim=1, keepdim=True) == 0)
    grid = responds.transpose(1, 2).unflatten(-1, (rows, -1))
    in_row, in_column = grid.any(dim=3).long(), grid.any(dim=2).long()
    sides = [in_row.argmax(dim=-1), in_column.argmax(dim=-1)]
    sides += [x.shape[-1] - x.flip(-1).argmax(dim=-1) for x in (in_row, in_column)]
    return responds, torch.stack(sides, dim=-1)


def combine(
    patch_scores: Float[Tensor, "batch classes"],
    crop_scores: Float[Tensor, "batch classes"],
    has_crop: Bool[Tensor, "batch classes"],
    *,
    patch_weight: float = 0.5,
    crop_weight: float = 0.5,
) -> Float[Tensor, "batch classes"]:
    """Return the score of each class: that of its patches, with that of its crop if it had one.

    Args:
        patch_scores: the greatest patch score of each class.
        crop_scores: the probability of each class in its crop.
        has_crop: which classes have a crop.
        patch_weight: the weight of `patch_scores` for classes with a crop.
        crop_weight: the weight of `crop_scores`. If both weights add up to more than 1, a score may
            be over 1.
    """
    combined = patch_weight * patch_scores + crop_weight * crop_scores
    return torch.where(has_crop, combined, patch_scores)


def choose(
    scores: Float[Tensor, "batch classes"], *, threshold: float, min_score: float
) -> Bool[Tensor, "batch classes"]:
    """Return which classes are in each image.

    Args:
        scores: one for each class.
        threshold: 0 to 1. With the image's least score as 0 and its greatest as 1, a class needs
            more than this; the class with the greatest score always has enough.
        min_score: the least score that a class needs in addition.
    """
    low, high = scores.amin(dim=1, keepdim=True), scores.amax(dim=1, keepdim=True)
    return ((scores > low + threshold * (high - low)) | (scores == high)) & (scores >= min_score)


def _stretch(maps: Tensor) -> Tensor:
    """Return each map of Float[batch patches classes] stretched to [0, 1]; 0 if it is constant."""
    low = maps.amin(dim=1, keepdim=True)
    span = maps.amax(dim=1, keepdim=True) - low
    return (maps - low) / span.masked_fill(span == 0, 1)


def _label_parts(mask: Tensor) -> Int64[Tensor, "batch classes rows columns"]:
    """Return the number of each patch's connected part; 0 for patches of no part.

    The number of a part is its greatest position, counted from 1.
    """
    rows, columns = mask.shape[-2:]
    positions = torch.arange(1, rows * columns + 1, device=mask.device, dtype=torch.float32)
    label = positions.reshape(rows, columns) * mask
    while True:
        # In each round the greatest number reaches the neighbouring patches. The map is padded,
        # because the padding of max_pool2d is minus infinity.
        grown = max_pool2d(pad(label, (1, 1, 1, 1)), kernel_size=3, stride=1) * mask
        if torch.equal(grown, label):
            return label.long()
        label = grown


def _of_parts(label: Tensor, values: Tensor, parts: int, reduce: str) -> Tensor:
    """Return the least or greatest value in each part, Int64[batch classes parts]; else 0."""
    empty = values.new_zeros(*label.shape[:2], parts)
    return empty.scatter_reduce(2, label, values, reduce=reduce, include_self=False)
