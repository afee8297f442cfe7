"""`iseg synthesize`: images drawn by the model, with masks from the attention that drew them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch
from tqdm import tqdm

from iseg_cli.config import Settings
from iseg_cli.config.schema import FilterSettings
from iseg_cli.errors import SettingsError
from iseg_cli.execution.batch_size import choose_batch_size, earlier_batch_size
from iseg_cli.execution.device import configure_threads, open_model
from iseg_cli.execution.iteration import batches
from iseg_cli.execution.provenance import describe_run
from iseg_cli.readers.registry import dataset_info
from iseg_cli.readers.tables import load_label_set
from iseg_cli.storage import (
    Drawing,
    ImageRecord,
    SyntheticFolder,
    encode_mask,
    encode_picture,
)
from iseg_cli.synthesis.image_specs import ImageSpec, label_set_for, plan
from iseg_cli.synthesis.synthesizer import Synthesizer, SyntheticImage
from iseg_cli.types import LabelSet

JPEG_QUALITY = 95
"""Of images: masks are made from them again, and models are trained on them."""

OVERFLOW = "the decoder left numbers that are none; pass --dtype float32 or bfloat16"


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes:
        folder: the dataset.
        asked: how many images were asked for.
        resumed: how many of these an earlier run had finished.
        written: how many images this run wrote.
        failed: image id -> what is wrong with it.
        dropped: image id -> why its mask is implausible; empty without the filter.
    """

    folder: Path
    asked: int
    resumed: int
    written: int
    failed: dict[str, str]
    dropped: dict[str, str]


def synthesize(
    settings: Settings, *, out: Path, per_category: int, overwrite: bool = False
) -> Summary:
    """Draw a dataset in VOC's layout; run again, it resumes, with more images it grows.

    Stopped at any moment, nothing finished is lost. The filter only decides which list names an
    image, so its bounds may change between two runs.

    Args:
        settings: the categories, the model, the method and how to use the machine.
        out: the folder of the dataset.
        per_category: images for each category.
        overwrite: replace what another run wrote there.

    Raises:
        IsegError: a category, model, setting or folder that cannot be used.
    """
    if settings.fusion != "none":
        raise SettingsError(
            "fusion with CLIP needs images that are there already; leave it to iseg generate"
        )
    label_set = label_set_for(_names(settings), _known(settings))
    specs = plan(label_set, settings.synthesis, per_category=per_category, seed=settings.seed)
    model = open_model(settings, decoder=True)
    earlier = None if overwrite else earlier_batch_size(out)
    batch_size = choose_batch_size(settings, model, earlier=earlier)
    configure_threads(model.device, batch_size)
    synthesizer = Synthesizer(model, settings, label_set, batch_size=batch_size)
    for spec in specs:
        synthesizer.prompt(spec)  # one that is too long is told before hours are spent
    run = describe_run(
        settings,
        model,
        None,
        label_source="prompts",
        batch_size=batch_size,
        images=len(specs),
        categories=label_set.categories,
    )
    with SyntheticFolder.start(out, run, overwrite=overwrite) as folder:
        finished = folder.finished()
        todo = [spec for spec in specs if spec.image_id not in finished]
        failed = _draw(synthesizer, folder, todo, of=len(specs))
        folder.finish([spec.image_id for spec in specs])
        dropped = _implausible(folder, settings.filter)
        folder.publish(label_set, dropped=dropped)
    return Summary(
        folder=out,
        asked=len(specs),
        resumed=len(specs) - len(todo),
        written=len(todo) - len(failed),
        failed=failed,
        dropped=dropped,
    )


def implausible(record: ImageRecord, bounds: FilterSettings) -> str | None:
    """Return why an image's mask is implausible, or None where it is not.

    Each of its categories must take a share of the image within the bounds, and be sure enough.
    """
    drawing = record.drawing
    if drawing is None:
        return None
    measured = zip(record.categories, drawing.areas, drawing.confidences, strict=True)
    for name, area, confidence in measured:
        if not bounds.min_area <= area <= bounds.max_area:
            return (
                f"{name} takes {area:.1%} of the image, not {bounds.min_area:.1%} to "
                f"{bounds.max_area:.1%}"
            )
        if confidence < bounds.min_confidence:
            return f"the confidence in {name} is {confidence:.2f}, under {bounds.min_confidence:g}"
    return None


def _names(settings: Settings) -> tuple[str, ...]:
    if not settings.categories:
        raise SettingsError('there is nothing to draw; pass --categories "cat, dog"')
    return settings.categories


def _known(settings: Settings) -> LabelSet:
    """Return the table that known names are looked up in."""
    return load_label_set(settings.label_set or dataset_info(settings.dataset).label_sets[0])


def _draw(
    synthesizer: Synthesizer, folder: SyntheticFolder, todo: Sequence[ImageSpec], *, of: int
) -> dict[str, str]:
    """Draw and write the images, batch by batch; return what is wrong with those that failed."""
    failed: dict[str, str] = {}
    bar: tqdm[NoReturn] = tqdm(total=of, initial=of - len(todo), unit="image", disable=None)
    with bar:
        for batch in batches(todo, synthesizer.batch_size):
            for spec, picture in zip(batch, _paint(synthesizer, batch), strict=True):
                if not picture.finite:
                    failed[spec.image_id] = OVERFLOW
                    bar.set_postfix(failed=len(failed), refresh=False)
                _write(folder, synthesizer, spec, picture)
                bar.update()
    return failed


def _paint(synthesizer: Synthesizer, batch: Sequence[ImageSpec]) -> list[SyntheticImage]:
    try:
        return synthesizer.synthesize_batch(batch)
    except torch.OutOfMemoryError:
        raise SettingsError(
            f"{synthesizer.batch_size} images do not fit into the memory of "
            f"{synthesizer.model.device}; pass a smaller --batch-size (finished images stay, with "
            "--overwrite they are made again)"
        ) from None


def _write(
    folder: SyntheticFolder, synthesizer: Synthesizer, spec: ImageSpec, picture: SyntheticImage
) -> None:
    names = tuple(category.name for category in spec.categories)
    if not picture.finite:
        record = ImageRecord(spec.image_id, None, names, "failed", OVERFLOW)
        folder.write_drawn(record, None, None)
        return
    drawing = Drawing(
        prompt=picture.prompt,
        seed=spec.seed,
        areas=tuple(round(area, 6) for area in picture.areas),
        confidences=tuple(round(confidence, 6) for confidence in picture.confidences),
    )
    folder.write_drawn(
        ImageRecord(spec.image_id, picture.mask.size, names, "done", drawing=drawing),
        encode_picture(
            picture.image, kind=synthesizer.settings.synthesis.image_format, quality=JPEG_QUALITY
        ),
        encode_mask(
            picture.mask,
            None if synthesizer.settings.png == "grey" else synthesizer.label_set.palette,
        ),
    )


def _implausible(folder: SyntheticFolder, bounds: FilterSettings) -> dict[str, str]:
    """Return the finished images that the filter drops, with its reasons; none if it is off."""
    if not bounds.enabled:
        return {}
    reasons = {i: implausible(folder.records[i], bounds) for i in sorted(folder.finished())}
    return {image_id: reason for image_id, reason in reasons.items() if reason is not None}
