"""Adds up masks against ground truth, in threads: decoding leaves Python's lock to the others."""

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from iseg_cli.errors import PredictionsError
from iseg_cli.evaluation.confusion import ConfusionMatrix
from iseg_cli.evaluation.matching import count_overlaps, match
from iseg_cli.readers.base import Reader
from iseg_cli.readers.crop import crop_truth
from iseg_cli.samples import IGNORE
from iseg_cli.storage import read_mask

_THREADS = 4


class _Tally:
    """Adds up images under one way of matching; tallies of parts add up to that of the whole."""

    def __init__(self, reader: Reader, matching: str, crop_side: int | None) -> None:
        self._reader = reader
        self._matching = matching
        self._crop_side = crop_side
        self._labels = np.isin(np.arange(256), [*reader.label_set.names, IGNORE])
        self._classes = reader.label_set.num_classes
        self.matrix = ConfusionMatrix(self._classes)
        self.overlaps = np.zeros((self._classes, 256), dtype=np.int64)

    def add(self, image_id: str, path: Path) -> None:
        """Add the mask at `path` of an image; PredictionsError where it does not fit its truth."""
        whole = self._reader.truth(image_id)
        truth = (crop_truth(whole, self._crop_side) if self._crop_side else whole).labels
        prediction = read_mask(path).labels
        if prediction.shape != truth.shape:
            raise PredictionsError(
                f"{path} is {prediction.shape[1]} wide and {prediction.shape[0]} high, but its "
                f"ground truth is {truth.shape[1]} wide and {truth.shape[0]} high"
            )
        if self._matching == "none":
            self._require_labels(prediction, path)
            self.matrix.update(prediction, truth)
            return
        overlaps = count_overlaps(prediction, truth, num_classes=self._classes)
        if self._matching == "image":
            self.matrix += match(overlaps)
        else:
            self.overlaps += overlaps

    def _require_labels(self, prediction: UInt8[np.ndarray, "height width"], path: Path) -> None:
        known = self._labels[prediction]
        if not known.all():
            raise PredictionsError(
                f"{path} has label {prediction[~known][0]}, which label set "
                f"{self._reader.label_set.name} lacks; are these masks of another dataset, or "
                "segments that need --matching?"
            )


def score(
    paths: Mapping[str, Path], reader: Reader, matching: str, *, crop_side: int | None = None
) -> ConfusionMatrix:
    """Return the confusion matrix of the masks at `paths` by image id, matched as `matching` says.

    With `crop_side` they are compared with the middle square of the truth, brought to this side.
    PredictionsError or DataError, naming the file, for the first mask or truth that does not fit.
    """
    image_ids = list(paths)
    stop = threading.Event()
    # disable=None: no bar where standard error is no terminal
    with tqdm(total=len(paths), unit="image", disable=None) as bar:

        def tally_part(part: Sequence[str]) -> _Tally:
            tally = _Tally(reader, matching, crop_side)
            for image_id in part:
                if stop.is_set():
                    break
                tally.add(image_id, paths[image_id])
                bar.update()
            return tally

        with ThreadPoolExecutor(_THREADS) as pool:
            try:
                parts = [image_ids[start::_THREADS] for start in range(_THREADS)]
                tallies = list(pool.map(tally_part, parts))
            finally:
                stop.set()  # an error or Ctrl-C in one part ends the others
    if matching == "dataset":
        return match(sum((t.overlaps for t in tallies[1:]), start=tallies[0].overlaps))
    return sum((t.matrix for t in tallies[1:]), start=tallies[0].matrix)
