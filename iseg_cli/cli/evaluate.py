"""`iseg evaluate`: scores masks against ground truth."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from iseg_cli.cli import options
from iseg_cli.errors import IsegError, PredictionsError, first_of
from iseg_cli.evaluation import ABSENT_CLASSES, FORMATS, MATCHINGS

if TYPE_CHECKING:
    from iseg_cli.evaluation.report import Report

EXAMPLES = """\b
Examples:
  iseg evaluate predictions/voc-train
  iseg evaluate predictions/voc-train --format html --out report.html
  iseg evaluate predictions/voc-train --fail-under 0.48
  iseg evaluate predictions/coco-train2014 --workers 16
  iseg evaluate masks/ --dataset voc --split val --root VOCdevkit/VOC2012

Exit codes: 0 done; 1 below --fail-under; 2 wrong usage or input.
"""


@click.command(epilog=EXAMPLES)
@click.argument("predictions", type=click.Path(path_type=Path, file_okay=False))
@click.option("--dataset", help="Dataset name; by default the run's dataset.")
@click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False),
    help="The dataset's folder; by default the run's, then ISEG_<DATASET>_ROOT.",
)
@click.option(
    "--split",
    help="Split of the dataset; by default the run's. Masks of other images are not scored.",
)
@click.option(
    "--label-set",
    help="Which of the dataset's category tables, such as cityscapes-27; from-json for coco.",
)
@options.categories("Names of the labels 1, 2 ..., separated by commas; for --dataset folder.")
@click.option(
    "--truth",
    "ground_truth",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of ground truth <image_id>.png; for --dataset folder.",
)
@click.option(
    "--matching",
    type=click.Choice(MATCHINGS),
    help="Match segments without names to classes, per image or once over the dataset; "
    "by default image for an unsupervised run, none otherwise.",
)
@click.option(
    "--absent-classes",
    type=click.Choice(ABSENT_CLASSES),
    default="count",
    show_default=True,
    help="Classes that are predicted but absent from the ground truth: count them in the mean IoU "
    "with 0, or skip them as iSeg's released code does.",
)
@click.option(
    "--format",
    "style",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="How the report is written.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the report to a file instead of printing it.",
)
@click.option("--confusion", is_flag=True, help="Add the confusion matrix, in pixels.")
@click.option(
    "--allow-missing",
    is_flag=True,
    help="Score the images that can be scored, and report the others; by default a folder with "
    "such others is refused.",
)
@click.option(
    "--fail-under",
    type=click.FloatRange(0, 1),
    metavar="MIOU",
    help="End with exit code 1 when the mIoU is lower; a fraction such as 0.48.",
)
@click.option(
    "--workers",
    metavar="N|auto",
    default="auto",
    show_default=True,
    callback=options.number_or_auto,
    help="Processes that score; auto chooses by the number of pixels, up to the number of cores.",
)
@click.pass_context
def evaluate(
    context: click.Context,
    predictions: Path,
    dataset: str | None,
    root: Path | None,
    split: str | None,
    label_set: str | None,
    categories: tuple[str, ...] | None,
    ground_truth: Path | None,
    matching: str | None,
    absent_classes: str,
    style: str,
    out: Path | None,
    confusion: bool,
    allow_missing: bool,
    fail_under: float | None,
    workers: int | str,
) -> None:
    """Score masks against ground truth: IoU by class, mIoU, accuracies.

    PREDICTIONS is the output folder of `iseg generate` or a folder of such folders. With
    --dataset it may be any folder of PNG masks <image_id>.png. The report has the scores and their
    protocol; it is also written to report.json in the folder.
    """
    from iseg_cli.evaluation.evaluate import evaluate as score
    from iseg_cli.evaluation.formats import render_all
    from iseg_cli.evaluation.opening import find_runs
    from iseg_cli.storage import write_atomically

    reports: dict[str, Report] = {}
    refused: list[str] = []
    runs = find_runs(predictions)
    for run in runs:
        try:
            reports[str(run)] = score(
                run,
                dataset=dataset,
                root=root,
                split=split,
                label_set=label_set,
                categories=categories,
                ground_truth=ground_truth,
                matching=matching,
                absent_classes=absent_classes,
                allow_missing=allow_missing,
                workers=None if isinstance(workers, str) else workers,
            )
        except IsegError as error:
            if len(runs) == 1:
                raise
            refused.append(str(error))
    if reports:
        text = render_all(reports, style, confusion=confusion, named=len(runs) > 1)
        if out is None:
            click.echo(text, nl=False)
        else:
            write_atomically(out, text.encode())
            click.echo(f"wrote {out}", err=True)
    for name, scored in reports.items():
        where = f"{name}: " if len(runs) > 1 else ""
        for note in scored.protocol["notes"]:
            click.echo(f"note: {where}{note}", err=True)
    if refused:
        raise PredictionsError(
            f"{len(refused)} of {len(runs)} runs cannot be scored: {first_of(refused)}"
        )
    if fail_under is None:
        return
    low = {name: r.miou for name, r in reports.items() if r.miou is None or r.miou < fail_under}
    for name, miou in low.items():
        found = "none" if miou is None else f"{miou:.4f}"
        click.echo(f"mIoU of {name} is {found}, below {fail_under:g}", err=True)
    context.exit(1 if low else 0)
