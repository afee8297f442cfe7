"""A report as one self-contained HTML page."""

from html import escape

from iseg_cli.evaluation.report import ClassScore, Report
from iseg_cli.evaluation.text_formats import absence_sentence, mean_words, protocol_rows
from iseg_cli.evaluation.text_table import percent

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --bar: #3b82f6; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2.5rem; }
table { border-collapse: collapse; } th, td { padding: .2rem .7rem; text-align: left; }
tr + tr { border-top: 1px solid var(--line); } .n { text-align: right; }
td.n, .big b { font-variant-numeric: tabular-nums; }
.big { display: flex; gap: 2.5rem; margin: 1rem 0; } .big b { display: block; font-size: 2rem; }
.bar { width: 14rem; }
.bar i { display: block; height: .7rem; border-radius: 2px; background: var(--bar); }
.wide { overflow-x: auto; } .confusion { font-size: 11px; }
.confusion th, .confusion td { padding: .1rem .3rem; white-space: nowrap; }
.confusion thead th { writing-mode: vertical-rl; transform: rotate(180deg); }
"""
_SMALL = 0.0005
"""The confusion matrix leaves smaller shares blank: under a twentieth of a percent."""


def render_page(report: Report) -> str:
    """Return the page: figures, classes, protocol and the confusion matrix in percent of a row."""
    title = f"{report.protocol.get('dataset', 'masks')}: {percent(report.miou)} % mIoU"
    figures = [
        (f"mIoU, {mean_words(report)}", percent(report.miou)),
        ("mean accuracy", percent(report.mean_accuracy)),
        ("pixel accuracy", percent(report.pixel_accuracy)),
        ("images", str(report.images)),
    ]
    classes = "".join(_class_row(name, score) for name, score in report.classes.items())
    protocol = "".join(
        f"<tr><th>{escape(key)}</th><td>{escape(value)}</td></tr>"
        for key, value in protocol_rows(report.protocol)
    )
    absence = absence_sentence(report)
    big = "".join(f"<div><b>{escape(value)}</b>{escape(name)}</div>" for name, value in figures)
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
<h1>{escape(title)}</h1>
<div class="big">{big}</div>
<h2>Classes</h2>
<table>
<tr><th>class</th><th class="n">IoU %</th><th></th><th class="n">accuracy %</th></tr>
{classes}
</table>
{f"<p>{escape(absence)}</p>" if absence else ""}
<h2>Protocol</h2>
<table>{protocol}</table>
<h2>Confusion</h2>
<p>Rows: the true class; columns: the predicted class, in percent of the row.</p>
<div class="wide"><table class="confusion">{_confusion(report)}</table></div>
</html>
"""


def _class_row(name: str, score: ClassScore) -> str:
    bar = "" if score.iou is None else f'<i style="width:{100 * score.iou:.1f}%"></i>'
    return (
        f'<tr><td>{escape(name)}</td><td class="n">{percent(score.iou)}</td>'
        f'<td class="bar">{bar}</td><td class="n">{percent(score.accuracy)}</td></tr>\n'
    )


def _confusion(report: Report) -> str:
    heads = "".join(f"<th>{escape(name)}</th>" for name in (*report.names, "undecided"))
    rows = [f"<thead><tr><th></th>{heads}</tr></thead>"]
    counts, undecided = report.matrix.counts.tolist(), report.matrix.undecided.tolist()
    for name, row, left in zip(report.names, counts, undecided, strict=True):
        pixels = [*row, left]
        total = sum(pixels)
        cells = "".join(_share(count / total if total else 0.0) for count in pixels)
        rows.append(f"<tr><th>{escape(name)}</th>{cells}</tr>\n")
    return "".join(rows)


def _share(share: float) -> str:
    if share < _SMALL:
        return "<td></td>"
    tint = f"background:rgba(59,130,246,{0.8 * share:.2f})"
    return f'<td class="n" style="{tint}">{100 * share:.1f}</td>'
