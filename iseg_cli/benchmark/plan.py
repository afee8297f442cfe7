"""What `iseg benchmark` measures about making masks: the plan, and the settings it starts from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from iseg_cli.backbones.loading import choose_device
from iseg_cli.backbones.matching import find_backbone
from iseg_cli.config import Settings
from iseg_cli.config.resolve import resolve_settings

ARCHITECTURE = "sd2.1-architecture"
"""The name of SD 2.1's architecture with random weights."""


@dataclass(frozen=True)
class BenchmarkPlan:
    """What to measure.

    Attributes:
        settings: dataset, model and method; the model may be `sd2.1-architecture`.
        images: how many go through each loop; None for as many as suit model and device.
        batch_sizes: in rising order; None for 1, 2, 4 ... until it no longer pays.
        rounds: how often each loop runs; the median counts.
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
    """Lay configurations, assignments and options over the preset that suits the model.

    The embedded dataset's own preset is for the embedded model; any other gets that of VOC, with
    the released code's values. Without a model SD 2.1's architecture is measured on CUDA, `tiny`
    elsewhere.
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
