"""The result of a sweep: scores of every setting, means over seeds, the best setting."""

import csv
import io
import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from iseg_cli.evaluation.report import Report
from iseg_cli.evaluation.text_table import aligned, markdown, percent
from iseg_cli.sweep.grid import Axis, point_text, value_text

FORMATS = ("table", "csv", "json", "markdown")
"""The formats of a sweep's result."""

SEED = "seed"
MEASURES = ("miou", "pixel_accuracy", "mean_accuracy")


@dataclass(frozen=True, eq=False)
class Cell:
    """The scores of one setting of a sweep, or of several seeds of it.

    Attributes:
        values: the value of every axis; without the seed if there are several seeds.
        reports: an evaluation for each seed.
    """

    values: Mapping[str, Any]
    reports: tuple[Report, ...]

    def mean(self, measure: str) -> float | None:
        """Return a measure's mean over the seeds, in [0, 1]; None if a seed has no value."""
        values = self._each(measure)
        return statistics.fmean(values) if values else None

    def deviation(self, measure: str) -> float | None:
        """Return a measure's standard deviation over seeds (divisor n - 1); None for one seed."""
        values = self._each(measure)
        return statistics.stdev(values) if len(values) > 1 else None

    def _each(self, measure: str) -> list[float]:
        values = [getattr(report, measure) for report in self.reports]
        return [] if None in values else values


@dataclass(frozen=True, eq=False)
class SweepResult:
    """The scores of a grid of settings on one split.

    Attributes:
        axes: the axes of the grid.
        scores: the values of the axes and the evaluation of every setting and seed.
        protocol: what else the scores depend on.
        failed: the reason of each failure, by image id; no setting is scored on these images.
    """

    axes: tuple[Axis, ...]
    scores: tuple[tuple[Mapping[str, Any], Report], ...]
    protocol: Mapping[str, Any]
    failed: Mapping[str, str]

    @property
    def seeds(self) -> int:
        """The number of seeds of every setting; 1 if the seed is no axis."""
        return next((len(axis.values) for axis in self.axes if axis.name == SEED), 1)

    @property
    def method_axes(self) -> tuple[Axis, ...]:
        """The axes without the seed, if there are several seeds."""
        others = tuple(axis for axis in self.axes if axis.name != SEED)
        return others if self.seeds > 1 else self.axes

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """The scores by setting, each with all its seeds."""
        names = [axis.name for axis in self.method_axes]
        gathered: dict[str, tuple[Mapping[str, Any], list[Report]]] = {}
        for values, report in self.scores:
            own = {name: values[name] for name in names}
            gathered.setdefault(json.dumps(own), (own, []))[1].append(report)
        return tuple(Cell(own, tuple(reports)) for own, reports in gathered.values())

    @property
    def best(self) -> Cell | None:
        """The cell with the greatest mean mIoU, the first of equal cells; None if none has one."""
        scored = [cell for cell in self.cells if cell.mean("miou") is not None]
        return max(scored, key=lambda cell: cell.mean("miou") or 0.0, default=None)

    def to_json_dict(self) -> dict[str, Any]:
        """Return the contents of sweep.json without the provenance: fractions in [0, 1]."""
        best = self.best
        return {
            "axes": {axis.name: list(axis.values) for axis in self.axes},
            "best": None if best is None else _summary(best),
            "settings": [
                {
                    "values": dict(values),
                    **{measure: getattr(report, measure) for measure in MEASURES},
                    "iou": {name: score.iou for name, score in report.classes.items()},
                }
                for values, report in self.scores
            ],
            **({"means": [_summary(cell) for cell in self.cells]} if self.seeds > 1 else {}),
            "failed": dict(self.failed),
            "protocol": dict(self.protocol),
        }


def render(result: SweepResult, style: str) -> str:
    """Return a sweep in one of `FORMATS`, ending in a newline.

    Tables and Markdown have a line for each setting, in percent; with several seeds, it has mean
    and deviation. CSV has a line for each seed, with fractions.
    """
    if style == "json":
        return json.dumps(result.to_json_dict(), indent=2, ensure_ascii=False) + "\n"
    if style == "csv":
        return _csv(result)
    rows = _rows(result)
    table = markdown(rows, words=0) if style == "markdown" else aligned(rows)
    return f"{table}\n{conclusion(result)}\n"


def conclusion(result: SweepResult) -> str:
    """Return the sentences below a table: the best setting and the protocol."""
    protocol = result.protocol
    what = (
        f"{protocol['dataset']} {protocol['split']}, {protocol['images']} images, "
        f"labels from {protocol['label_source']}, model {protocol['model']['name']}"
    )
    best = result.best
    if best is None:
        return f"No setting has a score. {what}."
    over = f", mean of {result.seeds} seeds" if result.seeds > 1 else ""
    return f"Best mIoU {_with_deviation(best)}{over}: {point_text(best.values)}\n{what}."


def _rows(result: SweepResult) -> list[tuple[str, ...]]:
    names = [axis.name for axis in result.method_axes]
    return [
        (*names, "mIoU %", "pixel accuracy %", "mean accuracy %"),
        *(
            (
                *(value_text(cell.values[name]) for name in names),
                _with_deviation(cell),
                percent(cell.mean("pixel_accuracy")),
                percent(cell.mean("mean_accuracy")),
            )
            for cell in result.cells
        ),
    ]


def _with_deviation(cell: Cell) -> str:
    deviation = cell.deviation("miou")
    plus_minus = "" if deviation is None else f" ± {percent(deviation)}"
    return percent(cell.mean("miou")) + plus_minus


def _summary(cell: Cell) -> dict[str, Any]:
    deviation = cell.deviation("miou")
    return {
        "values": dict(cell.values),
        "miou": cell.mean("miou"),
        **({} if deviation is None else {"deviation": deviation, "seeds": len(cell.reports)}),
    }


def _csv(result: SweepResult) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*(axis.name for axis in result.axes), *MEASURES])
    for values, report in result.scores:
        scores = [getattr(report, measure) for measure in MEASURES]
        writer.writerow(
            [
                *(value_text(value) for value in values.values()),
                *("" if score is None else repr(score) for score in scores),
            ]
        )
    return buffer.getvalue()
