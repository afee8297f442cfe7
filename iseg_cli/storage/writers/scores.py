"""The writer of scores: class maps as compressed arrays."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float16, Int64

from iseg_cli.errors import PredictionsError
from iseg_cli.storage.files import atomic_file
from iseg_cli.storage.writers.base import ImageFileWriter, ImageOutput


class ScoresWriter(ImageFileWriter):
    """Writes each category's class map as float16: `scores/<image_id>.npz`."""

    name = "scores"
    help = "Also write each category's map (float16 .npz)."
    ending = ".npz"

    def write(self, output: ImageOutput) -> None:
        """Write the class maps and their labels."""
        write_scores(
            self.path(output.image_id), output.scores, output.score_labels, below=self.paths.path
        )


def write_scores(
    path: Path,
    scores: Float16[np.ndarray, "categories height width"],
    category_ids: Sequence[int],
    *,
    below: Path | None = None,
) -> None:
    """Write an image's class maps, in [0, 1], and their labels as a compressed `.npz`.

    `atomic_file` explains `below`.
    """
    if len(category_ids) != len(scores):
        raise ValueError(f"{len(scores)} maps but {len(category_ids)} category ids")
    ids = np.asarray(category_ids, dtype=np.int64)
    with atomic_file(path, below=below) as file:
        np.savez_compressed(file, scores=scores.astype(np.float16), category_ids=ids)


def read_scores(
    path: Path,
) -> tuple[Float16[np.ndarray, "categories height width"], Int64[np.ndarray, " categories"]]:
    """Return an image's class maps and their labels, from a file of `write_scores`.

    PredictionsError if the file is missing or damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return arrays["scores"], arrays["category_ids"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise PredictionsError(f"{path} holds no scores; make them again with --scores") from error
