"""All that `iseg benchmark` measures in one value, as text and as files."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from iseg_cli.benchmark import plot
from iseg_cli.benchmark.result import MaskSpeed, masks_to_dict
from iseg_cli.benchmark.run import Plan, measure_masks
from iseg_cli.benchmark.text import masks_as_text
from iseg_cli.storage import write_atomically


@dataclass(frozen=True)
class Report:
    """What was measured; None for what was not asked for."""

    masks: MaskSpeed | None


def measure(plan: Plan | None, *, with_scoring: bool, tell: Callable[[str], None]) -> Report:
    """Measure what is asked for.

    Args:
        plan: for making masks; None leaves them out.
        with_scoring: whether to measure `iseg evaluate`.
        tell: is given a line at the start of each part.

    Raises:
        IsegError: a plan that cannot be carried out.
    """
    return Report(None if plan is None else measure_masks(plan, tell=tell))


def as_text(report: Report) -> str:
    """Return the report for a terminal."""
    return "\n\n".join([masks_as_text(report.masks)] if report.masks is not None else [])


def write(report: Report, folder: Path) -> list[str]:
    """Write benchmark.json and, of masks, benchmark.png; return a line to say of each."""
    content = {"masks": None if report.masks is None else masks_to_dict(report.masks)}
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
