"""From CLIP's patches to the classes in an image: TagCLIP's two refinements (arXiv 2312.12828).

Patches are in row-major order; classes are those looked for, then background prompts, which share
the softmax so that what surrounds things is not given to a class.
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
        features: of any length but zero.
        texts: of unit length.
        scale: the inverse temperature that CLIP learned (100 for OpenAI's).
    """
    return (scale * (normalize(features, dim=-1) @ texts.T)).softmax(dim=-1)


def trusted_attention(
    attention: Float[Tensor, "blocks batch patches patches"],
    *,
    averaged: Sequence[int],
    votes: int,
) -> Float[Tensor, "batch patches patches"]:
    """Average the attention of some blocks where enough of all blocks agree (the first mask).

    A block votes for a pair of patches if its attention there is over its own mean.

    Args:
        attention: of each block, from patch (rows) to patch (columns).
        averaged: the blocks to average, counted from 0.
        votes: how many votes keep a pair; the others become 0.
    """
    agreed = (attention > attention.mean(dim=(2, 3), keepdim=True)).sum(dim=0) >= votes
    return attention[list(averaged)].mean(dim=0) * agreed


def refine_scores(
    coarse: Float[Tensor, "batch patches classes"],
    attention: Float[Tensor, "batch patches patches"],
    *,
    rows: int,
) -> Float[Tensor, "batch patches classes"]:
    """Spread patch scores along attention, twice (double-mask-attention refinement).

    The first product says where each class responds: above the mean of its map, stretched to boxes.
    The second product takes the coarse scores of the patches in these boxes alone.

    Args:
        coarse: each patch's scores.
        attention: as `trusted_attention` makes it.
        rows: of the grid of patches.
    """
    maps = _stretch(attention @ coarse).transpose(1, 2).unflatten(-1, (rows, -1))
    boxes = fill_boxes(maps > maps.mean(dim=(2, 3), keepdim=True))
    # A constant map says nothing of where its class is: all of the image may speak for it.
    boxes = boxes | ~boxes.any(dim=3, keepdim=True).any(dim=2, keepdim=True)
    # Masking columns of the attention is masking the rows of what it is multiplied with.
    return attention @ (coarse * boxes.flatten(2).transpose(1, 2))


def fill_boxes(
    mask: Bool[Tensor, "batch classes rows columns"],
) -> Bool[Tensor, "batch classes rows columns"]:
    """Fill the upright box around each connected part; parts touch at sides and corners."""
    batch, classes, rows, columns = mask.shape
    label = _label_parts(mask).flatten(2)
    place = torch.arange(rows * columns, device=mask.device).expand_as(label)
    row, column = place // columns, place % columns
    parts = rows * columns + 1
    top, left = (_of_parts(label, x, parts, "amin") for x in (row, column))
    bottom, right = (_of_parts(label, x, parts, "amax") + 1 for x in (row, column))
    there = torch.zeros_like(top).scatter_(2, label, 1)
    there[..., 0] = 0  # label 0 is what belongs to no part
    # Each box adds 1 from its top left corner on and takes it back behind its sides: what is over 0
    # in the running sums lies in a box.
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
    """Return which classes are worth a second look.

    Args:
        scores: refined, those of background prompts behind the others'.
        named: how many classes come before them.
        share: a class's greatest score must lie over this share of the way from the least to the
            greatest score in the image, background prompts among them.
    """
    flat = scores.flatten(1)
    low, high = flat.amin(dim=1, keepdim=True), flat.amax(dim=1, keepdim=True)
    return scores[..., :named].amax(dim=1) > low + share * (high - low)


def response_boxes(
    scores: Float[Tensor, "batch patches classes"], *, rows: int
) -> tuple[Bool[Tensor, "batch patches classes"], Int64[Tensor, "batch classes 4"]]:
    """Return where each class responds, and the box around that.

    A class responds where its map is over the middle between its least and its greatest score;
    everywhere if the map is constant.

    Returns:
        The patches, and (top, left, bottom, right) in patches, bottom and right being the first
        behind the box.
    """
    stretched = _stretch(scores)
    responds = (stretched > 0.5) | (stretched.amax(dim=1, keepdim=True) == 0)
    grid = responds.transpose(1, 2).unflatten(-1, (rows, -1))
    in_row, in_column = grid.any(dim=3).long(), grid.any(dim=2).long()
    sides = [in_row.argmax(dim=-1), in_column.argmax(dim=-1)]
    sides += [x.shape[-1] - x.flip(-1).argmax(dim=-1) for x in (in_row, in_column)]
    return responds, torch.stack(sides, dim=-1)


def combine(
    local: Float[Tensor, "batch classes"],
    again: Float[Tensor, "batch classes"],
    looked: Bool[Tensor, "batch classes"],
    *,
    local_weight: float = 0.5,
    again_weight: float = 0.5,
) -> Float[Tensor, "batch classes"]:
    """Return each class's score: its patches' and its crop's together where there was a crop.

    Args:
        local: the greatest patch score of each class.
        again: its probability in its own crop.
        looked: which classes had a crop.
        local_weight: of `local` where there was one.
        again_weight: of `again`. With a sum over 1 scores may lie over 1, too.
    """
    return torch.where(looked, local_weight * local + again_weight * again, local)


def choose(
    scores: Float[Tensor, "batch classes"], *, threshold: float, min_score: float
) -> Bool[Tensor, "batch classes"]:
    """Return which classes are in each image.

    Args:
        scores: one for each class.
        threshold: a class must score over this share of the way from the image's least score to its
            greatest, which itself always passes.
        min_score: and at least this much.
    """
    low, high = scores.amin(dim=1, keepdim=True), scores.amax(dim=1, keepdim=True)
    return ((scores > low + threshold * (high - low)) | (scores == high)) & (scores >= min_score)


def _stretch(maps: Tensor) -> Tensor:
    """Bring each map, Float[batch patches classes], to [0, 1] over patches; constant ones to 0."""
    low = maps.amin(dim=1, keepdim=True)
    span = maps.amax(dim=1, keepdim=True) - low
    return (maps - low) / span.masked_fill(span == 0, 1)


def _label_parts(mask: Tensor) -> Int64[Tensor, "batch classes rows columns"]:
    """Number connected parts: each by the greatest place in it, counted from 1; 0 is none."""
    rows, columns = mask.shape[-2:]
    places = torch.arange(1, rows * columns + 1, device=mask.device, dtype=torch.float32)
    label = places.reshape(rows, columns) * mask
    while True:
        # The greatest number spreads by one patch a round; padding is of the map, not of the pool.
        grown = max_pool2d(pad(label, (1, 1, 1, 1)), kernel_size=3, stride=1) * mask
        if torch.equal(grown, label):
            return label.long()
        label = grown


def _of_parts(label: Tensor, values: Tensor, parts: int, reduce: str) -> Tensor:
    """Return the least or greatest value in each part, Int64[batch classes parts]; else 0."""
    empty = values.new_zeros(*label.shape[:2], parts)
    return empty.scatter_reduce(2, label, values, reduce=reduce, include_self=False)
