"""What a run is to do, and a job made ready from that in any process, on any machine."""

from dataclasses import dataclass, replace
from pathlib import Path

from iseg_cli.backbones.loading import DiffusionModel
from iseg_cli.clip.loading import ClipModel
from iseg_cli.config import Settings
from iseg_cli.execution.batch_size import choose_batch_size, first_that_fits, try_out
from iseg_cli.execution.clip import describe_clip, open_clip, open_tagger
from iseg_cli.execution.device import configure_threads, open_model
from iseg_cli.execution.provenance import describe_run
from iseg_cli.execution.run_setup import asks_clip, fitting_background, label_source, open_reader
from iseg_cli.generation.job import Extras, Job
from iseg_cli.readers.base import Reader
from iseg_cli.readers.coco_classes import FROM_JSON
from iseg_cli.segmentation.batches import BatchSegmenter
from iseg_cli.segmentation.segment_labels import segment_label_set
from iseg_cli.segmentation.segmenter import Segmenter
from iseg_cli.segmentation.unsupervised import UnsupervisedSegmenter
from iseg_cli.storage import Layout, RunInfo
from iseg_cli.types import LabelSet, SourceIds


@dataclass(frozen=True)
class RunPlan:
    """What a run is to do: small, and all that a process needs to take part in it.

    Attributes:
        settings: the dataset, the model, the method and how to use the machine.
        out: the folder of predictions.
        extras: what to write beside the masks.
        images: how many images the whole run asks for.
        limit: the first so many of the split, or None for all.
    """

    settings: Settings
    out: Path
    extras: Extras
    images: int
    limit: int | None


def open_job(
    plan: RunPlan, reader: Reader | None = None, *, threads: int | None = None
) -> tuple[Job, RunInfo]:
    """Load what a plan needs; return the job, and what decides the masks that it makes.

    Args:
        plan: what is to be done.
        reader: the plan's split of the dataset, where it is open already.
        threads: for PyTorch on a CPU, at most; None for as many as it takes by itself.

    Raises:
        IsegError: a dataset, label source, model or setting that cannot be used here.
    """
    reader = reader or open_reader(plan.settings)
    settings = fitting_background(plan.settings, reader.label_set)
    given = None if asks_clip(settings) else label_source(settings, reader)
    model = open_model(settings)
    clip = open_clip(settings) if asks_clip(settings) or settings.fusion != "none" else None
    batch_size = choose_batch_size(settings, model)
    configure_threads(model.device, batch_size, threads=threads)

    def attempt(size: int) -> BatchSegmenter:
        segmenter = _open_segmenter(settings, model, reader.label_set, batch_size=size, clip=clip)
        if settings.runtime.batch_size == "auto" and model.device.type == "cuda":
            try_out(segmenter, reader.label_set)
        return segmenter

    segmenter = first_that_fits(batch_size, attempt)
    size = segmenter.batch_size
    source = given or open_tagger(settings, reader.label_set, batch_size=size, clip=clip)
    job = Job(
        reader,
        source,
        segmenter,
        Layout(plan.out),
        plan.extras,
        label_set=mask_labels(settings, reader),
    )
    return job, _describe(job, clip, plan)


def mask_labels(settings: Settings, reader: Reader) -> LabelSet:
    """Return what the labels of a run's masks mean: the dataset's classes, or segments' numbers."""
    return segment_label_set() if settings.task == "unsupervised" else reader.label_set


def mask_ids(settings: Settings, reader: Reader) -> SourceIds | None:
    """Return what the dataset's annotation file calls images and classes; segments are no classes.

    None where there is no such file.
    """
    found = reader.source_ids
    if found is None or settings.task != "unsupervised":
        return found
    return replace(found, classes={})


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


def _describe(job: Job, clip: ClipModel | None, plan: RunPlan) -> RunInfo:
    settings = job.segmenter.settings
    named = settings.dataset == "folder" and settings.label_set is None
    is_own = named or job.reader.label_set.name == FROM_JSON
    return describe_run(
        settings,
        job.segmenter.model,
        job.reader,
        label_source=job.source.name,
        batch_size=job.segmenter.batch_size,
        images=plan.images,
        limit=plan.limit,
        categories=(job.reader.label_set.categories or None) if is_own else None,
        clip=None if clip is None else describe_clip(clip),
    )
