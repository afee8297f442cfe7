"""`iseg sweep`: scores every setting of a grid on a split; settings share attention."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from iseg_cli.config import Settings
from iseg_cli.config.resolve import default_folder
from iseg_cli.errors import DataError, SettingsError
from iseg_cli.evaluation.protocol import count_kinds, dataset_protocol, input_words
from iseg_cli.evaluation.report import Report
from iseg_cli.execution.batch_size import choose_batch_size
from iseg_cli.execution.device import configure_threads, open_model
from iseg_cli.execution.provenance import describe_run
from iseg_cli.execution.run_setup import fitting_background, label_source, open_reader
from iseg_cli.readers.base import Reader
from iseg_cli.readers.registry import dataset_info
from iseg_cli.storage.run_info import RunInfo
from iseg_cli.storage.sweeps import SweepFolder, earlier_batch_size
from iseg_cli.sweep.grid import Grid, Point
from iseg_cli.sweep.grid_counter import GridCounter
from iseg_cli.sweep.plan import plan_captures
from iseg_cli.sweep.plot import NO_PLOTS, draw
from iseg_cli.sweep.result import SweepResult, render
from iseg_cli.types import IGNORE


def sweep(
    base: Settings,
    grid: Grid,
    *,
    out: Path,
    limit: int | None = None,
    overwrite: bool = False,
    tell: Callable[[str], None] = lambda text: None,
) -> SweepResult:
    """Return the scores of a grid of settings on a split; a second call resumes the first.

    Counts in the folder stay, whatever grid they were made for: settings and images that are
    already counted are not computed again. An image that cannot be read, labelled or compared
    fails under every setting.

    Args:
        base: the dataset, the model, the method and the use of the machine.
        grid: the axes, and every setting of the grid.
        out: the folder of the counts and results.
        limit: the number of images, from the first of the split on; None for all.
        overwrite: replace the counts of another base in the folder.
        tell: gets each line for the user: the size of the sweep, and notes.

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
    labeler = label_source(base, reader)
    image_ids = reader.image_ids[:limit]
    model = open_model(base)
    earlier = None if overwrite else earlier_batch_size(out)
    batch_size = choose_batch_size(base, model, earlier=earlier)
    configure_threads(model.device, batch_size)
    info = describe_run(
        base,
        model,
        reader,
        label_source=labeler.name,
        batch_size=batch_size,
        images=len(image_ids),
        limit=limit,
    )
    with SweepFolder.start(out, info, overwrite=overwrite) as folder:
        variants = {point.key: point.settings for point in points}
        counter = GridCounter(model, reader, labeler, variants, folder, image_ids)
        tell(_size_of_sweep(grid, points, len(image_ids), counter.todo))
        for note in (*reader.notes, *labeler.notes):
            tell(f"note: {note}")
        counter.run(batch_size, base.runtime.workers)
        result = _result(grid, points, counter, reader, info)
        for style, name in (("csv", "sweep.csv"), ("markdown", "sweep.md")):
            folder.write(name, render(result, style).encode())
        picture = draw(result)
        if picture is None:
            tell(NO_PLOTS)
        else:
            folder.write("sweep.png", picture)
        folder.info = replace(info, status="finished")
        folder.write_results(result.to_json_dict())
    return result


def default_sweep_folder(settings: Settings) -> Path:
    """Return the default folder of a sweep: sweeps/<dataset>-<split>.

    Another task than the dataset's usual one is part of the name.
    """
    split = dataset_info(settings.dataset).default_split
    return Path("sweeps", default_folder(settings, default_split=split).name)


def _require_scorable(base: Settings) -> None:
    """Raise SettingsError for settings that a sweep cannot score."""
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


def _size_of_sweep(
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
    grid: Grid, points: Sequence[Point], counter: GridCounter, reader: Reader, info: RunInfo
) -> SweepResult:
    images = info.images - len(counter.failed)
    by_color = count_kinds(reader.read_by_color, frozenset())
    protocol = {
        **dataset_protocol(
            reader,
            images=images,
            further={"failed": len(counter.failed) + len(reader.refused)},
            limit=info.limit,
        ),
        "task": info.task,
        "label_source": info.label_source,
        "input": input_words(info),
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
                counter.totals.matrix(point.key), reader.label_set.names, images=images, protocol={}
            ),
        )
        for point in points
    )
    return SweepResult(grid.axes, scores, protocol, counter.failed | reader.refused)
