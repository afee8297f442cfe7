"""Reports: figures, the shape of report.json, and every format's text."""

import csv
import io
import json
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from iseg_cli.errors import SettingsError
from iseg_cli.evaluation import ABSENT_CLASSES, FORMATS
from iseg_cli.evaluation.formats import render, render_all
from iseg_cli.evaluation.metrics.confusion import ConfusionMatrix
from iseg_cli.evaluation.report import Report
from iseg_cli.evaluation.text_formats import protocol_rows

NAMES = {0: "background", 1: "cat", 3: "tv <monitor>", 4: "d|og"}


@pytest.fixture
def report() -> Report:
    """Counted by hand: background 3 of 4, cat 1 of 2, the monitor in the prediction only."""
    matrix = ConfusionMatrix(5)
    truth = np.array([0, 0, 0, 0, 1, 1, 1, 255])
    prediction = np.array([0, 0, 0, 3, 1, 0, 255, 1])
    matrix.update(prediction, truth)
    protocol = {"dataset": "pets", "label_source": None, "versions": {"iseg": "1.0", "torch": None}}
    return Report.of_labels(matrix, NAMES, images=1, protocol=protocol)


def test_report_json_is_as_documented(report):
    contents = json.loads(render(report, "json"))
    assert contents == {
        "miou": pytest.approx((3 / 5 + 1 / 3 + 0) / 3),
        "pixel_accuracy": pytest.approx(4 / 7),
        "mean_accuracy": pytest.approx((3 / 4 + 1 / 3) / 2),
        "images": 1,
        "classes_in_mean": 3,
        "classes_total": 4,
        "predicted_only": ["tv <monitor>"],
        "classes": {
            "background": {"iou": 3 / 5, "accuracy": 3 / 4},
            "cat": {"iou": 1 / 3, "accuracy": 1 / 3},
            "tv <monitor>": {"iou": 0.0, "accuracy": None},
            "d|og": {"iou": None, "accuracy": None},
        },
        "protocol": {
            "dataset": "pets",
            "label_source": None,
            "versions": {"iseg": "1.0", "torch": None},
        },
        "confusion": {
            "labels": ["background", "cat", "tv <monitor>", "d|og"],
            "counts": [[3, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
            "undecided": [0, 1, 0, 0],
        },
    }


def test_pixels_given_to_a_label_without_a_name_are_undecided():
    matrix = ConfusionMatrix(4)
    matrix.update(np.array([0, 2, 2]), np.array([0, 0, 1]))
    report = Report.of_labels(matrix, {0: "a", 1: "b", 3: "c"}, images=1, protocol={})
    np.testing.assert_array_equal(report.matrix.undecided, [1, 1, 0])
    assert report.miou == (1 / 2 + 0) / 2
    assert report.pixel_accuracy == 1 / 3


def test_nothing_to_score_is_null():
    report = Report.of_labels(ConfusionMatrix(5), NAMES, images=0, protocol={})
    assert (report.miou, report.mean_accuracy, report.pixel_accuracy) == (None, None, None)
    assert "NaN" not in render(report, "json")
    for style in FORMATS:
        assert render(report, style, confusion=True).endswith("\n")


def test_the_table_is_aligned_with_a_dash_for_absent(report):
    assert render(report, "table").splitlines() == [
        "class                   IoU %  accuracy %",
        "-----------------------------------------",
        "background              60.00       75.00",
        "cat                     33.33       33.33",
        "tv <monitor>             0.00           -",
        "d|og                        -           -",
        "mean of 3 of 4 classes  31.11       54.17",
        "all pixels                          57.14",
        "",
        "Predicted but absent from the ground truth: tv <monitor>. Each counts in the mean IoU "
        "with 0; --absent-classes skip leaves them out.",
        "",
        "protocol",
        "----------------------",
        "dataset       pets",
        "label source  unknown",
        "versions      iseg 1.0",
    ]


def test_classes_that_are_only_predicted_can_be_left_out_of_the_mean(report):
    skipping = replace(report, absent_classes="skip")
    assert skipping.miou == pytest.approx((3 / 5 + 1 / 3) / 2)
    assert skipping.mean_accuracy == report.mean_accuracy
    assert skipping.in_mean == ("background", "cat")
    assert skipping.predicted_only == report.predicted_only == ("tv <monitor>",)
    assert skipping.classes == report.classes
    contents = skipping.to_json_dict()
    assert (contents["classes_in_mean"], contents["classes_total"]) == (2, 4)
    table = render(skipping, "table")
    assert "mean of 2 of 4 classes  46.67" in table
    assert (
        "Predicted but absent from the ground truth: tv <monitor>. The mean IoU leaves them out."
        in table
    )


def test_nothing_is_said_of_absent_classes_where_there_are_none():
    matrix = ConfusionMatrix(5)
    matrix.update(np.array([0, 1]), np.array([0, 1]))
    for absent_classes in ABSENT_CLASSES:
        report = Report.of_labels(
            matrix, NAMES, images=1, protocol={}, absent_classes=absent_classes
        )
        assert report.miou == 1
        assert "mean of 2 of 4 classes" in render(report, "table")
        for style in FORMATS:
            assert "Predicted but" not in render(report, style)


def test_every_page_for_readers_says_over_how_many_classes(report):
    for style in ("table", "markdown", "html"):
        text = render(report, style)
        assert "mean of 3 of 4 classes" in text
        assert "Predicted but absent from the ground truth: tv" in text


def test_notes_have_a_row_each():
    notes = ["the first", "the second"]
    report = Report.of_labels(ConfusionMatrix(5), NAMES, images=1, protocol={"notes": notes})
    assert render(report, "table").splitlines()[-2:] == [
        "note      the first",
        "note      the second",
    ]
    assert json.loads(render(report, "json"))["protocol"]["notes"] == notes
    assert "| note | the second |\n" in render(report, "markdown")
    assert protocol_rows({"notes": []}) == []


@settings(max_examples=100)
@given(
    hnp.arrays(np.int64, (4, 4), elements=st.sampled_from([0, 0, 1, 5])),
    hnp.arrays(np.int64, 4, elements=st.sampled_from([0, 0, 2])),
)
def test_means_are_over_the_classes_that_they_name(counts, undecided):
    pairs = np.column_stack((counts, undecided))
    names = dict(enumerate("abcd"))
    truth, predicted = pairs.sum(axis=1), counts.sum(axis=0)
    for absent_classes in ABSENT_CLASSES:
        report = Report.of_labels(
            ConfusionMatrix.of_pairs(pairs),
            names,
            images=1,
            protocol={},
            absent_classes=absent_classes,
        )
        used = [n for n in range(4) if truth[n] or (predicted[n] and absent_classes == "count")]
        assert report.in_mean == tuple(names[n] for n in used)
        assert report.predicted_only == tuple(
            names[n] for n in range(4) if predicted[n] and not truth[n]
        )
        expected = [counts[n, n] / (truth[n] + predicted[n] - counts[n, n]) for n in used]
        assert report.miou == (pytest.approx(np.mean(expected)) if used else None)


def test_the_confusion_matrix_is_shown_on_demand(report):
    assert "undecided" not in render(report, "table")
    lines = render(report, "table", confusion=True).splitlines()
    assert lines[-4].split() == ["background", "3", "0", "1", "0", "0"]
    assert lines[-3].split() == ["cat", "1", "1", "0", "0", "1"]
    assert len({len(line) for line in lines[-4:]}) == 1


def test_csv_holds_fractions_and_empty_cells(report):
    rows = list(csv.reader(io.StringIO(render(report, "csv"))))
    assert rows[0] == ["class", "iou", "accuracy"]
    assert rows[2] == ["cat", repr(1 / 3), repr(1 / 3)]
    assert rows[4] == ["d|og", "", ""]
    assert float(rows[5][1]) == report.miou
    assert rows[6] == ["all pixels", "", repr(4 / 7)]
    matrix = list(csv.reader(io.StringIO(render(report, "csv", confusion=True))))
    assert matrix[1] == ["background", "3", "0", "1", "0", "0"]


def test_markdown_tables_are_whole(report):
    text = render(report, "markdown", confusion=True)
    assert "| class | IoU % | accuracy % |\n| --- | ---: | ---: |\n" in text
    assert "| d\\|og | - | - |\n" in text
    assert "| dataset | pets |\n" in text
    for table in text.split("\n\n"):
        bars = {line.replace("\\|", "").count("|") for line in table.strip().splitlines()}
        assert len(bars) == 1


class Page(HTMLParser):
    """Collects the text and the tags; fails on a tag that is closed but not open."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_is_whole_and_needs_nothing_else(report):
    page = Page()
    page.feed(render(report, "html"))
    assert page.open == []
    assert "tv <monitor>" in page.words  # escaped: it came through as text
    for expected in ("31.11", "60.00", "57.14", "pets", "unknown", "-"):
        assert expected in page.words
    assert not {"script", "link", "img"} & {tag for tag, _ in page.tags}
    assert not any({"src", "href"} & attrs.keys() for _, attrs in page.tags)


def test_several_reports_stand_under_their_names(report):
    assert render_all({"a": report}, "table") == render(report, "table")
    both = {"runs/a": report, "runs/b": report}
    assert json.loads(render_all(both, "json")).keys() == both.keys()
    for style, heading in (
        ("table", "runs/b\n"),
        ("csv", "# runs/b\n"),
        ("markdown", "## runs/b\n"),
    ):
        text = render_all(both, style)
        assert heading in text
        assert text.count(render(report, style)) == 2
    with pytest.raises(SettingsError, match="runs/a, runs/b; pass one"):
        render_all(both, "html")
