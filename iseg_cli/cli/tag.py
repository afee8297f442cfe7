"""The command `iseg tag`: image-level labels that CLIP finds."""

from pathlib import Path

import click

from iseg_cli.cli import options
from iseg_cli.cli.messages import echo_failed, echo_notes, printable

EXAMPLES = """\b
Examples:
  iseg tag --dataset emoji-voc --out labels.json
  iseg tag --dataset voc --split val --root VOCdevkit/VOC2012 --truth annotations
  iseg tag pictures --categories "corgi, surfboard" --out labels.json
  iseg generate --dataset folder --root pictures --labels file:labels.json

docs/settings.md lists the settings for --set (clip.threshold and so on). To resume a run, start the
same command again. With other thresholds it chooses labels from the scores in the file.

Exit codes: 0 done; 1 done, but some images failed (they are listed); 2 wrong usage or input.
"""


@click.command(epilog=EXAMPLES)
@click.argument("images", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option("--dataset", help="A dataset's name from iseg info; without it, pass IMAGES.")
@options.root
@options.split
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File of the labels.  [default: labels/<dataset>-<split>.json]",
)
@options.configs
@options.assignments
@click.option("--clip", help="tiny-clip, a hub id or a folder in transformers format.")
@click.option(
    "--label-set",
    help="One of the dataset's category tables; any table for folder, from-json for coco.",
)
@options.categories("Categories to look for, separated by commas; for a folder of images.")
@click.option(
    "--truth",
    "ground_truth",
    metavar="SOURCE",
    help="True labels to score against: masks, annotations or file:PATH.  [default: masks, if any]",
)
@click.option(
    "--format",
    "style",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Format of the printed scores.",
)
@click.option(
    "--batch-size",
    callback=options.number_or_auto,
    metavar="N|auto",
    help="Images or crops in a batch.  [default: auto]",
)
@options.limit
@options.device
@click.option(
    "--dtype",
    type=click.Choice(["auto", "float32", "float16", "bfloat16"]),
    help="Number format of CLIP.  [default: float32]",
)
@click.option(
    "--workers", type=click.IntRange(min=1), help="Threads that decode images.  [default: 4]"
)
@click.option("--overwrite", is_flag=True, help="Replace the file, whatever wrote it.")
@click.pass_context
def tag(
    context: click.Context,
    /,
    images: Path | None,
    configs: tuple[str, ...],
    assignments: tuple[str, ...],
    out: Path | None,
    limit: int | None,
    overwrite: bool,
    ground_truth: str | None,
    style: str,
    **given: object,
) -> None:
    """Find the classes in each image with CLIP.

    IMAGES is a folder of images; --categories names the categories to look for. Without IMAGES,
    --dataset names a dataset. The labels go to a JSON file for `iseg generate --labels file:PATH`,
    their scores to a second file next to it. If the true labels are known, the labels are scored.
    """
    from iseg_cli.config.resolve import resolve_settings
    from iseg_cli.evaluation.tag_text import render_tags
    from iseg_cli.tagging.tag import default_file, tag

    if images is not None and (given["dataset"] or given["root"]):
        raise click.UsageError("IMAGES is a folder of images; pass it or --dataset, not both")
    dataset = "folder" if images is not None else given["dataset"]
    settings = resolve_settings(
        configs,
        assignments,
        {
            "dataset": dataset,
            "root": images or given["root"],
            "split": given["split"],
            "label_set": given["label_set"],
            "categories": given["categories"],
            "clip.model": given["clip"],
            "runtime.batch_size": given["batch_size"],
            "runtime.device": given["device"],
            "clip.dtype": given["dtype"],
            "runtime.workers": given["workers"],
        },
        prefer="open-vocabulary",
    )
    done = tag(
        settings,
        out=out or default_file(settings),
        ground_truth=ground_truth,
        limit=limit,
        overwrite=overwrite,
    )
    resumed = f", {done.resumed} of them scored before" if done.resumed else ""
    click.echo(f"{done.labelled} images labelled in {printable(str(done.out))}{resumed}.", err=True)
    if done.report is not None:
        click.echo(render_tags(done.report, style), nl=False)
    echo_notes(done.notes)
    echo_failed(done.failed)
    if done.failed:
        click.echo(f"{len(done.failed)} of {done.asked} images failed.", err=True)
        context.exit(1)
