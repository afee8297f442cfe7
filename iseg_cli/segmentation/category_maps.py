"""From AttentionMaps to CategoryMaps, and from these to labels, as the settings say."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from iseg_cli.config import Settings
from iseg_cli.ops import fuse
from iseg_cli.ops.aggregate import resize
from iseg_cli.ops.assign import assign, background_score, ignore_band, min_max
from iseg_cli.ops.maps import AttentionMaps, CategoryMaps, ClipMaps
from iseg_cli.segmentation.refinement import refine_image, refine_steps


def category_maps(attention: AttentionMaps, settings: Settings) -> CategoryMaps:
    """Return the category maps of a batch: refined cross-attention (sections 3.2 and 3.3).

    Returns:
        Scores in [0, 1] on the attention's grid; the greatest score of each category is 1. Columns
        of padding are 0.
    """
    steps = refine_steps(settings)
    refined = torch.zeros_like(attention.cross)
    for index, count in enumerate(attention.valid.sum(dim=1).tolist()):
        if count:
            refined[index, :, :count] = refine_image(attention, index, steps)
    return CategoryMaps(min_max(resize(refined, height=attention.side, width=attention.side)))


def assign_labels(
    maps: CategoryMaps,
    valid: Tensor,
    sizes: Sequence[tuple[int, int]],
    settings: Settings,
    clip: ClipMaps | None = None,
) -> list[tuple[Int64[Tensor, "height width"], Float[Tensor, "categories height width"]]]:
    """Return the labels of each image's pixels at its original size, with their scores.

    Args:
        maps: the category maps of a batch.
        valid: Bool[batch categories], which columns are categories.
        sizes: (height, width) of each image.
        settings: the rules for background, ignore band and fusion.
        clip: CLIP's maps of the same images, to fuse with; None for no fusion.

    Returns:
        For each image its labels (0 background, c + 1 for its c-th category, 255 ignore) and the
        scores in [0, 1] that decided. With `clip` these are probabilities; 1 minus their sum is the
        background's probability.
    """
    chosen = []
    rule = settings.assign
    for index, (height, width) in enumerate(sizes):
        own = maps.scores[index : index + 1, : int(valid[index].sum())]
        scores = min_max(resize(own.flatten(2).transpose(1, 2), height=height, width=width))
        if clip is None or not scores.shape[1]:  # without categories every pixel is background
            label = assign(scores, background=rule.background, threshold=rule.threshold)
        else:
            label, scores = _fuse(scores, clip.cosines[index], clip.scale, settings)
        if rule.ignore_low is not None and rule.ignore_high is not None:
            label = ignore_band(
                label, background_score(scores), low=rule.ignore_low, high=rule.ignore_high
            )
        chosen.append((label[0], scores[0]))
    return chosen


def _fuse(
    scores: Tensor, cosines: Tensor, scale: float, settings: Settings
) -> tuple[Int64[Tensor, "1 height width"], Float[Tensor, "1 categories height width"]]:
    """Return an image's labels and its categories' probabilities, from both predictions."""
    rule, fusion = settings.assign, settings.clip_entropy
    own = fuse.with_background(scores, background=rule.background, threshold=rule.threshold)
    near = resize(cosines[None], height=scores.shape[2], width=scores.shape[3])
    fused = fuse.fuse(
        fuse.distribution(own, temperature=fusion.diffusion_temperature),
        fuse.distribution(near, temperature=fusion.clip_temperature or 1 / scale),
    )
    has_background = rule.background != "none"
    return fuse.decide(fused, has_background=has_background), fused[:, has_background:]
