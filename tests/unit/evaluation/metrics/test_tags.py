"""Scores of image-level labels: against scikit-learn and counted by hand."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_fscore_support

from iseg_cli.evaluation.metrics.tags import TagReport, average_precision
from iseg_cli.evaluation.tag_text import render_tags

TRUTH = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], dtype=bool)
FOUND = np.array([[1, 0, 0, 1], [1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]], dtype=bool)
SCORES = np.array([[0.9, 0.1, 0.1, 0.8], [0.6, 0.2, 0.3, 0], [0.7, 0.6, 0.2, 0], [0, 0, 0.4, 0]])
NAMES = ("cat", "dog", "bus", "boat")


def report():
    return TagReport(NAMES, TRUTH, FOUND, SCORES, {"split": "val", "model": {"name": "c"}})


def test_counted_by_hand():
    values = report().to_json_dict()
    cat, dog, bus, boat = (values["classes"][name] for name in NAMES)
    # cat: found in three images, true in two of them; its ranks are true, false, true.
    assert cat["precision"] == pytest.approx(2 / 3)
    assert cat["recall"] == 1
    assert cat["f1"] == pytest.approx(0.8)
    assert cat["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert (dog["precision"], dog["recall"], dog["average_precision"]) == (1, 0.5, 1)
    # bus: there but never found, though its score is the greatest where it is.
    assert bus == {
        "images": 1, "precision": None, "recall": 0, "f1": 0, "average_precision": 1,
    }  # fmt: skip
    # boat: found but never there.
    assert boat["precision"] == 0
    assert boat["recall"] is None
    assert boat["average_precision"] is None
    assert values["map"] == pytest.approx((5 / 6 + 1 + 1) / 3)
    # Five labels, three of them true, of five in the truth.
    assert values["micro"] == pytest.approx({"precision": 3 / 5, "recall": 3 / 5, "f1": 3 / 5})
    assert values["macro"]["precision"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert values["macro"]["recall"] == pytest.approx(0.5)
    assert values["images"] == 4


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), steps=st.sampled_from([3, 10, 10**6]))
def test_average_precision_is_scikit_learns(seed, steps):
    """Few steps make many equal scores."""
    generator = np.random.default_rng(seed)
    truth = generator.random(40) < 0.3
    truth[0] = True
    scores = (generator.integers(0, steps, 40) / steps).astype(np.float32)
    expected = average_precision_score(truth, scores)
    assert average_precision(truth, scores) == pytest.approx(expected, abs=1e-12)


def test_means_are_scikit_learns():
    generator = np.random.default_rng(3)
    truth, found = generator.random((60, 5)) < 0.4, generator.random((60, 5)) < 0.5
    values = TagReport(tuple("abcde"), truth, found, generator.random((60, 5)), {}).to_json_dict()
    for kind in ("micro", "macro"):
        precision, recall, _, _ = precision_recall_fscore_support(truth, found, average=kind)
        assert values[kind]["precision"] == pytest.approx(precision)
        assert values[kind]["recall"] == pytest.approx(recall)
    columns = zip(truth.T, found.T, values["classes"].values(), strict=True)
    for column, guess, ours in columns:
        _, _, f1, _ = precision_recall_fscore_support(column, guess, average="binary")
        assert ours["f1"] == pytest.approx(f1)


def test_nothing_to_find():
    nothing = np.zeros((3, 2), dtype=bool)
    values = TagReport(("a", "b"), nothing, nothing, np.zeros((3, 2)), {}).to_json_dict()
    assert values["map"] is None
    assert values["micro"] == {"precision": None, "recall": None, "f1": None}
    assert math.isnan(average_precision(nothing[:, 0], np.zeros(3)))


def test_as_a_table_and_as_json():
    table = render_tags(report(), "table")
    lines = [line.split() for line in table.splitlines()]
    assert lines[0][:2] == ["class", "images"]
    assert ["cat", "2", "66.67", "100.00", "80.00", "83.33"] in lines
    assert ["boat", "0", "0.00", "-", "0.00", "-"] in lines
    assert ["mean", "of", "classes", "55.56", "50.00", "52.63", "94.44"] in lines
    assert ["all", "labels", "4", "60.00", "60.00", "60.00"] in lines
    assert ["split", "val"] in lines
    assert json.loads(render_tags(report(), "json")) == report().to_json_dict()
