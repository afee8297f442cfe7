"""Which masks of a folder are scored, and which requested images have no mask."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from iseg_cli.errors import PredictionsError, first_of
from iseg_cli.readers.base import Reader
from iseg_cli.storage import PredictionFolder, RunInfo, list_masks


@dataclass(frozen=True)
class MaskSelection:
    """The masks of the requested images, and the images that have none.

    Attributes:
        folder: the folder of the masks.
        reader: the reader of the requested split.
        info: the contents of run.json; None for a folder that `iseg generate` did not write.
        paths: the masks to score, by image id.
        missing: the requested images without a mask; refused names of the reader are among them.
        failed: the missing images that the run tried.
        surplus: the masks of images outside the split.
    """

    folder: Path
    reader: Reader
    info: RunInfo | None
    paths: Mapping[str, Path]
    missing: Sequence[str]
    failed: Sequence[str]
    surplus: Sequence[Path]

    @property
    def limit(self) -> int | None:
        """The run's `--limit`; None where all images of the split are requested."""
        return _limit(self.info, self.reader)

    @property
    def notes(self) -> list[str]:
        """What the user should know about the selection, one sentence each."""
        refused = list(self.reader.refused.values())
        return [
            *([self._surplus_words(" and not scored")] if self.surplus else []),
            *([first_of(refused)] if refused else []),
        ]

    def require_complete(self) -> None:
        """Raise PredictionsError if an image has no mask; the message says how to go on."""
        if not self.missing:
            return
        number = len(self.missing)
        why = f", {len(self.failed)} of them failed" if self.failed else ""
        surplus = f"; {self._surplus_words()}" if self.surplus else ""
        raise PredictionsError(
            f"{self.folder} is incomplete: {number} of {number + len(self.paths)} masks "
            f"{'is' if number == 1 else 'are'} missing{why} (first: {self.missing[0]}){surplus}; "
            f"{self._advice()}, "
            "or pass --allow-missing to score the others"
        )

    def _surplus_words(self, fate: str = "") -> str:
        number = len(self.surplus)
        words = "1 mask is" if number == 1 else f"{number} masks are"
        where = f"of no image of split {self.reader.split} of {self.reader.name}"
        return f"{words} {where}{fate} (first: {self.surplus[0]})"

    def _advice(self) -> str:
        info, reader = self.info, self.reader
        if info is None:
            return "add them"
        if not _is_own(info, reader):
            return f"make them with iseg generate --dataset {reader.name} --split {reader.split}"
        split = f" --split {info.split}" if info.split else ""
        limit = f" --limit {info.limit}" if info.limit is not None else ""
        return (
            f"resume with iseg generate --dataset {info.dataset}{split}{limit} "
            f"--out {self.folder} and the options of the first run"
        )


def select_masks(
    predictions: Path, folder: PredictionFolder | None, reader: Reader
) -> MaskSelection:
    """Return the masks of the images of a split, which need not be the run's split.

    Args:
        predictions: the folder of the masks.
        folder: the same folder as a run's output folder; None if `iseg generate` did not write it.
        reader: the reader of the requested split.

    Raises:
        PredictionsError: no mask is of an image of the split, or a folder without run.json has no
            masks.
    """
    info = folder.info if folder else None
    if folder is None:
        found, failed = list_masks(predictions), set[str]()
    else:
        found = {image_id: folder.mask_path(image_id) for image_id in folder.finished()}
        failed = {record.image_id for record in folder.failed()}
    if folder is None and not found:
        raise PredictionsError(
            f"{predictions} holds no PNG masks; save each as <image_id>.png, such as "
            f"{reader.image_ids[0]}.png for an image of {reader.name}"
        )
    surplus = sorted(found.keys() - set(reader.image_ids))
    if found and len(surplus) == len(found):
        raise PredictionsError(
            f"{found[surplus[0]]} belongs to no image of split {reader.split} of {reader.name}"
            f"{_and_others(len(surplus) - 1)}; pass the --dataset and --split of these masks"
        )
    wanted = reader.image_ids[: _limit(info, reader)]
    missing = [image_id for image_id in wanted if image_id not in found]
    return MaskSelection(
        folder=predictions,
        reader=reader,
        info=info,
        paths={image_id: found[image_id] for image_id in wanted if image_id in found},
        missing=[*missing, *reader.refused],
        failed=[*(image_id for image_id in missing if image_id in failed), *reader.refused],
        surplus=[found[image_id] for image_id in surplus],
    )


def _and_others(number: int) -> str:
    """Return how many other masks have the same fault, as the end of a clause."""
    if number == 0:
        return ""
    return f", nor does {number} other mask" if number == 1 else f", nor do {number} other masks"


def _limit(info: RunInfo | None, reader: Reader) -> int | None:
    """Return the limit of a run if its own split is requested, else None."""
    return info.limit if info is not None and _is_own(info, reader) else None


def _is_own(info: RunInfo, reader: Reader) -> bool:
    """Return whether a run was made for the dataset and the split of a reader."""
    return info.dataset == reader.name and info.split in (None, reader.split)
