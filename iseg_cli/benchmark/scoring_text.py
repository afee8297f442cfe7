"""`ScoringResult` as text for a terminal and as JSON."""

from dataclasses import asdict
from typing import Any

from iseg_cli.benchmark.scoring import OtherSpeed, ScoringResult
from iseg_cli.evaluation.text_table import aligned


def scoring_as_text(result: ScoringResult) -> str:
    """Return a table of the times of iseg and other tools."""
    height, width = result.size
    rows = [
        ("scored by", "seconds", "masks/s", "iseg is faster", "same counts"),
        _row("iseg evaluate", result.seconds, result, "-", "-"),
        *(_other_row(result, other) for other in result.others),
        _row("reading the files", result.reading, result, "-", "-"),
    ]
    notes = [f"{other.name}: {other.note}." for other in result.others if other.note]
    heading = f"{result.masks} masks of {width} x {height}, processes of iseg: {result.workers}"
    return "\n".join([heading, "", aligned(rows), *notes]).rstrip()


def scoring_to_dict(result: ScoringResult) -> dict[str, Any]:
    """Return everything measured, and the figures derived from it, as JSON values."""
    ratios = {other.name: result.ratio(other) for other in result.others}
    return {
        **asdict(result),
        "masks_per_second": result.masks_per_second,
        "ratios": ratios,
        "passed": result.passed,
    }


def _other_row(result: ScoringResult, other: OtherSpeed) -> tuple[str, ...]:
    ratio = result.ratio(other)
    if other.seconds is None or ratio is None:
        return (other.name, *["-"] * 4)
    same = "yes" if other.equal else "NO"
    return _row(other.name, other.seconds, result, f"{ratio:.2f} times", same)


def _row(name: str, seconds: float, result: ScoringResult, *rest: str) -> tuple[str, ...]:
    return (name, f"{seconds:.2f}", f"{result.masks / seconds:.1f}", *rest)
