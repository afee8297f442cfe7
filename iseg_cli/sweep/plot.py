"""The plots of the paper's figure 6: mIoU against each axis of a sweep."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from iseg_cli.sweep.grid import Axis, value_text
from iseg_cli.sweep.result import Cell, SweepResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NO_PLOTS = "sweep.png was not drawn: matplotlib is missing (pip install 'iseg-cli[plots]')"

_MOST_LINES = 8
"""The most lines of a readable panel; an axis with more values is at its best value."""


@dataclass(frozen=True)
class Line:
    """A line of a panel: mean mIoU and its deviation over seeds, in %, at positions along x."""

    label: str
    x: tuple[Any, ...]
    miou: tuple[float, ...]
    deviation: tuple[float | None, ...]


@dataclass(frozen=True)
class Panel:
    """mIoU against one axis.

    Attributes:
        axis: the axis along x.
        lines: one for each value of `line_axis`, or a single line.
        line_axis: the name of the axis whose values are the lines, if there is one.
        at_best: the names of the axes whose best value is used at every point.
    """

    axis: Axis
    lines: tuple[Line, ...]
    line_axis: str | None
    at_best: tuple[str, ...]


def panels(result: SweepResult) -> list[Panel]:
    """Return a panel for each axis with several values.

    The lines of a panel are the values of another axis of at most eight values; an axis of words,
    such as refine.mode, has precedence over an axis of numbers. Every point uses the best value of
    all other axes.
    """
    axes = [axis for axis in result.method_axes if len(axis.values) > 1]
    return [_panel(axis, [a for a in axes if a != axis], result.cells) for axis in axes]


def draw(result: SweepResult) -> bytes | None:
    """Return the panels of a sweep side by side as a PNG; None if matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    found = panels(result)
    figure = Figure(figsize=(4.6 * max(1, len(found)), 3.6), layout="constrained", dpi=120)
    first: Axes | None = None
    for index, panel in enumerate(found, start=1):
        axes = figure.add_subplot(1, len(found), index, sharey=first)
        first = first or axes
        _draw_panel(axes, panel)
    protocol = result.protocol
    seeds = f", {result.seeds} seeds" if result.seeds > 1 else ""
    figure.suptitle(
        f"{protocol['dataset']} {protocol['split']}, {protocol['images']} images{seeds}, "
        f"model {protocol['model']['name']}",
        fontsize="medium",
    )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _panel(axis: Axis, others: Sequence[Axis], cells: Sequence[Cell]) -> Panel:
    few = [other for other in others if len(other.values) <= _MOST_LINES]
    chosen = min(few, key=_is_numeric, default=None)  # words first
    at_best = tuple(other.name for other in others if other is not chosen)
    if chosen is None:
        return Panel(axis, (_line("", axis, {}, cells),), None, at_best)
    lines = tuple(
        _line(value_text(value), axis, {chosen.name: value}, cells) for value in chosen.values
    )
    return Panel(axis, lines, chosen.name, at_best)


def _line(label: str, axis: Axis, fixed: Mapping[str, Any], cells: Sequence[Cell]) -> Line:
    """Return the best of the cells with the `fixed` values, for each value of the axis."""
    points: list[tuple[Any, float, float | None]] = []
    for value in axis.values:
        wanted = {**fixed, axis.name: value}
        found = [
            (mean, cell.deviation("miou"))
            for cell in cells
            if _agrees(cell.values, wanted) and (mean := cell.mean("miou")) is not None
        ]
        if found:
            mean, deviation = max(found, key=lambda one: one[0])
            points.append((value, 100 * mean, None if deviation is None else 100 * deviation))
    x, miou, deviations = zip(*points, strict=True) if points else ((), (), ())
    return Line(label, x, miou, deviations)


def _agrees(values: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(json.dumps(values[name]) == json.dumps(value) for name, value in wanted.items())


def _is_numeric(axis: Axis) -> bool:
    return all(isinstance(value, int | float) and value is not True for value in axis.values)


def _draw_panel(axes: "Axes", panel: Panel) -> None:
    from matplotlib import colormaps

    numeric = _is_numeric(panel.axis)
    texts = [value_text(value) for value in panel.axis.values]
    shades = colormaps["viridis"]
    for index, line in enumerate(panel.lines):
        x = list(line.x) if numeric else [texts.index(value_text(value)) for value in line.x]
        ordered = len(panel.lines) > 2  # many lines have a scale of colours
        color = shades(0.9 * index / (len(panel.lines) - 1)) if ordered else f"C{index}"
        axes.plot(x, line.miou, marker=".", color=color, label=line.label)
        if None not in line.deviation:
            low = [m - d for m, d in zip(line.miou, line.deviation, strict=True) if d is not None]
            high = [m + d for m, d in zip(line.miou, line.deviation, strict=True) if d is not None]
            axes.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0)
    if not numeric:
        axes.set_xticks(range(len(texts)), texts)
    elif len(texts) <= _MOST_LINES:
        axes.set_xticks(panel.axis.values, texts, fontsize="small")
    best = f"\n({', '.join(panel.at_best)} at its best)" if panel.at_best else ""
    axes.set(xlabel=panel.axis.name + best, ylabel="mIoU (%)")
    axes.grid(alpha=0.3)
    if panel.line_axis is not None:
        axes.legend(title=panel.line_axis, fontsize="small", title_fontsize="small", frameon=False)
