"""The protocol of scores: what the figures depend on, in the sequence of the report."""

from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from iseg_cli.evaluation.mask_selection import MaskSelection
from iseg_cli.readers.base import Reader
from iseg_cli.storage import RunInfo
from iseg_cli.types import IGNORE


def dataset_protocol(
    reader: Reader, *, images: int, further: Mapping[str, Any], limit: int | None = None
) -> dict[str, Any]:
    """Return the part of every protocol that says which images of which dataset were scored.

    Args:
        reader: the reader of the split.
        images: how many images were scored.
        further: counts of other images, or the source of the ground truth.
        limit: the run's `--limit`; the protocol has no such key if it is None.
    """
    return {
        "dataset": reader.name,
        "split": reader.split,
        "images": images,
        **further,
        **({} if limit is None else {"limit": limit}),
        "label_set": reader.label_set.name,
    }


def evaluation_protocol(
    masks: MaskSelection,
    *,
    matching: str,
    absent_classes: str,
    faulty: int,
    by_color: Mapping[str, int],
    notes: Sequence[str],
) -> dict[str, Any]:
    """Return the protocol of `iseg evaluate`.

    Args:
        masks: the masks that were scored, and the images without a mask.
        matching: how segments were matched to classes, one of `MATCHINGS`.
        absent_classes: how a class counts that is predicted but absent from the ground truth.
        faulty: how many masks could not be compared with their ground truth.
        by_color: how many files were read by their colours, as `count_kinds` returns them.
        notes: what the user should know about dataset and masks, one sentence each.
    """
    info, reader = masks.info, masks.reader
    counts = {
        "missing": len(masks.missing),
        "failed": len(masks.failed),
        "faulty": faulty,
        "surplus": len(masks.surplus),
    }
    return {
        **dataset_protocol(
            reader, images=len(masks.paths) - faulty, further=counts, limit=masks.limit
        ),
        "task": info.task if info else None,
        "label_source": info.label_source if info else None,
        "input": input_words(info),
        "background": _background(info, reader),
        "ignore_label": IGNORE,
        "matching": matching,
        "absent_classes": absent_classes,
        **({"read_by_color": dict(by_color)} if by_color else {}),
        "model": dict(info.model) if info else None,
        "seed": info.seed if info else None,
        "dtype": info.dtype if info else None,
        "versions": dict(info.versions) if info else None,
        "notes": list(notes),
    }


def count_kinds(paths: Set[Path], predicted: Set[Path]) -> dict[str, int]:
    """Return how many of some files are masks, and how many are ground truth."""
    counts = {"masks": len(paths & predicted), "ground_truth": len(paths - predicted)}
    return {kind: count for kind, count in counts.items() if count}


def input_words(info: RunInfo | None) -> str:
    """Return which part of each image the masks of a run cover, in words."""
    if info is None or info.crop_side is None:
        return "whole images"
    return f"middle squares, resized to {info.crop_side} x {info.crop_side}"


def _background(info: RunInfo | None, reader: Reader) -> str | None:
    """Return the rule that made pixels background; None if it is unknown."""
    if reader.label_set.background is None:
        return "none"
    if info is not None and info.task == "unsupervised":
        return "a class like the others"
    if info is None:
        return None
    assign = info.settings.get("assign", {})
    rule = assign.get("background")
    return f"{rule} {assign.get('threshold')}" if rule == "threshold" else rule
