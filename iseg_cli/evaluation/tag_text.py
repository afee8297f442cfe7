"""Renders the scores of image-level labels: a table in percent, or JSON in fractions."""

import json
from collections.abc import Mapping
from typing import Any

from iseg_cli.evaluation.metrics.tags import TagReport
from iseg_cli.evaluation.text_formats import protocol_rows
from iseg_cli.evaluation.text_table import aligned, percent

HEAD = ("class", "images", "precision %", "recall %", "F1 %", "AP %")


def render_tags(report: TagReport, style: str) -> str:
    """Return the report as `table` or `json`, ending in a newline."""
    values = report.to_json_dict()
    if style == "json":
        return json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    rows = [
        HEAD,
        *(_row(name, scores) for name, scores in values["classes"].items()),
        _row("mean of classes", {**values["macro"], "average_precision": values["map"]}),
        _row("all labels", {**values["micro"], "images": values["images"]}),
    ]
    protocol = [("protocol", ""), *protocol_rows(values["protocol"])]
    return f"{aligned(rows)}\n{aligned(protocol, words=2)}"


def _row(name: str, scores: Mapping[str, Any]) -> tuple[str, ...]:
    figures = (scores[key] for key in ("precision", "recall", "f1"))
    images = str(scores.get("images", ""))
    last = percent(scores["average_precision"]) if "average_precision" in scores else ""
    return (name, images, *map(percent, figures), last)
