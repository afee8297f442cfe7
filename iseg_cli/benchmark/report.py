"""`BenchmarkReport`: everything `iseg benchmark` measures, as text and as files."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from iseg_cli.benchmark import plot
from iseg_cli.benchmark.mask_speed import MaskSpeed, masks_to_dict
from iseg_cli.benchmark.masks import measure_masks
from iseg_cli.benchmark.masks_text import masks_as_text
from iseg_cli.benchmark.plan import BenchmarkPlan
from iseg_cli.benchmark.scoring import ScoringResult, measure_scoring
from iseg_cli.benchmark.scoring_text import scoring_as_text, scoring_to_dict
from iseg_cli.storage import write_atomically


@dataclass(frozen=True)
class BenchmarkReport:
    """The results of `iseg benchmark`; None for a part that was not measured."""

    masks: MaskSpeed | None
    scoring: ScoringResult | None = None


def measure(
    plan: BenchmarkPlan | None, *, with_scoring: bool, tell: Callable[[str], None]
) -> BenchmarkReport:
    """Return the measurements that are asked for.

    Args:
        plan: for making masks; None leaves this part out.
        with_scoring: whether to measure `iseg evaluate`.
        tell: called with a line for the user at the start of each part.

    Raises:
        IsegError: the plan cannot be carried out.
    """
    masks = None if plan is None else measure_masks(plan, tell=tell)
    if not with_scoring:
        return BenchmarkReport(masks)
    tell("scoring, compared with scikit-learn and cityscapesScripts")
    return BenchmarkReport(masks, measure_scoring())


def as_text(report: BenchmarkReport) -> str:
    """Return the report for a terminal."""
    parts = []
    if report.masks is not None:
        parts.append(masks_as_text(report.masks))
    if report.scoring is not None:
        parts.append(scoring_as_text(report.scoring))
    return "\n\n".join(parts)


def write(report: BenchmarkReport, folder: Path) -> list[str]:
    """Write benchmark.json and, for masks, benchmark.png; return a line for the user on each."""
    content = {
        "masks": None if report.masks is None else masks_to_dict(report.masks),
        "scoring": None if report.scoring is None else scoring_to_dict(report.scoring),
    }
    path = folder / "benchmark.json"
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())
    lines = [f"wrote {path}"]
    if report.masks is not None:
        if plot.can_plot():
            picture = folder / "benchmark.png"
            write_atomically(picture, plot.masks_as_png(report.masks))
            lines.append(f"wrote {picture}")
        else:
            lines.append(plot.MISSING)
    return lines
