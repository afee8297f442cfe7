"""`iseg generate`: masks for a dataset, resumable."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from iseg_cli.config import Settings
from iseg_cli.errors import BatchMemoryError, SettingsError
from iseg_cli.execution.batch_size import halve, keep_earlier, with_batch_size
from iseg_cli.execution.run_setup import label_notes, open_reader, truth_notes
from iseg_cli.generation.engines import Engine, LocalEngine
from iseg_cli.generation.job import Extras
from iseg_cli.generation.plan import RunPlan, mask_ids, mask_labels
from iseg_cli.storage import ImageRecord, PredictionFolder, RleSummary, Shard, write_rle


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes:
        folder: where the masks are.
        asked: how many images were asked for.
        resumed: how many of these an earlier run had finished.
        written: how many masks this run wrote.
        failed: image id -> what is wrong with it.
        notes: what the user should know about the dataset and the labels, a sentence each.
        smaller_batches: images at a time from where memory did not suffice for more; None where it
            did.
    """

    folder: Path
    asked: int
    resumed: int
    written: int
    failed: dict[str, str]
    notes: tuple[str, ...] = ()
    smaller_batches: int | None = None


class RecordWriter:
    """Writes what became of images to the folder's records, the progress bar and the failures."""

    def __init__(self, folder: PredictionFolder, bar: "tqdm[NoReturn]") -> None:
        self.failed: dict[str, str] = {}
        self._folder, self._bar = folder, bar
        self._lock = threading.Lock()

    def write(self, record: ImageRecord) -> None:
        """Write the record of one image; any thread may call this."""
        self._folder.record(record)
        with self._lock:
            if record.error is not None:
                self.failed[record.image_id] = record.error
                self._bar.set_postfix(failed=len(self.failed), refresh=False)
            self._bar.update()


def generate(
    settings: Settings,
    *,
    out: Path,
    limit: int | None = None,
    overwrite: bool = False,
    extras: Extras | None = None,
    engine: Engine | None = None,
    shard: Shard | None = None,
) -> Summary:
    """Write a mask for every image of a dataset's split; run again, it resumes.

    An image that cannot be read or labelled is recorded and passed over. Stopped at any moment,
    nothing finished is lost.

    Args:
        settings: the dataset, the model, the method and how to use the machine.
        out: the folder of predictions.
        limit: only so many images, the first of the split.
        overwrite: replace what another run wrote there.
        extras: what to write beside the masks; None for nothing.
        engine: where the work is done; None for this process. The masks are the same.
        shard: only this part of the images; the other parts may be made in the same folder at the
            same time.

    Raises:
        IsegError: a dataset, model, setting or folder that cannot be used.
    """
    extras = extras or Extras()
    if shard is not None and extras.rle is not None:
        raise SettingsError(
            "a shard has not all the masks that go into --rle; once all shards are done, run "
            "without --shard: only that file is written then"
        )
    reader = open_reader(settings)
    notes = (*reader.notes, *label_notes(settings, reader))
    image_ids = reader.image_ids[:limit]
    mine = image_ids if shard is None else shard.select(image_ids)
    refused = [ImageRecord(i, None, (), "failed", reason) for i, reason in reader.refused.items()]
    is_free = settings.runtime.batch_size == "auto" and shard is None
    if not overwrite:
        settings = keep_earlier(settings, out)
    resumed: int | None = None
    smaller: int | None = None
    while True:
        plan = RunPlan(settings, out, extras, images=len(image_ids), limit=limit)
        with (
            (engine or LocalEngine()).open(plan, reader) as crew,
            PredictionFolder.start(out, crew.info, overwrite=overwrite, shard=shard) as folder,
        ):
            todo = _unfinished(folder, mine, extras)
            resumed = len(mine) - len(todo) if resumed is None else resumed
            bar: tqdm[NoReturn] = tqdm(
                total=len(mine), initial=len(mine) - len(todo), unit="image", disable=None
            )
            record_writer = RecordWriter(folder, bar)
            try:
                with bar:
                    crew.work(todo, record_writer.write)
            except BatchMemoryError as error:
                smaller, overwrite = halve(error, is_free=is_free), False
                settings = with_batch_size(settings, smaller)
                folder.note_batch_size(smaller)
                continue
            for record in refused:
                if folder.records.get(record.image_id) != record:
                    folder.record(record)
            folder.finish(image_ids, known={*reader.image_ids, *reader.refused})
            notes += _notes_on_turned([folder.records.get(image_id) for image_id in mine])
            if extras.rle is None:
                notes += _notes_on_empty([folder.records.get(image_id) for image_id in mine])
            if extras.rle is not None:
                written_rle = write_rle(
                    extras.rle, folder, mask_labels(settings, reader), mask_ids(settings, reader)
                )
                if written_rle.left_out:
                    notes += (_left_out_of_rle(extras.rle, written_rle.left_out),)
                notes += _notes_on_rle(extras.rle, written_rle)
        written = len(mine) - resumed - len(record_writer.failed)
        failed = record_writer.failed | reader.refused
        notes += truth_notes(settings, reader)
        return Summary(out, len(mine) + len(refused), resumed, written, failed, notes, smaller)


def _left_out_of_rle(path: Path, classes: Sequence[str]) -> str:
    return (
        f"{path} has no entries of {', '.join(classes)}: the dataset's annotation file lacks these "
        "classes, and has others under their ids"
    )


def _notes_on_turned(records: Sequence[ImageRecord | None]) -> tuple[str, ...]:
    """Return a sentence on the images that EXIF turned, for those who read them without EXIF."""
    turned = sum(record is not None and record.exif_orientation is not None for record in records)
    if not turned:
        return ()
    images, masks = (
        ("1 image is", "its mask is")
        if turned == 1
        else (f"{turned} images are", "their masks are")
    )
    return (
        f"{images} stored turned or mirrored; {masks} upright, as EXIF says: readers that ignore "
        "EXIF (Pillow, torchvision) have to turn such images (exif_orientation in images.jsonl)",
    )


def _notes_on_empty(records: Sequence[ImageRecord | None]) -> tuple[str, ...]:
    """Return a sentence where no image has a category, as with labels of another dataset."""
    done = [record for record in records if record is not None and record.error is None]
    if not done or any(record.status != "empty" for record in done):
        return ()
    if len(done) == 1:
        return ("the image has no category by its labels; its mask is background alone",)
    return (
        f"none of the {len(done)} images has a category by its labels; their masks are background "
        "alone",
    )


def _notes_on_rle(path: Path, written: RleSummary) -> tuple[str, ...]:
    """Return a sentence on a COCO results file without results, which COCO's tools refuse."""
    if written.segments:
        return ()
    return (
        f"{path} has no segments: none of the {written.images} masks has a category; COCO.loadRes "
        "refuses an empty list",
    )


def _unfinished(folder: PredictionFolder, image_ids: Sequence[str], extras: Extras) -> list[str]:
    """Return the images whose mask, or what is wanted beside it, is missing."""
    finished = folder.finished()
    return [
        image_id
        for image_id in image_ids
        if image_id not in finished
        or (extras.overlays and not folder.overlay_path(image_id).exists())
        or (extras.scores and not folder.scores_path(image_id).exists())
    ]
