"""`iseg generate`: masks for a dataset. Decoding, the model and writing overlap."""

import datetime
import itertools
import platform
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
import torch
from jaxtyping import UInt8
from tqdm import tqdm

from iseg_cli import labels
from iseg_cli.config import Settings, declared_dataset, load_settings, to_dict
from iseg_cli.diffusion.loading import DiffusionModel, choose_device, choose_dtype, load_model
from iseg_cli.errors import DataError, IsegError, PromptError, SettingsError
from iseg_cli.overlays import draw_overlay
from iseg_cli.readers.base import Reader
from iseg_cli.readers.images import load_image
from iseg_cli.readers.registry import DATASETS, dataset_info, open_dataset
from iseg_cli.samples import Category, Mask, Sample
from iseg_cli.storage import (
    ImageRecord,
    PredictionFolder,
    RunInfo,
    encode_mask,
    encode_picture,
    write_atomically,
    write_rle,
    write_scores,
)
from iseg_cli.storage.records import read_info
from iseg_cli.workflows.pipeline import Segmentation, Segmenter, fit_image, label_values

VERSIONS = ("iseg-cli", "torch", "diffusers", "transformers", "numpy", "pillow")
"""The distributions whose versions go into run.json."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Extras:
    """What is written beside the masks.

    Attributes:
        overlays: pictures of image and mask with a legend, `overlays/<image_id>.jpg`.
        scores: each category's map as float16, `scores/<image_id>.npz`.
        rle: a COCO results file, or None.
    """

    overlays: bool = False
    scores: bool = False
    rle: Path | None = None


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes:
        folder: where the masks are.
        asked: how many images were asked for.
        resumed: how many of these an earlier run had finished.
        written: how many masks this run wrote.
        failed: image id -> what is wrong with it.
    """

    folder: Path
    asked: int
    resumed: int
    written: int
    failed: dict[str, str]


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A decoded image on its way to the model."""

    sample: Sample
    categories: tuple[Category, ...]
    pixels: UInt8[np.ndarray, "side side 3"]
    size: tuple[int, int]
    picture: UInt8[np.ndarray, "height width 3"] | None = field(default=None)


@dataclass(frozen=True)
class _Failed:
    """An image that cannot be segmented, and why."""

    sample: Sample
    reason: str


def generate(
    settings: Settings,
    *,
    out: Path,
    limit: int | None = None,
    overwrite: bool = False,
    extras: Extras = Extras(),
) -> Summary:
    """Write a mask for every image of a dataset's split; run again, it resumes.

    An image that cannot be read or labelled is recorded and passed over. Stopped at any moment,
    nothing finished is lost.

    Args:
        settings: the dataset, the model, the method and how to use the machine.
        out: the folder of predictions.
        limit: only so many images, the first of the split.
        overwrite: replace what another run wrote there.
        extras: what to write beside the masks.

    Raises:
        IsegError: a dataset, model, setting or folder that cannot be used.
    """
    reader = open_dataset(
        settings.dataset,
        root=settings.root,
        split=settings.split,
        label_set=settings.label_set,
        categories=_folder_categories(settings),
    )
    source = label_source(settings, reader)
    image_ids = reader.image_ids[:limit]
    device = choose_device(settings.runtime.device)
    model = load_model(
        settings.model, device=device, dtype=choose_dtype(settings.runtime.dtype, device)
    )
    batch_size = _batch_size(settings, model, None if overwrite else out)
    if device.type == "cpu":
        torch.set_num_threads(whole_image_threads(batch_size, torch.get_num_threads()))
    segmenter = Segmenter(
        model,
        settings,
        background_words=reader.label_set.background_words,
        batch_size=batch_size,
    )
    run = _run_info(settings, reader, source.name, segmenter, images=len(image_ids), limit=limit)
    with PredictionFolder.start(out, run, overwrite=overwrite) as folder:
        todo = _unfinished(folder, image_ids, extras)
        resumed = len(image_ids) - len(todo)
        job = _Job(reader, source, segmenter, folder, extras)
        bar: tqdm[NoReturn] = tqdm(
            total=len(image_ids), initial=resumed, unit="image", disable=None
        )
        with bar:
            failed = job.run(todo, settings.runtime.workers, bar)
        folder.finish(image_ids)
        if extras.rle is not None:
            write_rle(extras.rle, folder, reader.label_set)
    return Summary(out, len(image_ids), resumed, len(todo) - len(failed), failed)


def resolve_settings(
    configs: Sequence[str], assignments: Sequence[str], options: Mapping[str, Any]
) -> Settings:
    """Lay configurations, assignments and options over the preset of the dataset.

    Args:
        configs: YAML files, laid over the dataset's preset in their order; or names of presets, of
            which the last takes the place of the dataset's own.
        assignments: `refine.iterations=8` and so on; they have the last word.
        options: settings by dotted name; None where an option was not given.

    Raises:
        SettingsError: no dataset was named, or a setting is unknown or out of range.
    """
    files = [Path(config) for config in configs if Path(config).is_file()]
    presets = [config for config in configs if not Path(config).is_file()]
    if presets:
        preset = presets[-1]
    else:
        named = options.get("dataset") or declared_dataset(files)
        if named is None:
            raise SettingsError(f"no dataset was named; pass --dataset ({', '.join(DATASETS)})")
        preset = dataset_info(named).preset
    return load_settings(preset, files=files, overrides=options, assignments=assignments)


def default_folder(settings: Settings) -> Path:
    """Return where masks go if the user does not say: predictions/<dataset>-<split>."""
    split = settings.split or dataset_info(settings.dataset).default_split
    return Path("predictions", f"{settings.dataset}-{split}")


def label_source(settings: Settings, reader: Reader) -> labels.LabelSource:
    """Return where the image-level labels come from.

    For the dataset `folder`, unless a file names them, every image has all the categories.
    """
    if settings.dataset == "folder" and not settings.labels.startswith("file:"):
        return labels.constant(reader.label_set.categories)
    return labels.choose(
        settings.labels,
        label_set=reader.label_set,
        truth=reader.truth if reader.has_truth else None,
        annotated=reader.annotated,
    )


class _Job:
    """The loop over images: decode in threads, segment in batches, write in threads."""

    def __init__(
        self,
        reader: Reader,
        source: labels.LabelSource,
        segmenter: Segmenter,
        folder: PredictionFolder,
        extras: Extras,
    ) -> None:
        self.reader, self.source, self.segmenter = reader, source, segmenter
        self.folder, self.extras = folder, extras

    def run(self, image_ids: Sequence[str], workers: int, bar: "tqdm[NoReturn]") -> dict[str, str]:
        """Segment the images; return what is wrong with those that failed."""
        failed: dict[str, str] = {}

        def fail(sample: Sample, reason: str) -> None:
            failed[sample.image_id] = reason
            self.folder.write(ImageRecord(sample.image_id, None, (), "failed", reason))
            bar.set_postfix(failed=len(failed), refresh=False)
            bar.update()

        batch_size = self.segmenter.batch_size
        with (
            ThreadPoolExecutor(workers, "decode") as decoders,
            ThreadPoolExecutor(workers, "write") as writers,
        ):
            ahead = workers + 2 * batch_size
            prepared = _map_ahead(decoders, self._prepare, image_ids, ahead)
            written: deque[Future[None]] = deque()
            for batch in _batches(self._usable(prepared, fail), batch_size):
                for item, segmentation in zip(batch, self._segment(batch), strict=True):
                    written.append(writers.submit(self._write, item, segmentation))
                    bar.update()
                while len(written) > 2 * ahead:
                    written.popleft().result()
            for future in written:
                future.result()
        return failed

    def _prepare(self, image_id: str) -> _Prepared | _Failed:
        """Decode an image, look up its labels and bring it to the model's size."""
        sample = self.reader.sample(image_id)
        try:
            image = load_image(sample.image_path)
            categories = self.source(sample)
        except DataError as error:
            return _Failed(sample, str(error))
        return _Prepared(
            sample,
            categories,
            fit_image(image, self.segmenter.model.image_size),
            (image.shape[0], image.shape[1]),
            image if self.extras.overlays else None,
        )

    def _usable(
        self, prepared: Iterable[_Prepared | _Failed], fail: Callable[[Sample, str], None]
    ) -> Iterator[_Prepared]:
        """Yield what the model can work on; report the rest."""
        for item in prepared:
            if isinstance(item, _Failed):
                fail(item.sample, item.reason)
                continue
            try:
                self.segmenter.extractor.prompts(item.categories)
            except PromptError as error:
                fail(item.sample, str(error))
                continue
            yield item

    def _segment(self, batch: Sequence[_Prepared]) -> list[Segmentation]:
        """Segment a batch; images without categories are background and cost nothing."""
        named = [item for item in batch if item.categories]
        results: dict[int, Segmentation] = {}
        if named:
            try:
                segmented = self.segmenter.segment_batch(
                    np.stack([item.pixels for item in named]),
                    [item.categories for item in named],
                    [item.size for item in named],
                    self.reader.label_set,
                )
            except torch.OutOfMemoryError:
                raise SettingsError(
                    f"{self.segmenter.batch_size} images do not fit into the memory of "
                    f"{self.segmenter.model.device}; pass a smaller --batch-size (finished masks "
                    "stay, with --overwrite they are made again)"
                ) from None
            results = {id(item): one for item, one in zip(named, segmented, strict=True)}
        return [results.get(id(item)) or self._nothing(item) for item in batch]

    def _nothing(self, item: _Prepared) -> Segmentation:
        """Return the mask of an image without categories: all background."""
        value = label_values((), self.reader.label_set)[0]
        side = self.segmenter.model.latent_side
        return Segmentation(
            Mask(np.full(item.size, value, dtype=np.uint8)),
            np.zeros((0, side, side), dtype=np.float16),
        )

    def _write(self, item: _Prepared, result: Segmentation) -> None:
        """Write an image's files; its mask and record last, since they say that it is done."""
        image_id = item.sample.image_id
        label_set = self.reader.label_set
        try:
            if item.picture is not None:
                overlay = draw_overlay(item.picture, result.mask, label_set)
                write_atomically(self.folder.overlay_path(image_id), encode_picture(overlay))
            if self.extras.scores:
                ids = [category.id for category in item.categories]
                write_scores(self.folder.scores_path(image_id), result.scores, ids)
            record = ImageRecord(
                image_id,
                item.size,
                tuple(category.name for category in item.categories),
                "done" if item.categories else "empty",
                None,
            )
            self.folder.write(record, encode_mask(result.mask, label_set.palette))
        except OSError as error:
            raise IsegError(
                f"cannot write the mask of {image_id} into {self.folder.path}: {error.strerror}; "
                "make room or choose another --out, then run the same command to resume"
            ) from None


