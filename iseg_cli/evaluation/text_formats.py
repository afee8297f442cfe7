"""Renders a report as text: table, Markdown, CSV or JSON.

Table and Markdown have percentages, as papers do; JSON and CSV have fractions in [0, 1].
"""

import csv
import io
import json
from collections.abc import Callable, Mapping
from typing import Any

from iseg_cli.evaluation.report import Report
from iseg_cli.evaluation.text_table import aligned, markdown, percent


def render_json(report: Report) -> str:
    """Return the report as JSON, as in report.json."""
    return json.dumps(report.to_json_dict(), indent=2, ensure_ascii=False) + "\n"


def render_csv(report: Report, *, confusion: bool = False) -> str:
    """Return scores by class as fractions, or the confusion matrix in pixels."""
    rows = _confusion_rows(report) if confusion else _fraction_rows(report)
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def render_table(report: Report, *, confusion: bool = False) -> str:
    """Return the scores by class, the protocol and, if wanted, the confusion matrix, aligned."""
    return _sections(report, aligned, confusion=confusion)


def render_markdown(report: Report, *, confusion: bool = False) -> str:
    """Return the same tables in Markdown."""
    return _sections(report, markdown, confusion=confusion)


def protocol_rows(protocol: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the protocol as pairs of words: `unknown` for None, a row for each note."""
    rows: list[tuple[str, str]] = []
    for key, value in protocol.items():
        if key == "notes":
            rows.extend(("note", note) for note in value)
            continue
        if isinstance(value, Mapping):
            text = ", ".join(
                f"{name} {inner}" for name, inner in value.items() if inner is not None
            )
        else:
            text = "unknown" if value is None else str(value)
        rows.append((key.replace("_", " "), text))
    return rows


def mean_words(report: Report) -> str:
    """Return the number of classes in the mean IoU, in words: `mean of 3 of 21 classes`."""
    return f"mean of {len(report.in_mean)} of {len(report.names)} classes"


def absence_sentence(report: Report) -> str | None:
    """Return the sentence about classes that the ground truth lacks; None if there are none."""
    if not report.predicted_only:
        return None
    names = ", ".join(report.predicted_only)
    if report.absent_classes == "skip":
        return f"Predicted but absent from the ground truth: {names}. The mean IoU leaves them out."
    return (
        f"Predicted but absent from the ground truth: {names}. Each counts in the mean IoU with 0; "
        "--absent-classes skip leaves them out."
    )


def _percent_rows(report: Report) -> list[tuple[str, str, str]]:
    return [
        ("class", "IoU %", "accuracy %"),
        *((name, percent(c.iou), percent(c.accuracy)) for name, c in report.classes.items()),
        (mean_words(report), percent(report.miou), percent(report.mean_accuracy)),
        ("all pixels", "", percent(report.pixel_accuracy)),
    ]


def _fraction_rows(report: Report) -> list[tuple[str, str, str]]:
    def fraction(value: float | None) -> str:
        return "" if value is None else repr(value)

    return [
        ("class", "iou", "accuracy"),
        *((name, fraction(c.iou), fraction(c.accuracy)) for name, c in report.classes.items()),
        ("mean", fraction(report.miou), fraction(report.mean_accuracy)),
        ("all pixels", "", fraction(report.pixel_accuracy)),
    ]


def _confusion_rows(report: Report) -> list[tuple[str, ...]]:
    """Return pixels by true class (rows) and predicted class (columns), with a head."""
    rows = [("truth \\ prediction", *report.names, "undecided")]
    counts, undecided = report.matrix.counts.tolist(), report.matrix.undecided.tolist()
    for name, row, left in zip(report.names, counts, undecided, strict=True):
        rows.append((name, *map(str, row), str(left)))
    return rows


def _sections(report: Report, lay_out: Callable[..., str], *, confusion: bool) -> str:
    protocol = [("protocol", ""), *protocol_rows(report.protocol)]
    absence = absence_sentence(report)
    parts = [
        lay_out(_percent_rows(report)),
        *([f"{absence}\n"] if absence else []),
        lay_out(protocol, words=2),
    ]
    if confusion:
        parts.append(lay_out(_confusion_rows(report)))
    return "\n".join(parts)
