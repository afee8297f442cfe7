"""From SelfMaps to segments: DiffSeg, refined as the settings say."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import one_hot
from torch.nn.utils.rnn import pad_sequence

from iseg_cli.config import Settings
from iseg_cli.ops.assign import min_max
from iseg_cli.ops.diffseg import partition, propose
from iseg_cli.ops.maps import AttentionMaps, SelfMaps
from iseg_cli.segmentation.category_maps import category_maps

MOST_SEGMENTS = 254
"""The greatest number of segments in an image: labels 0 to 253; 255 stays the ignore label."""


@dataclass(frozen=True, eq=False)
class Segments:
    """The segments of one image.

    Attributes:
        labels: the number of each pixel's segment, counted from 0, larger segments first.
        scores: each segment's map on the attention's grid, in [0, 1].
    """

    labels: Int64[Tensor, "height width"]
    scores: Float[Tensor, "segments side side"]


def find_segments(
    maps: SelfMaps, sizes: Sequence[tuple[int, int]], settings: Settings
) -> list[Segments]:
    """Return the segments of each image of a batch.

    Args:
        maps: the self-attention of the batch.
        sizes: (height, width) of each image.
        settings: how positions are merged and segments refined.
    """
    return decide_segments(find_proposals(maps, settings), maps, sizes, settings)


def find_proposals(maps: SelfMaps, settings: Settings) -> list[Float[Tensor, "_ pixels"]]:
    """Return DiffSeg's proposals for the segments of each image: distributions over the grid."""
    rule = settings.diffseg
    return [
        propose(
            image,
            side=maps.side,
            anchors=rule.anchors,
            threshold=rule.threshold,
            rounds=rule.rounds,
        )
        for image in maps.merged
    ]


def decide_segments(
    proposals: Sequence[Float[Tensor, "_ pixels"]],
    maps: SelfMaps,
    sizes: Sequence[tuple[int, int]],
    settings: Settings,
) -> list[Segments]:
    """Return the segments of each image, given DiffSeg's proposals.

    With `refine.mode: none` the strongest proposal decides at each pixel. Otherwise DiffSeg's
    segments on the grid of the refining layer become one map each. These maps are refined as
    cross-attention is (sections 3.2 and 3.3 of iSeg). The strongest refined map, stretched to
    [0, 1], decides.
    """
    if maps.refining is None or settings.refine.mode == "none":
        return [
            _decide(own, maps.side, size, stretch=False)
            for own, size in zip(proposals, sizes, strict=True)
        ]
    side = math.isqrt(maps.refining.shape[-1])
    initial, valid = _initial_maps(proposals, side)
    refined = category_maps(AttentionMaps(initial, maps.refining, side, valid), settings)
    return [
        _decide(scores[: int(own.sum())].flatten(1), side, size, stretch=True)
        for scores, own, size in zip(refined.scores, valid, sizes, strict=True)
    ]


def _initial_maps(
    proposals: Sequence[Tensor], side: int
) -> tuple[Float[Tensor, "batch pixels segments"], Bool[Tensor, "batch segments"]]:
    """Return DiffSeg's segments as maps of ones and zeros, and which of them are not padding."""
    maps = []
    for own in proposals:
        labels, _ = partition(own, height=side, width=side, most=MOST_SEGMENTS)
        maps.append(one_hot(labels.flatten()).T.to(own))
    valid = pad_sequence([torch.ones(len(own), dtype=torch.bool) for own in maps], batch_first=True)
    return pad_sequence(maps, batch_first=True).transpose(1, 2), valid


def _decide(
    maps: Float[Tensor, "maps pixels"], side: int, size: tuple[int, int], *, stretch: bool
) -> Segments:
    """Return the segments of one image, of (height, width) `size`: the strongest map decides."""
    labels, kept = partition(
        maps, height=size[0], width=size[1], most=MOST_SEGMENTS, stretch=stretch
    )
    scores = min_max(maps[kept].unflatten(1, (side, side))[None])[0]
    return Segments(labels, scores)