def _folder_categories(settings: Settings) -> tuple[str, ...] | None:
    """Return the categories of the dataset `folder`, from the settings or the file of labels."""
    if settings.dataset != "folder" or settings.categories:
        return settings.categories
    if settings.labels.startswith("file:"):
        return labels.names_in_file(Path(settings.labels.removeprefix("file:")).expanduser())
    raise SettingsError(
        'the dataset folder needs categories; pass --categories "cat, dog" or --labels file:PATH'
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


def _batch_size(settings: Settings, model: DiffusionModel, out: Path | None) -> int:
    """Return the batch size; `auto` keeps that of the run which is resumed."""
    wanted = settings.runtime.batch_size
    if wanted != "auto":
        return wanted
    earlier = read_info(out) if out is not None else None
    if earlier is not None and isinstance(earlier.batch_size, int):
        return earlier.batch_size
    return fitting_batch_size(model)


def fitting_batch_size(model: DiffusionModel) -> int:
    """Return a batch size that surely fits: a power of two, at most 32.

    On a GPU an image is reckoned at six float32 copies of its self-attention (captured, reduced
    and the room their computation takes), on a CPU at what the caches of a few cores profit from.
    """
    positions = model.latent_side**2
    if model.device.type != "cuda":
        return 8 if positions <= 1024 else 1
    free, _ = torch.cuda.mem_get_info(model.device)
    fitting = int(0.6 * free / (6 * 4 * positions**2))
    return 2 ** max(0, min(fitting, 32).bit_length() - 1) if fitting else 1


def whole_image_threads(batch_size: int, threads: int) -> int:
    """Return how many of some threads to use, so that each works on whole images of a batch.

    Where threads meet inside an image, sums are rounded by where in its batch an image lies, and
    its mask could depend on its neighbours. A single image always lies first.
    """
    if batch_size == 1:
        return threads
    return max(count for count in range(1, threads + 1) if batch_size % count == 0)


def _run_info(
    settings: Settings,
    reader: Reader,
    source: str,
    segmenter: Segmenter,
    *,
    images: int,
    limit: int | None,
) -> RunInfo:
    chosen = reader.label_set.categories if settings.dataset == "folder" else None
    return RunInfo(
        dataset=settings.dataset,
        root=str(reader.root.resolve()),
        split=reader.split,
        label_source=source,
        task=settings.task,
        model={
            "name": settings.model,
            "revision": segmenter.model.revision,
            "fingerprint": segmenter.model.fingerprint(),
        },
        settings=to_dict(settings),
        seed=settings.seed,
        batch_size=segmenter.batch_size,
        dtype=str(segmenter.model.dtype).removeprefix("torch."),
        device=str(segmenter.model.device),
        images=images,
        limit=limit,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        versions={"python": platform.python_version(), **{v: version(v) for v in VERSIONS}},
        categories=tuple(category.name for category in chosen) if chosen else None,
    )


def _map_ahead(
    pool: ThreadPoolExecutor, function: Callable[[T], R], items: Iterable[T], ahead: int
) -> Iterator[R]:
    """Map in threads, in order, at most `ahead` results at a time, so that memory is bounded."""
    waiting = iter(items)
    futures = deque(pool.submit(function, item) for item in itertools.islice(waiting, ahead))
    try:
        while futures:
            result = futures.popleft().result()
            futures.extend(pool.submit(function, item) for item in itertools.islice(waiting, 1))
            yield result
    finally:
        for future in futures:
            future.cancel()


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    waiting = iter(items)
    while batch := list(itertools.islice(waiting, size)):
        yield batch
