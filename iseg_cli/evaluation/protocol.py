"""The protocol that the figures of an evaluation hold under."""

from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from iseg_cli.evaluation.mask_selection import AskedMasks
from iseg_cli.label_images.legend import bits_words
from iseg_cli.readers.base import Reader
from iseg_cli.storage import RunInfo
from iseg_cli.types import IGNORE, LabelSet

_FILES = {
    "masks": ("mask", "masks"),
    "ground_truth": ("file of ground truth", "files of ground truth"),
}
"""What kinds of files are called in a sentence: one of them, and several."""


def describe(
    masks: AskedMasks,
    *,
    matching: str,
    absent_classes: str,
    faulty: int,
    by_color: Mapping[str, int],
    notes: Sequence[str],
) -> dict[str, Any]:
    """Return what the figures depend on, in the order in which a reader asks for it.

    Args:
        masks: which masks were asked for, found and not found.
        matching: how segments were matched to classes, if at all.
        absent_classes: whether classes that are predicted but in no truth count in the mean.
        faulty: how many of the masks could not be compared with their truth.
        by_color: how many files were read by their colours, by what they are; empty for none.
        notes: what a user should know about the dataset, the masks and the truth, a sentence each.
    """
    info, reader = masks.info, masks.reader
    return {
        "dataset": reader.name,
        "split": reader.split,
        "images": len(masks.paths) - faulty,
        "missing": len(masks.missing),
        "failed": len(masks.failed),
        "faulty": faulty,
        "surplus": len(masks.surplus),
        **({"limit": masks.limit} if masks.limit is not None else {}),
        "label_set": reader.label_set.name,
        "task": info.task if info else None,
        "label_source": info.label_source if info else None,
        "input": _input(info),
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
    """Return how many of some files are masks, and how many files of ground truth."""
    counts = {"masks": len(paths & predicted), "ground_truth": len(paths - predicted)}
    return {kind: count for kind, count in counts.items() if count}


def notes_on_colors(by_color: Mapping[str, int]) -> list[str]:
    """Return a sentence that says how many files were read by their colours; none if none was."""
    if not by_color:
        return []
    verb = "was" if sum(by_color.values()) == 1 else "were"
    return [
        f"{_counted(by_color)} {verb} read by colour: the numbers that are stored are not the "
        "labels of the label set"
    ]


def notes_on_bits(from_bits: Mapping[str, int], label_set: LabelSet) -> list[str]:
    """Return a sentence that says how many files of 1 bit were read; none if none was."""
    if not from_bits:
        return []
    verb = "has" if sum(from_bits.values()) == 1 else "have"
    return [f"{_counted(from_bits)} {verb} 1 bit for a pixel: {bits_words(label_set)}"]


def _counted(counts: Mapping[str, int]) -> str:
    """Return `1 mask and 2 files of ground truth`."""
    return " and ".join(f"{count} {_FILES[kind][count != 1]}" for kind, count in counts.items())


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
