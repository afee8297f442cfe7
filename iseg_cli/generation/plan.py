"""The plan of a run, and the mask generator that any process opens from it."""

from dataclasses import dataclass, replace
from pathlib import Path

from iseg_cli.backbones.loading import DiffusionModel
from iseg_cli.clip.labeler import ClipLabeler
from iseg_cli.clip.loading import ClipModel
from iseg_cli.config import Settings
from iseg_cli.execution.batch_size import choose_batch_size, first_that_fits, try_out
from iseg_cli.execution.clip import describe_clip, open_clip, open_tagger
from iseg_cli.execution.device import configure_threads, open_model
from iseg_cli.execution.provenance import describe_run
from iseg_cli.execution.run_setup import asks_clip, fitting_background, label_source, open_reader
from iseg_cli.generation.mask_generator import MaskGenerator
from iseg_cli.readers.base import Reader
from iseg_cli.readers.coco.classes import FROM_JSON
from iseg_cli.segmentation.batch_segmenter import BatchSegmenter
from iseg_cli.segmentation.segment_labels import segment_label_set
from iseg_cli.segmentation.segmenter import Segmenter
from iseg_cli.segmentation.unsupervised_segmenter import UnsupervisedSegmenter
from iseg_cli.storage import RunInfo, RunPaths
from iseg_cli.storage.writers import Outputs, open_writers
from iseg_cli.types import LabelSet, SourceIds


@dataclass(frozen=True)
class RunPlan:
    """All that a process needs to take part in a run; it is sent to other processes.

    Attributes:
        settings: the dataset, the model, the method and the use of the machine.
        out: the output folder.
        outputs: the outputs besides the masks.
        images: how many images the whole run asks for.
        limit: the number of images, from the first of the split on; None for all.
    """

    settings: Settings
    out: Path
    outputs: Outputs
    images: int
    limit: int | None


def open_generator(
    plan: RunPlan, reader: Reader | None = None, *, threads: int | None = None
) -> tuple[MaskGenerator, RunInfo]:
    """Return the mask generator of a plan, with its models loaded, and the run's provenance.

    Args:
        plan: the plan.
        reader: the plan's split of the dataset, if it is open already.
        threads: the most threads of PyTorch on a CPU; None for its own choice.

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
    labeler = given or ClipLabeler(
        open_tagger(settings, reader.label_set, batch_size=size, clip=clip)
    )
    paths = RunPaths(plan.out)
    generator = MaskGenerator(
        reader,
        labeler,
        segmenter,
        paths,
        open_writers(paths, plan.outputs, grey=settings.png == "grey"),
        label_set=mask_labels(settings, reader),
    )
    return generator, _describe(generator, clip, plan)


def mask_labels(settings: Settings, reader: Reader) -> LabelSet:
    """Return what the labels of a run's masks mean: the dataset's classes, or numbered segments."""
    return segment_label_set() if settings.task == "unsupervised" else reader.label_set


def mask_ids(settings: Settings, reader: Reader) -> SourceIds | None:
    """Return the ids of images and classes in the dataset's annotation file, if it has one.

    Segments are no classes and have no ids.
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
    """Return the segmenter for the task of the settings."""
    if settings.task == "unsupervised":
        return UnsupervisedSegmenter(model, settings, batch_size=batch_size)
    return Segmenter(
        model,
        settings,
        background_words=label_set.background_words,
        batch_size=batch_size,
        clip=clip,
    )


def _describe(generator: MaskGenerator, clip: ClipModel | None, plan: RunPlan) -> RunInfo:
    reader, segmenter = generator.reader, generator.segmenter
    settings = segmenter.settings
    named = settings.dataset == "folder" and settings.label_set is None
    is_own = named or reader.label_set.name == FROM_JSON
    return describe_run(
        settings,
        segmenter.model,
        reader,
        label_source=generator.labeler.name,
        batch_size=segmenter.batch_size,
        images=plan.images,
        limit=plan.limit,
        categories=(reader.label_set.categories or None) if is_own else None,
        clip=None if clip is None else describe_clip(clip),
    )
