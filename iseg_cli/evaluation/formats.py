"""Renders one report or several in any format."""

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType

from iseg_cli.errors import SettingsError
from iseg_cli.evaluation.html_page import render_page
from iseg_cli.evaluation.report import Report
from iseg_cli.evaluation.text_formats import render_csv, render_json, render_markdown, render_table

_RENDERERS: Mapping[str, Callable[..., str]] = MappingProxyType(
    {"table": render_table, "csv": render_csv, "markdown": render_markdown}
)
_HEADINGS: Mapping[str, str] = MappingProxyType({"table": "", "csv": "# ", "markdown": "## "})


def render(report: Report, style: str, *, confusion: bool = False) -> str:
    """Return the report in one of `evaluation.FORMATS`, ending in a newline.

    With `confusion` a table or Markdown ends with the confusion matrix, and CSV is only that
    matrix, in pixels. JSON and HTML always have it.
    """
    if style == "json":
        return render_json(report)
    if style == "html":
        return render_page(report)
    return _RENDERERS[style](report, confusion=confusion)


def render_all(
    reports: Mapping[str, Report], style: str, *, confusion: bool = False, named: bool = False
) -> str:
    """Return one report alone, or several, each under its name.

    In JSON several reports are one object, by name. With `named` a single report has its name as
    well. SettingsError for several reports in HTML.
    """
    if style == "html" and len(reports) > 1:
        raise SettingsError(
            f"an HTML page holds one run, but there are {', '.join(reports)}; pass one of them"
        )
    if len(reports) == 1 and (style == "html" or not named):
        return "".join(render(report, style, confusion=confusion) for report in reports.values())
    if style == "json":
        contents = {name: report.to_json_dict() for name, report in reports.items()}
        return json.dumps(contents, indent=2, ensure_ascii=False) + "\n"
    return "\n".join(
        f"{_HEADINGS[style]}{name}\n\n{render(report, style, confusion=confusion)}"
        for name, report in reports.items()
    )
