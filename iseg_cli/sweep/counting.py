"""Pixel counts of one image, by true and predicted label, under many settings."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torch.nn.functional import pad

from iseg_cli.config.schema import AssignSettings, EntSelfSettings
from iseg_cli.ops.aggregate import resize
from iseg_cli.ops.assign import assign, background_score, ignore_band, min_max
from iseg_cli.ops.ent_self import descent_rate, entropy_descent, scale_keys, step_down
from iseg_cli.ops.maps import AttentionMaps
from iseg_cli.ops.refine import trajectory
from iseg_cli.segmentation.category_maps import category_maps
from iseg_cli.segmentation.refinement import COLUMNS
from iseg_cli.sweep.plan import Capture, Rules
from iseg_cli.types import IGNORE

_AT_ONCE = 2**19
"""Pixels times categories that are enlarged together; they fit into the caches of a core."""


class TrueLabels:
    """The ground truth of an image, prepared for comparison with many predictions.

    Attributes:
        labels: the labels in the ground truth, ascending, without the ignore label.
        size: (height, width) in pixels.
    """

    def __init__(self, ground_truth: UInt8[np.ndarray, "height width"]) -> None:
        present: list[int] = np.unique(ground_truth).tolist()
        self.labels = tuple(label for label in present if label != IGNORE)
        self.size = (ground_truth.shape[0], ground_truth.shape[1])
        rows = np.full(
            256, len(self.labels), dtype=np.int64
        )  # ignored pixels have a row of their own
        rows[list(self.labels)] = np.arange(len(self.labels))
        self._rows = rows[ground_truth]

    def count(self, labels: Int64[Tensor, "settings height width"], columns: int) -> np.ndarray:
        """Count pixels by true label and by predicted column, 0 to `columns - 1`.

        Returns:
            Int64[settings rows columns], rows as in `self.labels`.
        """
        settings, rows = len(labels), len(self.labels) + 1
        bins = torch.from_numpy(self._rows * columns).to(labels.device) + labels
        bins += torch.arange(settings, device=labels.device)[:, None, None] * (rows * columns)
        counts = torch.bincount(bins.flatten(), minlength=settings * rows * columns)
        return counts.reshape(settings, rows, columns)[:, :-1].cpu().numpy()


@torch.inference_mode()
def count_image(
    attention: AttentionMaps, capture: Capture, ground_truth: TrueLabels
) -> dict[str, Int64[np.ndarray, "rows columns"]]:
    """Return the pixel counts of one image under all settings that share a capture.

    The labels are those of `category_maps` and `assign_labels`, to the last bit.

    Args:
        attention: the attention of this image, with a column for each of its categories.
        capture: the settings.
        ground_truth: the image's ground truth.

    Returns:
        By the settings' name, pixels by true label (`ground_truth.labels`) and by prediction:
        background, the categories in the order of their columns, undecided.
    """
    counts: dict[str, np.ndarray] = {}
    reducer = _Reducer(attention.self_attention)
    for branch in capture.branches:
        reduced = reducer.reduce(branch.ent_self)
        refined = refine_to_each(attention.cross, reduced, branch.products)
        maps = torch.cat([refined[number] for number in branch.products])
        grid = min_max(resize(maps, height=attention.side, width=attention.side))
        counts |= _count(grid, tuple(branch.products.values()), ground_truth)
    for settings, rules in capture.adaptive:
        counts |= _count(category_maps(attention, settings).scores, (rules,), ground_truth)
    return counts


def refine_to_each(maps: Tensor, attention: Tensor, wanted: Iterable[int]) -> dict[int, Tensor]:
    """Return the maps after each of some numbers of products, as the segmenter refines them.

    Args:
        maps: Float[1 pixels categories] of one image.
        attention: Float[1 pixels pixels] with reduced entropy.
        wanted: numbers of products.
    """
    numbers = set(wanted)
    columns = maps.shape[-1]
    parts: dict[int, list[Tensor]] = {number: [] for number in numbers}
    # A GPU rounds products by their width: it must be the segmenter's.
    filled = maps if maps.is_cpu else pad(maps, (0, -columns % COLUMNS))
    for block in filled.split(COLUMNS, dim=-1):
        for number, refined in zip(
            range(max(numbers) + 1), trajectory(block, attention), strict=False
        ):
            if number in numbers:
                parts[number].append(refined)
    return {number: torch.cat(found, dim=-1)[..., :columns] for number, found in parts.items()}


class _Reducer:
    """Reduces the entropy of an image's attention in many ways that share their first steps."""

    def __init__(self, attention: Tensor) -> None:
        self._attention = attention
        self._scaled: Tensor | None = None
        self._descent: Tensor | None = None
        self._reduced: Tensor | None = None

    def reduce(self, ent_self: EntSelfSettings | None) -> Tensor:
        """Return the attention with reduced entropy; the next call overwrites it."""
        if ent_self is None:
            return self._attention
        if self._scaled is None or self._descent is None or self._reduced is None:
            self._scaled = scale_keys(self._attention[0])
            self._descent = entropy_descent(self._scaled)
            self._reduced = torch.empty_like(self._scaled)
        rate = descent_rate(step_size=ent_self.step_size, log=ent_self.log)
        return step_down(self._scaled, self._descent, rate=rate, out=self._reduced)[None]


def _count(
    grid: Float[Tensor, "settings categories side side"],
    wanted: Sequence[Rules],
    ground_truth: TrueLabels,
) -> dict[str, Int64[np.ndarray, "rows columns"]]:
    """Return the pixel counts of enlarged maps, each under its rules of assignment."""
    found: dict[str, np.ndarray] = {}
    height, width = ground_truth.size
    categories = grid.shape[1]
    together = max(1, _AT_ONCE // (max(1, categories) * height * width))
    for start in range(0, len(grid), together):
        some, rules_of = grid[start : start + together], wanted[start : start + together]
        scores = min_max(resize(some.flatten(2).transpose(1, 2), height=height, width=width))
        for rule in {rule: None for rules in rules_of for rule in rules}:
            rows = [row for row, rules in enumerate(rules_of) if rule in rules]
            labels = _label(scores if len(rows) == len(scores) else scores[rows], rule, categories)
            for row, counts in zip(rows, ground_truth.count(labels, categories + 2), strict=True):
                found |= dict.fromkeys(rules_of[row][rule], counts)
    return found


def _label(
    scores: Float[Tensor, "settings categories height width"], rule: AssignSettings, categories: int
) -> Int64[Tensor, "settings height width"]:
    """Return 0 for background, c + 1 for the c-th category, one more for undecided pixels."""
    labels = assign(scores, background=rule.background, threshold=rule.threshold)
    if rule.ignore_low is None or rule.ignore_high is None:
        return labels
    return ignore_band(
        labels,
        background_score(scores),
        low=rule.ignore_low,
        high=rule.ignore_high,
        ignore=categories + 1,
    )
