"""`iseg generate`: masks for a dataset, resumable."""

import datetime
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import torch
from tqdm import tqdm

from iseg_cli.clip.loading import ClipModel
from iseg_cli.config import Settings, declared, load_settings, to_dict
from iseg_cli.diffusion.loading import DiffusionModel, choose_device, choose_dtype, load_model
from iseg_cli.errors import SettingsError
from iseg_cli.readers.base import Reader
from iseg_cli.readers.registry import DATASETS, dataset_info
from iseg_cli.samples import LabelSet
from iseg_cli.storage import PredictionFolder, RunInfo, write_rle
from iseg_cli.workflows.clip import describe_clip, open_clip, open_tagger
from iseg_cli.workflows.inputs import asks_clip, fitting_background, label_source, open_reader
from iseg_cli.workflows.job import Extras, Job
from iseg_cli.workflows.machine import choose_batch_size, whole_image_threads
from iseg_cli.workflows.pipeline import Segmenter
from iseg_cli.workflows.segmentation import BatchSegmenter
from iseg_cli.workflows.unsupervised import UnsupervisedSegmenter, segment_label_set

VERSIONS = ("iseg-cli", "torch", "diffusers", "transformers", "numpy", "pillow")
"""The distributions whose versions go into run.json."""


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


def generate(
    settings: Settings,
    *,
    out: Path,
    limit: int | None = None,
    overwrite: bool = False,
    extras: Extras | None = None,
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

    Raises:
        IsegError: a dataset, model, setting or folder that cannot be used.
    """
    extras = extras or Extras()
    reader = open_reader(settings)
    settings = fitting_background(settings, reader.label_set)
    given = None if asks_clip(settings) else label_source(settings, reader)
    image_ids = reader.image_ids[:limit]
    device = choose_device(settings.runtime.device)
    model = load_model(
        settings.model, device=device, dtype=choose_dtype(settings.runtime.dtype, device)
    )
    batch_size = choose_batch_size(settings.runtime.batch_size, model, None if overwrite else out)
    if device.type == "cpu":
        torch.set_num_threads(whole_image_threads(batch_size, torch.get_num_threads()))
    clip = open_clip(settings) if _needs_clip(settings) else None
    segmenter = _open_segmenter(settings, model, reader.label_set, batch_size=batch_size, clip=clip)
    label_set = reader.label_set if segmenter.needs_categories else segment_label_set()
    source = given or open_tagger(settings, reader.label_set, batch_size=batch_size, clip=clip)
    run = _run_info(
        settings, reader, source.name, segmenter, clip, images=len(image_ids), limit=limit
    )
    with PredictionFolder.start(out, run, overwrite=overwrite) as folder:
        todo = _unfinished(folder, image_ids, extras)
        resumed = len(image_ids) - len(todo)
        job = Job(reader, source, segmenter, folder, extras, label_set=label_set)
        bar: tqdm[NoReturn] = tqdm(
            total=len(image_ids), initial=resumed, unit="image", disable=None
        )
        with bar:
            failed = job.run(todo, settings.runtime.workers, bar)
        folder.finish(image_ids)
        if extras.rle is not None:
            write_rle(extras.rle, folder, label_set)
    return Summary(out, len(image_ids), resumed, len(todo) - len(failed), failed)


def resolve_settings(
    configs: Sequence[str],
    assignments: Sequence[str],
    options: Mapping[str, Any],
    *,
    prefer: str | None = None,
) -> Settings:
    """Lay configurations, assignments and options over the preset of the dataset and its task.

    Args:
        configs: YAML files, laid over the preset in their order; or names of presets, of which the
            last takes the place of that of the dataset and its task.
        assignments: `refine.iterations=8` and so on; they have the last word.
        options: settings by dotted name; None where an option was not given.
        prefer: the task that is meant where none is named and the dataset has a preset for it.

    Raises:
        SettingsError: no dataset was named, it has no preset for the task, or a setting is unknown
            or out of range.
    """
    files = [Path(config) for config in configs if Path(config).is_file()]
    presets = [config for config in configs if not Path(config).is_file()]
    if presets:
        preset = presets[-1]
    else:
        named = options.get("dataset") or declared("dataset", files)
        if named is None:
            raise SettingsError(f"no dataset was named; pass --dataset ({', '.join(DATASETS)})")
        info = dataset_info(named)
        task = options.get("task") or declared("task", files)
        preset = info.preset(task or (prefer if prefer in info.presets else None))
    return load_settings(preset, files=files, overrides=options, assignments=assignments)


def default_folder(settings: Settings) -> Path:
    """Return where masks go if the user does not say: predictions/<dataset>-<split>.

    A task that is not the dataset's usual one stands behind, so that runs do not meet.
    """
    info = dataset_info(settings.dataset)
    parts = [settings.dataset, settings.split or info.default_split]
    parts += [settings.task] if settings.task != info.default_task else []
    return Path("predictions", "-".join(parts))


def _needs_clip(settings: Settings) -> bool:
    return asks_clip(settings) or settings.fusion != "none"


def _open_segmenter(
    settings: Settings,
    model: DiffusionModel,
    label_set: LabelSet,
    *,
    batch_size: int,
    clip: ClipModel | None,
) -> BatchSegmenter:
    """Return what segments images for the task of the settings."""
    if settings.task == "unsupervised":
        return UnsupervisedSegmenter(model, settings, batch_size=batch_size)
    return Segmenter(
        model,
        settings,
        background_words=label_set.background_words,
        batch_size=batch_size,
        clip=clip,
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


def _run_info(
    settings: Settings,
    reader: Reader,
    label_source: str,
    segmenter: BatchSegmenter,
    clip: ClipModel | None,
    *,
    images: int,
    limit: int | None,
) -> RunInfo:
    own = settings.dataset == "folder" and settings.label_set is None
    chosen = reader.label_set.categories if own else None
    return RunInfo(
        dataset=settings.dataset,
        root=str(reader.root.resolve()),
        split=reader.split,
        label_source=label_source,
        task=settings.task,
        model={
            "name": settings.model,
            "revision": segmenter.model.revision,
            "fingerprint": segmenter.model.fingerprint(),
            **({} if clip is None else {"clip": describe_clip(clip)}),
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
        crop_side=segmenter.model.image_size if settings.input == "center-crop" else None,
    )
