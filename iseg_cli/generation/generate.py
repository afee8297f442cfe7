"""`iseg generate`: a resumable run that writes a mask for every image of a split."""

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from iseg_cli.config import Settings
from iseg_cli.errors import BatchMemoryError, SettingsError
from iseg_cli.execution.batch_size import halve, keep_earlier, with_batch_size
from iseg_cli.execution.run_setup import ground_truth_notes, label_notes, open_reader
from iseg_cli.generation.engines import Engine, LocalEngine
from iseg_cli.generation.notes import note_on_empty_masks, note_on_turned_images
from iseg_cli.generation.plan import RunPlan, mask_ids, mask_labels
from iseg_cli.generation.record_writer import RecordWriter
from iseg_cli.generation.summary import GenerationSummary
from iseg_cli.storage import ImageRecord, PredictionFolder, Shard
from iseg_cli.storage.writers import OUTPUT_WRITERS, Outputs, OutputWriter, open_writers


def generate(
    settings: Settings,
    *,
    out: Path,
    limit: int | None = None,
    overwrite: bool = False,
    outputs: Outputs | None = None,
    engine: Engine | None = None,
    shard: Shard | None = None,
) -> GenerationSummary:
    """Write a mask for every image of a dataset's split; a second call resumes the first.

    An image that cannot be read or labelled fails alone and is recorded. A run may be stopped at
    any moment; finished images stay finished.

    Args:
        settings: the dataset, the model, the method and the use of the machine.
        out: the output folder.
        limit: the number of images, from the first of the split on; None for all.
        overwrite: replace the results of another run in the folder.
        outputs: the outputs besides the masks, by name (`overlays`, `scores`, `rle`), with the file
            of `rle`; None for masks alone.
        engine: runs the plan; None for this process. The masks do not depend on it.
        shard: the part of the images to segment. The other shards may run at the same time and
            write into the same folder.

    Raises:
        IsegError: a dataset, model, setting or folder that cannot be used.
    """
    outputs = outputs or {}
    if shard is not None:
        _refuse_whole_run_outputs(outputs)
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
        plan = RunPlan(settings, out, outputs, images=len(image_ids), limit=limit)
        with (
            (engine or LocalEngine()).open(plan, reader) as pool,
            PredictionFolder.start(out, pool.info, overwrite=overwrite, shard=shard) as folder,
        ):
            writers = open_writers(folder, outputs)
            todo = _unfinished(folder, mine, writers)
            resumed = len(mine) - len(todo) if resumed is None else resumed
            bar: tqdm[NoReturn] = tqdm(
                total=len(mine), initial=len(mine) - len(todo), unit="image", disable=None
            )
            record_writer = RecordWriter(folder, bar)
            try:
                with bar:
                    pool.work(todo, record_writer.write)
            except BatchMemoryError as error:
                smaller, overwrite = halve(error, is_free=is_free), False
                settings = with_batch_size(settings, smaller)
                folder.note_batch_size(smaller)
                continue
            for record in refused:
                if folder.records.get(record.image_id) != record:
                    folder.record(record)
            folder.finish(image_ids, known={*reader.image_ids, *reader.refused})
            records = [folder.records.get(image_id) for image_id in mine]
            notes += note_on_turned_images(records)
            if not any(writer.takes_file for writer in writers):
                notes += note_on_empty_masks(records)
            labels, ids = mask_labels(settings, reader), mask_ids(settings, reader)
            for writer in writers:
                notes += writer.finish(folder, labels, ids)
        written = len(mine) - resumed - len(record_writer.failed)
        failed = record_writer.failed | reader.refused
        notes += ground_truth_notes(settings, reader)
        asked = len(mine) + len(refused)
        return GenerationSummary(out, asked, resumed, written, failed, notes, smaller)


def _unfinished(
    folder: PredictionFolder, image_ids: Sequence[str], writers: Sequence[OutputWriter]
) -> list[str]:
    """Return the images that lack a whole mask or another output."""
    finished = folder.finished()
    return [
        image_id
        for image_id in image_ids
        if image_id not in finished or not all(writer.exists(image_id) for writer in writers)
    ]


def _refuse_whole_run_outputs(outputs: Outputs) -> None:
    """Raise SettingsError if an output needs the masks of all shards."""
    for kind in OUTPUT_WRITERS:
        if kind.takes_file and kind.name in outputs:
            raise SettingsError(
                f"a shard has not all the masks that go into --{kind.name}; once all shards are "
                "done, run without --shard: only that file is written then"
            )
