"""What `--labels` takes, turned into a source."""

from collections.abc import Callable, Iterable
from pathlib import Path

from iseg_cli.errors import SettingsError, suggestion
from iseg_cli.image_labels.file import from_file
from iseg_cli.image_labels.finder import Images
from iseg_cli.image_labels.mappings import path_and_list
from iseg_cli.image_labels.prompts import from_prompts
from iseg_cli.image_labels.source import LabelSource, from_annotations, from_masks
from iseg_cli.types import Category, LabelSet, Mask

SPECS = ("masks", "annotations", "file:PATH", "prompts:PATH", "clip")
"""What `--labels` takes; `clip` looks at images, so `choose` cannot make a source of it."""


def choose(
    spec: str,
    *,
    label_set: LabelSet,
    images: Images,
    ground_truth: Callable[[str], Mask] | None = None,
    annotated: Callable[[str], tuple[Category, ...]] | None = None,
    annotation_notes: Iterable[str] = (),
) -> LabelSource:
    """Return the source that `--labels` names.

    Args:
        spec: `masks`, `annotations`, `file:PATH` (`file:PATH#LIST` for one of the lists in a JSON)
            or `prompts:PATH`.
        label_set: the classes that the labels are among.
        images: the split whose images a file names.
        ground_truth: maps an image id to its ground truth; None where there is none.
        annotated: maps an image id to the categories annotated; None where there are none.
        annotation_notes: what a user of the annotations should know, a sentence each.

    Raises:
        SettingsError: no such source, or the dataset lacks it.
        DataError: a file of labels that is unreadable, names unknown categories or no image.
    """
    kind, _, path = spec.partition(":")
    if kind == "file" and path:
        file, chosen = path_and_list(path)
        return from_file(file, label_set, images, chosen=chosen)
    if kind == "prompts" and path:
        file, chosen = path_and_list(path)
        return from_prompts(file, label_set, images, chosen=chosen)
    if spec == "masks":
        if ground_truth is None:
            raise SettingsError("there are no masks to take image labels from; use file:PATH")
        return from_masks(ground_truth, label_set)
    if spec == "annotations":
        if annotated is None:
            raise SettingsError("there are no annotations to take image labels from; use file:PATH")
        return from_annotations(annotated, annotation_notes)
    if spec == "clip":
        raise SettingsError("labels from CLIP are no truth; use masks, annotations or file:PATH")
    if Path(spec).expanduser().is_file():
        raise SettingsError(f"there is no source of labels {spec!r}, but a file; pass file:{spec}")
    raise SettingsError(
        f"there is no source of labels {spec!r}{suggestion(spec, SPECS)}; "
        f"there are {', '.join(SPECS)}"
    )
