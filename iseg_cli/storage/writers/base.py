"""The protocol of an output writer, and the base class of writers with one file per image."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
from jaxtyping import Float16, UInt8

from iseg_cli.label_images import Legend
from iseg_cli.storage.records import ImageRecord
from iseg_cli.storage.run_paths import RunPaths
from iseg_cli.types import LabelSet, Mask, SourceIds


@dataclass(frozen=True, eq=False)
class ImageOutput:
    """What a run found in one image; output writers turn it into files.

    Attributes:
        image_id: the image's name within the dataset.
        mask: the labels of its pixels.
        scores: its class maps, in [0, 1].
        score_labels: the label of each class map in the mask.
        picture: the RGB pixels under the mask; None if no writer needs them.
        label_set: what the labels mean.
    """

    image_id: str
    mask: Mask
    scores: Float16[np.ndarray, "categories side side"]
    score_labels: tuple[int, ...]
    picture: UInt8[np.ndarray, "height width 3"] | None
    label_set: LabelSet


class FinishedMasks(Protocol):
    """The masks of a finished run; `PredictionFolder` is an implementation."""

    @property
    def records(self) -> Mapping[str, ImageRecord]:
        """The records of the run's images, by image id."""

    def finished(self) -> set[str]:
        """Return the ids of the images that have a whole mask."""

    def mask_path(self, image_id: str) -> Path:
        """Return the path of an image's mask."""

    def legend(self, label_set: LabelSet) -> Legend:
        """Return what the values and colours of the masks mean."""


class OutputWriter(ABC):
    """Writes one kind of output of a run.

    A kind of output is an option of `iseg generate`: `--<name>`, a flag, or `--<name> FILE`.

    Attributes:
        name: the option's name.
        help: the option's help.
        takes_file: whether the output is one file for the whole run, which the user names.
        needs_picture: whether `write` needs the image's pixels.
    """

    name: ClassVar[str]
    help: ClassVar[str]
    takes_file: ClassVar[bool] = False
    needs_picture: ClassVar[bool] = False

    def __init__(self, paths: RunPaths, file: Path | None = None) -> None:
        """Keep the paths.

        Args:
            paths: the paths in the output folder.
            file: the file that the user names, if the output is one file for the whole run.
        """
        self.paths, self.file = paths, file

    @abstractmethod
    def exists(self, image_id: str) -> bool:
        """Tell whether an image's output is there; otherwise a resumed run segments it again."""

    @abstractmethod
    def write(self, output: ImageOutput) -> None:
        """Write an image's output. Any thread of any worker may call this."""

    @abstractmethod
    def remove(self, image_id: str) -> None:
        """Remove an image's output; a missing output is no error."""

    def finish(
        self, masks: FinishedMasks, label_set: LabelSet, source_ids: SourceIds | None
    ) -> tuple[str, ...]:
        """Write what needs all masks of the run; return notes for the user, a sentence each.

        Args:
            masks: the run's masks.
            label_set: what their labels mean.
            source_ids: the ids of images and classes in the dataset's annotation file, if it has
                one.
        """
        return ()


class ImageFileWriter(OutputWriter):
    """A writer with one file per image: `<name>/<image_id><ending>` in the output folder."""

    ending: ClassVar[str]

    def path(self, image_id: str) -> Path:
        """Return the path of an image's output."""
        return self.paths.file_path(f"{self.name}/{image_id}", self.ending)

    def exists(self, image_id: str) -> bool:
        """Tell whether the file is there."""
        return self.path(image_id).exists()

    def remove(self, image_id: str) -> None:
        """Remove the file."""
        self.paths.remove_file(self.path(image_id))
