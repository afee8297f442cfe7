"""The protocol that the figures of an evaluation hold under."""

from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

from iseg_cli.readers.base import Reader
from iseg_cli.samples import IGNORE
from iseg_cli.storage import RunInfo


def describe(
    info: RunInfo | None,
    reader: Reader,
    matching: str,
    *,
    images: int,
    missing: int,
    failed: int,
    by_color: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Return what the figures depend on, in the order in which a reader asks for it.

    Args:
        info: what the run wrote about itself; None for masks from elsewhere.
        reader: the dataset's.
        matching: how segments were matched to classes, if at all.
        images: how many were scored.
        missing: how many that were asked for have no mask.
        failed: how many of them were tried.
        by_color: how many files were read by their colours, by what they are; None for none.
    """
    return {
        "dataset": reader.name,
        "split": reader.split,
        "images": images,
        "missing": missing,
        "failed": failed,
        **({"limit": info.limit} if info and info.limit is not None else {}),
        "label_set": reader.label_set.name,
        "task": info.task if info else None,
        "label_source": info.label_source if info else None,
        "input": _input(info),
        "background": _background(info, reader),
        "ignore_label": IGNORE,
        "matching": matching,
        **({"read_by_color": dict(by_color)} if by_color else {}),
        "model": dict(info.model) if info else None,
        "seed": info.seed if info else None,
        "dtype": info.dtype if info else None,
        "versions": dict(info.versions) if info else None,
    }


def count_by_color(paths: Set[Path], predicted: Set[Path]) -> dict[str, int]:
    """Return how many files were read by their colours: masks, and files of ground truth."""
    counts = {"masks": len(paths & predicted), "ground_truth": len(paths - predicted)}
    return {kind: count for kind, count in counts.items() if count}


def _input(info: RunInfo | None) -> str:
    """Return which part of the images the masks cover."""
    if info is None or info.crop_side is None:
        return "whole images"
    return f"middle squares, resized to {info.crop_side} x {info.crop_side}"


def _background(info: RunInfo | None, reader: Reader) -> str | None:
    """Return the rule by which pixels became background."""
    if reader.label_set.background is None:
        return "none"
    if info is not None and info.task == "unsupervised":
        return "a class like the others"
    if info is None:
        return None
    assign = info.settings.get("assign", {})
    rule = assign.get("background")
    return f"{rule} {assign.get('threshold')}" if rule == "threshold" else rule
