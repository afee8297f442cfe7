"""`iseg sweep`: every setting of a grid scored on a split, each image's attention read once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from iseg_cli.backbones.loading import DiffusionModel
from iseg_cli.config import Settings
from iseg_cli.config.resolve import default_folder
from iseg_cli.errors import DataError, SettingsError
from iseg_cli.evaluation.metrics.confusion import ConfusionMatrix
from iseg_cli.evaluation.protocol import count_kinds
from iseg_cli.evaluation.report import Report
from iseg_cli.execution.batch_size import choose_batch_size
from iseg_cli.execution.device import configure_threads, open_model
from iseg_cli.execution.provenance import describe_run
from iseg_cli.execution.run_setup import fitting_background, label_source, open_reader
from iseg_cli.image_labels import LabelSource
from iseg_cli.readers.base import Reader
from iseg_cli.readers.registry import dataset_info
from iseg_cli.storage.records import RunInfo
from iseg_cli.storage.sweeps import SweepFolder, earlier_batch_size
from iseg_cli.sweep.grid import Grid, Point
from iseg_cli.sweep.loop import Failed, SettingsScorer
from iseg_cli.sweep.plan import plan_captures
from iseg_cli.sweep.plot import NO_PLOTS, draw
from iseg_cli.sweep.result import SweepResult, render
from iseg_cli.sweep.scores import Totals
from iseg_cli.types import IGNORE


def sweep(
    base: Settings,
    grid: Grid,
    *,
    out: Path,
    limit: int | None = None,
    overwrite: bool = False,
    announce: Callable[[str], None] = lambda text: None,
) -> SweepResult:
    """Score a grid of settings on a split with ground truth; run again, it resumes.

    What was counted in the folder stays, whatever grid it was counted for: settings and images
    that are there already are not computed again. An image that cannot be read, labelled or
    compared is passed over, under every setting.

    Args:
        base: the dataset, the model, the method and how to use the machine.
        grid: what is varied, and every setting of it.
        out: the folder of the counts and results.
        limit: only so many images, the first of the split.
        overwrite: replace what a sweep of another base left there.
        announce: told in one line what is about to be done.

    Raises:
        IsegError: a dataset, model, setting or folder that cannot be used.
    """
    _require_scorable(base)
    reader = open_reader(base)
    if not reader.has_ground_truth:
        raise DataError(
            f"split {reader.split} of {reader.name} in {reader.root} has no ground truth to score "
            "settings by; pass --split or --root"
        )
    base = fitting_background(base, reader.label_set)
    points = [
        replace(point, settings=fitting_background(point.settings, reader.label_set))
        for point in grid.points
    ]
    source = label_source(base, reader)
    image_ids = reader.image_ids[:limit]
    model = open_model(base)
    earlier = None if overwrite else earlier_batch_size(out)
    batch_size = choose_batch_size(base, model, earlier=earlier)
    configure_threads(model.device, batch_size)
    info = describe_run(
        base,
        model,
        reader,
        label_source=source.name,
        batch_size=batch_size,
        images=len(image_ids),
        limit=limit,
    )
    with SweepFolder.start(out, info, overwrite=overwrite) as folder:
        job = _Job(model, reader, source, {p.key: p.settings for p in points}, folder)
        job.resume(image_ids)
        announce(_announcement(grid, points, len(image_ids), job.todo))
        for note in (*reader.notes, *source.notes):
            announce(f"note: {note}")
        job.run(batch_size, base.runtime.workers)
        result = _result(grid, points, job, reader, info)
        for style, name in (("csv", "sweep.csv"), ("markdown", "sweep.md")):
            folder.write(name, render(result, style).encode())
        picture = draw(result)
        if picture is None:
            announce(NO_PLOTS)
        else:
            folder.write("sweep.png", picture)
        folder.info = replace(info, status="finished")
        folder.write_results(result.to_json_dict())
    return result


class _Job:
    """Counts what a folder lacks.

    Attributes:
        todo: the images that lack some settings, by the settings they lack.
        failed: what is wrong with an image, by its id.
        totals: the counts of the settings over the images asked for.
    """

    def __init__(
        self,
        model: DiffusionModel,
        reader: Reader,
        source: LabelSource,
        variants: Mapping[str, Settings],
        folder: SweepFolder,
    ) -> None:
        self._model, self._reader = model, reader
        # Labels that come from the truth are read with it, not once more.
        self._source = None if source.name == "masks" else source
        self._variants, self._folder = variants, folder
        self._image_ids: Sequence[str] = ()
        self.todo: dict[tuple[str, ...], list[str]] = {}
        self.failed: dict[str, str] = {}

    def resume(self, image_ids: Sequence[str]) -> None:
        """Add up what the folder has of these images, and find out what it lacks."""
        self._image_ids = image_ids
        self.totals = self._add_up(image_ids)
        self.todo = self.totals.missing(image_ids)

    def run(self, batch_size: int, workers: int) -> None:
        """Count images under the settings they lack, with a bar."""
        images = len(self._image_ids)
        left = sum(map(len, self.todo.values()))
        bar: tqdm[NoReturn] = tqdm(total=images, initial=images - left, unit="image", disable=None)
        with bar:
            for keys, image_ids in self.todo.items():
                variants = {key: self._variants[key] for key in keys}
                scorer = SettingsScorer(
                    self._model, self._reader, self._source, variants, batch_size=batch_size
                )
                for outcome in scorer.run(image_ids, workers):
                    if isinstance(outcome, Failed):
                        self.failed[outcome.image_id] = outcome.reason
                    else:
                        self._folder.add(outcome)
                        self.totals.add(outcome)
                    bar.update()
        if self.failed:  # an earlier grid may have counted them: no setting is to have them
            self.totals = self._add_up([i for i in self._image_ids if i not in self.failed])

    def _add_up(self, image_ids: Sequence[str]) -> Totals:
        asked = set(image_ids)
        totals = Totals(list(self._variants), self._reader.label_set.num_classes)
        for counts in self._folder.read():
            if counts.image_id in asked:
                totals.add(counts)
        return totals


def score_settings(
    model: DiffusionModel,
    reader: Reader,
    variants: Mapping[str, Settings],
    *,
    batch_size: int = 8,
    limit: int | None = None,
) -> dict[str, ConfusionMatrix]:
    """Segment a split under every variant of the settings and count the confusion of each.

    Image-level labels come from the ground truth. Nothing is written.

    Args:
        model: what reads the attention.
        reader: a split with ground truth.
        variants: settings by name; those that differ only behind the capture share one forward.
        batch_size: images at a time.
        limit: only so many images, the first of the split.

    Returns:
        A confusion matrix for each variant.

    Raises:
        SettingsError: a variant asks for fusion with CLIP, which is not read here.
        DataError: an image or its truth cannot be read.
    """
    plan_captures(variants)  # refuses before anything is opened
    scorer = SettingsScorer(model, reader, None, variants, batch_size=batch_size)
    totals = Totals(list(variants), reader.label_set.num_classes)
    image_ids = reader.image_ids[:limit]
    bar: tqdm[NoReturn] = tqdm(total=len(image_ids), unit="image", disable=None)
    with bar:
        for outcome in scorer.run(image_ids):
            if isinstance(outcome, Failed):
                raise DataError(outcome.reason)
            totals.add(outcome)
            bar.update()
    return {name: totals.matrix(name) for name in variants}


def default_sweep_folder(settings: Settings) -> Path:
    """Return where a sweep goes if the user does not say: sweeps/<dataset>-<split>.

    A task that is not the dataset's usual one stands behind, so that sweeps do not meet.
    """
    split = dataset_info(settings.dataset).default_split
    return Path("sweeps", default_folder(settings, default_split=split).name)


def _require_scorable(base: Settings) -> None:
    """Refuse, in one sentence, what a sweep does not compute."""
    if base.task == "unsupervised":
        raise SettingsError(
            "iseg sweep scores maps of categories, and the task unsupervised knows none; run iseg "
            "generate and iseg evaluate for each setting, with an --out of its own"
        )
    if base.fusion != "none":
        raise SettingsError(
            f"iseg sweep reads the diffusion model alone, and fusion is {base.fusion}; pass --set "
            "fusion=none, or run iseg generate and iseg evaluate for each setting"
        )
    if base.labels == "clip":
        raise SettingsError(
            "iseg sweep does not look for labels with CLIP (labels: clip); write them once with "
            f"iseg tag --dataset {base.dataset} --out labels.json and pass --labels "
            "file:labels.json, or --labels masks"
        )


def _announcement(
    grid: Grid, points: Sequence[Point], images: int, todo: Mapping[tuple[str, ...], Sequence[str]]
) -> str:
    axes = " x ".join(f"{len(axis.values)} of {axis.name}" for axis in grid.axes)
    captures = len(plan_captures({point.key: point.settings for point in points}))
    done = images - sum(map(len, todo.values()))
    return (
        f"{len(points)} settings ({axes}) on {images} images, "
        f"{captures} capture{'s' if captures > 1 else ''} each"
        + (f"; {done} images are there already" if done else "")
    )


def _result(
    grid: Grid, points: Sequence[Point], job: _Job, reader: Reader, info: RunInfo
) -> SweepResult:
    images = info.images - len(job.failed)
    by_color = count_kinds(reader.read_by_color, frozenset())
    protocol = {
        "dataset": reader.name,
        "split": reader.split,
        "images": images,
        "failed": len(job.failed) + len(reader.refused),
        **({"limit": info.limit} if info.limit is not None else {}),
        "label_set": reader.label_set.name,
        "task": info.task,
        "label_source": info.label_source,
        "input": "whole images" if info.crop_side is None else f"middle squares, {info.crop_side}",
        "ignore_label": IGNORE,
        **({"read_by_color": by_color} if by_color else {}),
        "model": dict(info.model),
        "dtype": info.dtype,
        "versions": dict(info.versions),
    }
    scores = tuple(
        (
            point.values,
            Report.of_labels(
                job.totals.matrix(point.key), reader.label_set.names, images=images, protocol={}
            ),
        )
        for point in points
    )
    return SweepResult(grid.axes, scores, protocol, job.failed | reader.refused)
