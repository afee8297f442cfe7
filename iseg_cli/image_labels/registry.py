"""The values of `--labels`, each with the labeler that it names."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from iseg_cli.errors import SettingsError, suggestion
from iseg_cli.image_labels.annotations import open_annotations
from iseg_cli.image_labels.base import ImageLabeler
from iseg_cli.image_labels.file import open_file
from iseg_cli.image_labels.finder import Images
from iseg_cli.image_labels.masks import open_masks
from iseg_cli.image_labels.prompts import open_prompts
from iseg_cli.image_labels.split_labels import SplitLabels
from iseg_cli.types import Category, LabelSet, Mask

LABELERS: Mapping[str, Callable[[str, SplitLabels], ImageLabeler]] = {
    "masks": open_masks,
    "annotations": open_annotations,
    "file:PATH": open_file,
    "prompts:PATH": open_prompts,
}
"""What opens a labeler, given the path in `--labels` and the split."""

SPECS = (*LABELERS, "clip")
"""The values of `--labels`. `clip` needs a model: `iseg_cli.clip.labeler` has its labeler."""


def choose_labeler(
    spec: str,
    *,
    label_set: LabelSet,
    images: Images,
    ground_truth: Callable[[str], Mask] | None = None,
    annotated: Callable[[str], tuple[Category, ...]] | None = None,
    annotation_notes: Iterable[str] = (),
) -> ImageLabeler:
    """Return the labeler that `--labels` names.

    Args:
        spec: `masks`, `annotations`, `file:PATH` (`file:PATH#LIST` for one of the lists in a JSON)
            or `prompts:PATH`.
        label_set: the classes that the labels are among.
        images: the split's images, which a file names.
        ground_truth: maps an image id to its mask; None if there is no ground truth.
        annotated: maps an image id to its annotated categories; None if there are no annotations.
        annotation_notes: what a user of the annotations should know, a sentence each.

    Raises:
        SettingsError: no such labeler, or the dataset lacks what it needs.
        DataError: a file of labels that is unreadable, or that names unknown categories or no
            image of the split.
    """
    kind, _, path = spec.partition(":")
    opener = LABELERS.get(f"{kind}:PATH" if path else spec)
    if opener is not None:
        split = SplitLabels(label_set, images, ground_truth, annotated, annotation_notes)
        return opener(path, split)
    if spec == "clip":
        raise SettingsError(
            "labels from CLIP are no ground truth; use masks, annotations or file:PATH"
        )
    if Path(spec).expanduser().is_file():
        raise SettingsError(f"there is no source of labels {spec!r}, but a file; pass file:{spec}")
    raise SettingsError(
        f"there is no source of labels {spec!r}{suggestion(spec, SPECS)}; "
        f"there are {', '.join(SPECS)}"
    )
