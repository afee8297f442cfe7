"""The result of a sweep: means over seeds, the best setting, texts, and lines of panels."""

import csv
import io
import json
import re
import statistics
import sys

import numpy as np
import pytest
from PIL import Image

from iseg_cli.evaluation.metrics.confusion import ConfusionMatrix
from iseg_cli.evaluation.report import Report
from iseg_cli.sweep.grid import Axis
from iseg_cli.sweep.plot import draw, panels
from iseg_cli.sweep.result import SweepResult, render

PROTOCOL = {
    "dataset": "voc",
    "split": "train",
    "images": 3,
    "label_source": "masks",
    "model": {"name": "tiny"},
}


def report(right):
    """Two classes of ten pixels, `right` of them correct: IoU r / (20 - r) for both classes."""
    matrix = ConfusionMatrix(2)
    matrix.counts[:] = [[right, 10 - right], [10 - right, right]]
    return Report(("background", "dog"), matrix, 3, {})


def iou(right):
    return right / (20 - right)


def sweep(axes, scores):
    """A result with the given scores, in the order of the product of the axes."""
    points = [{}]
    for name, values in axes.items():
        points = [{**point, name: value} for point in points for value in values]
    scored = tuple(zip(points, map(report, scores), strict=True))
    axes = tuple(Axis(name, tuple(values)) for name, values in axes.items())
    return SweepResult(axes, scored, PROTOCOL, {})


SEEDS = sweep({"refine.mode": ["naive", "iterative"], "seed": [0, 1, 2]}, [5, 6, 7, 8, 8, 9])


def test_seeds_give_mean_and_deviation():
    first, second = SEEDS.cells
    assert first.values == {"refine.mode": "naive"}
    assert first.mean("miou") == pytest.approx((iou(5) + iou(6) + iou(7)) / 3)
    assert first.deviation("miou") == pytest.approx(statistics.stdev([iou(5), iou(6), iou(7)]))
    assert SEEDS.best is second
    contents = json.loads(render(SEEDS, "json"))
    assert [cell["seeds"] for cell in contents["means"]] == [3, 3]
    assert contents["best"]["values"] == {"refine.mode": "iterative"}
    assert [s["values"]["seed"] for s in contents["settings"]] == [0, 1, 2] * 2


def test_the_table_is_in_percent():
    lines = render(SEEDS, "table").splitlines()
    assert re.split(r"  +", lines[0]) == [
        "refine.mode",
        "mIoU %",
        "pixel accuracy %",
        "mean accuracy %",
    ]
    assert lines[2].split() == ["naive", "43.35", "±", "10.27", "60.00", "60.00"]
    assert lines[3].split() == ["iterative", "71.72", "±", "8.75", "83.33", "83.33"]
    assert lines[5] == "Best mIoU 71.72 ± 8.75, mean of 3 seeds: refine.mode=iterative"
    assert lines[6] == "voc train, 3 images, labels from masks, model tiny."
    assert render(SEEDS, "markdown").splitlines()[:3] == [
        "| refine.mode | mIoU % | pixel accuracy % | mean accuracy % |",
        "| ---: | ---: | ---: | ---: |",
        "| naive | 43.35 ± 10.27 | 60.00 | 60.00 |",
    ]


def test_csv_has_a_line_for_every_seed_as_fractions():
    rows = list(csv.DictReader(io.StringIO(render(SEEDS, "csv"))))
    assert [(row["refine.mode"], row["seed"]) for row in rows] == [
        (mode, str(seed)) for mode in ("naive", "iterative") for seed in range(3)
    ]
    assert [float(row["miou"]) for row in rows] == [iou(r) for r in (5, 6, 7, 8, 8, 9)]


def test_a_single_setting_and_one_without_a_score():
    single = sweep({"seed": [4]}, [8])
    assert "Best mIoU 66.67: seed=4" in render(single, "table")
    empty = SweepResult(
        (Axis("seed", (0,)),),
        (({"seed": 0}, Report(("background",), ConfusionMatrix(1), 0, {})),),
        PROTOCOL,
        {},
    )
    assert "No setting has a score" in render(empty, "table")
    assert json.loads(render(empty, "json"))["best"] is None
    assert draw(empty) is not None


def test_a_panel_for_each_axis_words_as_lines_and_the_rest_at_its_best():
    axes = {
        "refine.mode": ["naive", "iterative"],
        "ent_self.step_size": [0.0, 0.1],
        "refine.iterations": list(range(9)),
    }
    scores = [1, 2, 3, 4, 5, 6, 5, 4, 3] + [2] * 9 + [3] * 9 + [4, 4, 4, 9, 4, 4, 4, 4, 4]
    mode, step, number = panels(sweep(axes, scores))
    assert number.axis.name == "refine.iterations"
    assert number.line_axis == "refine.mode"  # words before numbers
    assert number.at_best == ("ent_self.step_size",)
    naive, iterative = number.lines
    assert naive.x == tuple(range(9))
    assert naive.miou == tuple(100 * iou(r) for r in (2, 2, 3, 4, 5, 6, 5, 4, 3))
    assert iterative.miou == tuple(100 * iou(r) for r in (4, 4, 4, 9, 4, 4, 4, 4, 4))
    # Nine values are too many for lines.
    assert (mode.line_axis, mode.at_best) == ("ent_self.step_size", ("refine.iterations",))
    assert [line.miou for line in mode.lines] == [
        (100 * iou(6), 100 * iou(3)),
        (100 * iou(2), 100 * iou(9)),
    ]
    assert step.line_axis == "refine.mode"


def test_the_plot_is_a_picture_with_something_in_it():
    for result in (SEEDS, sweep({"cat_cross.gamma": [1.0, 1.3, 1.6]}, [5, 6, 7])):
        picture = draw(result)
        pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))
        assert pixels.shape[0] > 300
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50


def test_without_matplotlib_there_is_no_plot(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert draw(SEEDS) is None
