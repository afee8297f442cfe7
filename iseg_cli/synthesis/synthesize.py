"""`iseg synthesize`: a resumable run that writes a synthetic dataset in VOC's layout."""

from collections.abc import Sequence
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
from iseg_cli.readers.label_tables import load_label_set
from iseg_cli.readers.registry import dataset_info
from iseg_cli.storage import (
    Drawing,
    ImageRecord,
    SyntheticFolder,
    encode_mask,
    encode_picture,
)
from iseg_cli.synthesis.image_specs import ImageSpec, label_set_for, plan_images
from iseg_cli.synthesis.summary import SynthesisSummary
from iseg_cli.synthesis.synthesizer import Synthesizer, SyntheticImage
from iseg_cli.types import LabelSet

JPEG_QUALITY = 95
"""The quality of images: models are trained on them."""

OVERFLOW = "the decoder gave values that are no numbers (NaN); pass --dtype float32 or bfloat16"


def synthesize(
    settings: Settings, *, out: Path, per_category: int, overwrite: bool = False
) -> SynthesisSummary:
    """Write a dataset in VOC's layout; a second call resumes the first, or adds images.

    A run may be stopped at any moment; finished images stay finished. The filter only decides which
    list names an image, so its bounds may change between two runs.

    Args:
        settings: the categories, the model, the method and the use of the machine.
        out: the folder of the dataset.
        per_category: images for each category.
        overwrite: replace what another run wrote there.

    Raises:
        IsegError: a category, model, setting or folder that cannot be used.
    """
    if settings.fusion != "none":
        raise SettingsError("fusion with CLIP needs existing images; leave it to iseg generate")
    label_set = label_set_for(_names(settings), _known(settings))
    specs = plan_images(
        label_set, settings.synthesis, per_category=per_category, seed=settings.seed
    )
    model = open_model(settings, decoder=True)
    earlier = None if overwrite else earlier_batch_size(out)
    batch_size = choose_batch_size(settings, model, earlier=earlier)
    configure_threads(model.device, batch_size)
    synthesizer = Synthesizer(model, settings, label_set, batch_size=batch_size)
    for spec in specs:
        synthesizer.prompt(spec)  # raises now if a prompt is too long
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
        failed = _generate(synthesizer, folder, todo, of=len(specs))
        folder.finish([spec.image_id for spec in specs])
        dropped = _implausible(folder, settings.filter)
        folder.publish(label_set, dropped=dropped)
    return SynthesisSummary(
        folder=out,
        asked=len(specs),
        resumed=len(specs) - len(todo),
        written=len(todo) - len(failed),
        failed=failed,
        dropped=dropped,
    )


def implausible(record: ImageRecord, bounds: FilterSettings) -> str | None:
    """Return why an image's mask is implausible; None for a plausible mask.

    Each category's area and confidence must lie within the bounds.
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
        raise SettingsError('synthesis needs categories; pass --categories "cat, dog"')
    return settings.categories


def _known(settings: Settings) -> LabelSet:
    """Return the category table that names are looked up in."""
    return load_label_set(settings.label_set or dataset_info(settings.dataset).label_sets[0])


def _generate(
    synthesizer: Synthesizer, folder: SyntheticFolder, todo: Sequence[ImageSpec], *, of: int
) -> dict[str, str]:
    """Generate and write the images in batches; return the reasons of failures, by image id."""
    failed: dict[str, str] = {}
    bar: tqdm[NoReturn] = tqdm(total=of, initial=of - len(todo), unit="image", disable=None)
    with bar:
        for batch in batches(todo, synthesizer.batch_size):
            for spec, generated in zip(batch, _synthesize(synthesizer, batch), strict=True):
                if not generated.finite:
                    failed[spec.image_id] = OVERFLOW
                    bar.set_postfix(failed=len(failed), refresh=False)
                _write(folder, synthesizer, spec, generated)
                bar.update()
    return failed


def _synthesize(synthesizer: Synthesizer, batch: Sequence[ImageSpec]) -> list[SyntheticImage]:
    try:
        return synthesizer.synthesize_batch(batch)
    except torch.OutOfMemoryError:
        raise SettingsError(
            f"{synthesizer.batch_size} images do not fit into the memory of "
            f"{synthesizer.model.device}; pass a smaller --batch-size (finished images stay, with "
            "--overwrite they are made again)"
        ) from None


def _write(
    folder: SyntheticFolder, synthesizer: Synthesizer, spec: ImageSpec, generated: SyntheticImage
) -> None:
    names = tuple(category.name for category in spec.categories)
    if not generated.finite:
        record = ImageRecord(spec.image_id, None, names, "failed", OVERFLOW)
        folder.write_image(record, None, None)
        return
    drawing = Drawing(
        prompt=generated.prompt,
        seed=spec.seed,
        areas=tuple(round(area, 6) for area in generated.areas),
        confidences=tuple(round(confidence, 6) for confidence in generated.confidences),
    )
    folder.write_image(
        ImageRecord(spec.image_id, generated.mask.size, names, "done", drawing=drawing),
        encode_picture(
            generated.image, kind=synthesizer.settings.synthesis.image_format, quality=JPEG_QUALITY
        ),
        encode_mask(
            generated.mask,
            None if synthesizer.settings.png == "grey" else synthesizer.label_set.palette,
        ),
    )


def _implausible(folder: SyntheticFolder, bounds: FilterSettings) -> dict[str, str]:
    """Return why the filter drops finished images, by image id; nothing without the filter."""
    if not bounds.enabled:
        return {}
    reasons = {i: implausible(folder.records[i], bounds) for i in sorted(folder.finished())}
    return {image_id: reason for image_id, reason in reasons.items() if reason is not None}
