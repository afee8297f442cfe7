"""The input of a run: the split of a dataset, and the image-level labels of its images."""

from collections.abc import Callable
from contextlib import suppress
from weakref import WeakKeyDictionary

from iseg_cli import image_labels as labels
from iseg_cli.config import Settings
from iseg_cli.errors import IsegError, SettingsError
from iseg_cli.image_labels import ImageLabeler
from iseg_cli.label_images.legend import bits_words
from iseg_cli.readers.base import Reader
from iseg_cli.readers.folder import FolderReader
from iseg_cli.readers.middle_square import middle_square
from iseg_cli.readers.registry import open_dataset
from iseg_cli.types import LabelSet, Mask

_FROM_FILES: "WeakKeyDictionary[Reader, tuple[str, ImageLabeler]]" = WeakKeyDictionary()
"""Dataset -> the label file that was read for it; a file may have 80,000 lines."""


def open_reader(settings: Settings) -> Reader:
    """Return the split of the dataset that the settings name.

    Raises:
        SettingsError: an unknown dataset, or a folder without categories.
        DatasetNotFoundError: the dataset was not found.
    """
    wants = _is_folder_without_categories(settings)
    if wants and not settings.labels.startswith("file:"):
        raise SettingsError(
            'the dataset folder needs categories; pass --categories "cat, dog", --label-set NAME '
            "for those of a table, or --labels file:PATH"
        )
    reader = open_dataset(
        settings.dataset,
        root=settings.root,
        split=settings.split,
        label_set=settings.label_set,
        categories=settings.categories,
    )
    if not wants or not isinstance(reader, FolderReader):
        return reader
    path, chosen = labels.path_and_list(settings.labels.removeprefix("file:"))
    if names := labels.names_in_file(path, reader, chosen=chosen):
        return reader.with_categories(names)
    raise SettingsError(f"{path} names no category; pass --categories or --label-set NAME")


def asks_clip(settings: Settings) -> bool:
    """Tell whether CLIP finds the image-level labels; the unsupervised task needs none."""
    return settings.labels == "clip" and settings.task != "unsupervised"


def label_source(settings: Settings, reader: Reader) -> ImageLabeler:
    """Return where the image-level labels come from.

    For the dataset `folder`, every image has all categories unless the settings name another
    source. The unsupervised task has no labels.
    """
    if settings.task == "unsupervised":
        return labels.NoLabeler()
    if settings.dataset == "folder" and settings.labels == "masks":
        return labels.ConstantLabeler(reader.label_set.categories)
    spec, found = _FROM_FILES.get(reader, ("", None))
    if found is not None and spec == settings.labels:
        return found
    source = labels.choose_labeler(
        settings.labels,
        label_set=reader.label_set,
        images=reader,
        ground_truth=_seen_ground_truth(settings, reader) if reader.has_ground_truth else None,
        annotated=reader.annotated,
        annotation_notes=reader.annotation_notes,
    )
    if settings.labels.startswith(("file:", "prompts:")):
        _FROM_FILES[reader] = settings.labels, source
    return source


def label_notes(settings: Settings, reader: Reader) -> tuple[str, ...]:
    """Return notes for the user about the label source; no model is loaded."""
    return () if asks_clip(settings) else label_source(settings, reader).notes


def ground_truth_notes(settings: Settings, reader: Reader) -> tuple[str, ...]:
    """Return notes for the user about how ground truth was read in a run.

    Workers in other processes have their own readers, so the first image is read here.
    """
    if settings.labels != "masks" or settings.dataset == "folder" or not reader.has_ground_truth:
        return ()
    if settings.task == "unsupervised":
        return ()
    if not (reader.read_by_color or reader.read_from_bits):
        with suppress(IsegError):
            reader.ground_truth(reader.image_ids[0])
    notes: list[str] = []
    if reader.read_by_color:
        notes.append(
            f"masks such as {min(reader.read_by_color)} were read by their colours, because their "
            f"values are not the labels of {reader.label_set.name}"
        )
    if reader.read_from_bits:
        example = min(reader.read_from_bits)
        notes.append(f"{example} has 1 bit for a pixel: {bits_words(reader.label_set)}")
    return tuple(notes)


def fitting_background(settings: Settings, label_set: LabelSet) -> Settings:
    """Return the settings without a rule for background where the label set has none.

    So PASCAL-Context's 59 classes and its 60 with background share a preset.
    """
    if label_set.background is not None:
        return settings
    assign = settings.assign.model_copy(update={"background": "none"})
    return settings.model_copy(update={"assign": assign})


def _seen_ground_truth(settings: Settings, reader: Reader) -> Callable[[str], Mask]:
    """Return a function from an image's id to the ground truth of the part that the model sees."""
    if settings.crop == "none":
        return reader.ground_truth
    return lambda image_id: Mask(middle_square(reader.ground_truth(image_id).labels))


def _is_folder_without_categories(settings: Settings) -> bool:
    """Tell whether the settings name no categories where the dataset and the task need some."""
    return settings.dataset == "folder" and not (
        settings.categories or settings.label_set or settings.task == "unsupervised"
    )
