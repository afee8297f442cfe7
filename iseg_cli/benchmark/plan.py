"""`BenchmarkPlan`: what `iseg benchmark` measures about making masks, with which settings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from iseg_cli.backbones.loading import choose_device
from iseg_cli.backbones.matching import find_backbone
from iseg_cli.config import Settings
from iseg_cli.config.resolve import resolve_settings

ARCHITECTURE = "sd2.1-architecture"
"""The name of the model with SD 2.1's architecture and random weights."""


@dataclass(frozen=True)
class BenchmarkPlan:
    """What to measure.

    Attributes:
        settings: dataset, model and method; the model may be `sd2.1-architecture`.
        images: the number of images of each loop; None for a number that suits model and device.
        batch_sizes: sorted batch sizes; None for 1, 2, 4 ... while larger ones are faster.
        rounds: how many times each loop runs; the median is reported.
        with_plain: whether to run the plain path.
    """

    settings: Settings
    images: int | None = None
    batch_sizes: tuple[int, ...] | None = None
    rounds: int = 3
    with_plain: bool = True


def benchmark_settings(
    configs: Sequence[str],
    assignments: Sequence[str],
    options: dict[str, Any],
    *,
    tell: Callable[[str], None] = lambda note: None,
) -> Settings:
    """Return the settings: configurations, assignments and options over the model's usual preset.

    The embedded dataset's preset is for the embedded model; other models get the preset of VOC,
    with the values of the released code. Without a model, SD 2.1's architecture is measured on
    CUDA and `tiny` on other devices.
    """
    options = {**options, "dataset": options.get("dataset") or "emoji-voc"}
    if options.get("model") is None and not configs:
        device = choose_device(options.get("runtime.device") or "auto")
        options["model"] = ARCHITECTURE if device.type == "cuda" else "tiny"
    if options["dataset"] == "emoji-voc" and options.get("model") not in (None, "tiny"):
        configs = configs or ("voc",)
    return resolve_settings(
        configs, assignments, options, find_backbone=partial(find_backbone, tell=tell)
    )
