"""The command `iseg synthesize`: a dataset of generated images with their masks."""

from pathlib import Path

import click

from iseg_cli.cli import options

EXAMPLES = """\b
Examples:
  iseg synthesize --categories "cat, dog" --per-category 100 --out synthetic
  iseg synthesize --categories "cat, dog, sofa" --objects 1-2 --filter --out synthetic
  iseg synthesize --categories "cat, dog" --model tiny --per-category 20 --out synthetic
  iseg generate --dataset voc --root synthetic --labels prompts:synthetic/prompts.json

For other prompts, pass --config FILE with `synthesis: {templates: ["a drawing of {}"]}`.
docs/settings.md lists the settings for --set. To resume a run, start the same command again. A
greater --per-category adds images. The lists are written again, with or without --filter.

Exit codes: 0 done; 1 done, but some images failed (they are listed); 2 wrong usage or input.
"""


def _objects(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """Return the bounds of a range such as `2` or `1-3`; a usage error for another text."""
    if value is None:
        return None
    least, _dash, greatest = value.partition("-")
    if not least.isdecimal() or not (greatest or least).isdecimal():
        raise click.BadParameter(f"{value} is neither a number such as 1 nor a range such as 1-2")
    return int(least), int(greatest or least)


@click.command(epilog=EXAMPLES)
@options.categories(
    "Categories, separated by commas; names of VOC's classes keep VOC's labels and words.",
    required=True,
)
@click.option(
    "--per-category",
    type=click.IntRange(1, 1_000_000),
    default=100,
    show_default=True,
    help="Images for each category.",
)
@click.option(
    "--objects",
    callback=_objects,
    metavar="N|N-M",
    help="Number of categories in an image; the others are random.  [default: 1]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("synthetic"),
    show_default=True,
    help="Folder of the dataset.",
)
@click.option(
    "--filter",
    "filtered",
    is_flag=True,
    default=None,
    help="Exclude images with an implausible mask from the list `train`.",
)
@click.option(
    "--config",
    "configs",
    multiple=True,
    metavar="FILE|PRESET",
    help="A YAML file of settings over the model's preset, or another preset.",
)
@options.assignments
@options.model
@click.option("--label-set", help="Category table that names are looked up in.  [default: voc]")
@options.batch_size
@options.device
@options.dtype
@options.png
@click.option("--overwrite", is_flag=True, help="Replace images of other settings in the folder.")
@click.pass_context
def synthesize(
    context: click.Context,
    /,
    per_category: int,
    objects: tuple[int, int] | None,
    out: Path,
    filtered: bool | None,
    configs: tuple[str, ...],
    assignments: tuple[str, ...],
    overwrite: bool,
    **given: object,
) -> None:
    """Generate images of some categories, with pixel masks from the model's own attention.

    The dataset has VOC's layout: JPEGImages, SegmentationClass, ImageSets. The folder also has
    prompts.json and labels.json (each image's prompt and categories), categories.yaml (what the
    labels mean), run.json (the provenance) and images.jsonl (seeds, areas, confidences).
    """
    from iseg_cli.config.resolve import resolve_synthesis
    from iseg_cli.synthesis.synthesize import synthesize

    settings = resolve_synthesis(
        configs,
        assignments,
        {
            "categories": given["categories"],
            "model": given["model"],
            "label_set": given["label_set"],
            "png": given["png"],
            "synthesis.objects": objects,
            "filter.enabled": filtered,
            "runtime.batch_size": given["batch_size"],
            "runtime.device": given["device"],
            "runtime.dtype": given["dtype"],
        },
        find_backbone=options.find_backbone,
    )
    summary = synthesize(settings, out=out, per_category=per_category, overwrite=overwrite)
    resumed = f", {summary.resumed} were there already" if summary.resumed else ""
    click.echo(f"{summary.written} images with masks written to {summary.folder}{resumed}.")
    for image_id, reason in summary.dropped.items():
        click.echo(f"dropped: {image_id}: {reason}", err=True)
    if settings.filter.enabled:
        lists = summary.folder / "ImageSets" / "Segmentation"
        click.echo(
            f"{len(summary.dropped)} images are in {lists / 'dropped.txt'}, not in train.txt."
        )
    for image_id, reason in summary.failed.items():
        click.echo(f"failed: {image_id}: {reason}", err=True)
    if summary.failed:
        click.echo(f"{len(summary.failed)} of {summary.asked} images failed.", err=True)
        context.exit(1)
