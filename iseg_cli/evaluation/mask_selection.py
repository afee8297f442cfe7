"""Which masks of a folder are scored, and which of the images asked for have none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from iseg_cli.errors import PredictionsError, first_of
from iseg_cli.readers.base import Reader
from iseg_cli.storage import PredictionFolder, RunInfo, list_masks


@dataclass(frozen=True)
class AskedMasks:
    """The masks of the images that were asked for, and what is known about the others.

    Attributes:
        folder: the folder of masks.
        reader: the dataset's.
        info: what the run wrote about itself; None for a folder from elsewhere.
        paths: the masks to score, by image id.
        missing: images that were asked for and have no mask, names that no mask can have included.
        failed: those of them that were tried.
        surplus: masks of images that are not in the split.
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
        """How many images the run was limited to; None where all of the split are asked for."""
        return _limit(self.info, self.reader)

    @property
    def notes(self) -> list[str]:
        """What a user should know who scores the masks that are there, a sentence each."""
        refused = list(self.reader.refused.values())
        return [
            *([self._surplus_words(" and not scored")] if self.surplus else []),
            *([first_of(refused)] if refused else []),
        ]

    def require_complete(self) -> None:
        """Raise PredictionsError, with the way to go on, where images have no mask."""
        if not self.missing:
            return
        number = len(self.missing)
        why = f", {len(self.failed)} of them failed" if self.failed else ""
        surplus = f"; {self._surplus_words()}" if self.surplus else ""
        raise PredictionsError(
            f"{self.folder} is incomplete: {number} of {number + len(self.paths)} masks are "
            f"missing{why} (first: {self.missing[0]}){surplus}; {self._advice()}, "
            "or score the others with --allow-missing"
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
            f"--out {self.folder} and the options of the first time"
        )


def find_masks(predictions: Path, folder: PredictionFolder | None, reader: Reader) -> AskedMasks:
    """Return the masks of the images of a split; the split may be another one than the run's.

    Args:
        predictions: the folder of masks.
        folder: the same as the run wrote it; None for masks from elsewhere.
        reader: of the split that is asked for.

    Raises:
        PredictionsError: there are masks, but none is of an image of the split; or a folder from
            elsewhere has none.
    """
    info = folder.info if folder else None
    if folder is None:
        found, failed = list_masks(predictions), set[str]()
    else:
        found = {image_id: folder.mask_path(image_id) for image_id in folder.finished()}
        failed = {record.image_id for record in folder.failed()}
    if folder is None and not found:
        raise PredictionsError(
            f"{predictions} holds no PNG masks; save them as PNGs named as the images of "
            f"{reader.name}, such as {reader.image_ids[0]}.png"
        )
    surplus = sorted(found.keys() - set(reader.image_ids))
    if found and len(surplus) == len(found):
        raise PredictionsError(
            f"{found[surplus[0]]} belongs to no image of split {reader.split} of {reader.name} "
            f"({len(surplus)} such masks); pass the --dataset and --split it was made for"
        )
    wanted = reader.image_ids[: _limit(info, reader)]
    missing = [image_id for image_id in wanted if image_id not in found]
    return AskedMasks(
        folder=predictions,
        reader=reader,
        info=info,
        paths={image_id: found[image_id] for image_id in wanted if image_id in found},
        missing=[*missing, *reader.refused],
        failed=[*(image_id for image_id in missing if image_id in failed), *reader.refused],
        surplus=[found[image_id] for image_id in surplus],
    )


def _limit(info: RunInfo | None, reader: Reader) -> int | None:
    """Return the limit of a run where its own split is asked for; None elsewhere."""
    return info.limit if info is not None and _is_own(info, reader) else None


def _is_own(info: RunInfo, reader: Reader) -> bool:
    """Tell whether a run was made for the dataset and the split that a reader reads."""
    return info.dataset == reader.name and info.split in (None, reader.split)
