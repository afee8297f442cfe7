"""The command `iseg sweep`: scores every setting of a grid on the same images."""

from pathlib import Path

import click

from iseg_cli.cli import options
from iseg_cli.cli.messages import echo_failed
from iseg_cli.image_labels import SPECS

EXAMPLES = """\b
Examples:
  iseg sweep --dataset emoji-voc --grid refine.mode=naive,iterative --grid refine.iterations=0:12
  iseg sweep --dataset voc --grid ent_self.step_size=0,0.005,0.01,0.02,0.05 --limit 200
  iseg sweep --config paper/voc --grid cat_cross.gamma=1,1.2,1.4,1.6,1.8,2 --out sweeps/gamma
  iseg sweep --dataset emoji-voc --grid refine.mode=single,iterative --seeds 10

A sweep scores all combinations of several --grid. docs/settings.md lists the settings;
docs/sweep.md has examples. To resume a sweep, start the same command again. Another grid in the
same folder computes only the missing scores.

Exit codes: 0 done; 1 done, but some images failed (they are listed); 2 wrong usage or input.
"""

_SPECS = [spec for spec in SPECS if spec != "clip"]
"""The values of --labels; a sweep does not look for labels with CLIP."""


@click.command(epilog=EXAMPLES)
@options.dataset
@click.option(
    "--grid",
    "grids",
    multiple=True,
    metavar="NAME=VALUES",
    help="A setting and its values: V1,V2,V3, or FIRST:LAST or FIRST:LAST:STEP for integers.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    help="Score every setting with the seeds 0 to N - 1, for mean and standard deviation.",
)
@options.root
@options.split
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of counts and results.  [default: sweeps/<dataset>-<split>; an unusual task is "
    "added]",
)
@options.configs
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="One setting for all the grid.",
)
@options.model
@click.option(
    "--task",
    type=click.Choice(["wsss", "open-vocabulary"]),
    help="The dataset's preset for this task.  [default: the dataset's usual task]",
)
@click.option("--labels", help=f"Image-level labels: {', '.join(_SPECS[:-1])} or {_SPECS[-1]}.")
@click.option("--label-set", help="One of the dataset's category tables; from-json for coco.")
@options.batch_size
@options.limit
@options.device
@options.dtype
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Threads that decode images and ground truth.  [default: 4]",
)
@click.option("--overwrite", is_flag=True, help="Replace counts of another base in the folder.")
@click.option(
    "--format",
    "style",
    type=click.Choice(["table", "csv", "json", "markdown"]),
    default="table",
    show_default=True,
    help="Format of the printed scores.",
)
@click.pass_context
def sweep(
    context: click.Context,
    /,
    grids: tuple[str, ...],
    seeds: int | None,
    configs: tuple[str, ...],
    assignments: tuple[str, ...],
    out: Path | None,
    limit: int | None,
    overwrite: bool,
    style: str,
    **given: object,
) -> None:
    """Score every setting of a grid on a split with ground truth.

    Settings that share their attention share one forward of the model for each image. The settings
    of prompt, cat_cross, capture, cluster and seed need a forward for each value. The folder gets
    sweep.json, sweep.csv, sweep.md, sweep.png, and counts.jsonl, from which a sweep resumes.
    """
    from iseg_cli.config.resolve import resolve_settings
    from iseg_cli.sweep import default_sweep_folder
    from iseg_cli.sweep import sweep as score
    from iseg_cli.sweep.grid import build_grid
    from iseg_cli.sweep.result import render

    base = resolve_settings(
        configs,
        assignments,
        {
            "dataset": given["dataset"],
            "root": given["root"],
            "split": given["split"],
            "model": given["model"],
            "task": given["task"],
            "labels": given["labels"],
            "label_set": given["label_set"],
            "runtime.batch_size": given["batch_size"],
            "runtime.device": given["device"],
            "runtime.dtype": given["dtype"],
            "runtime.workers": given["workers"],
        },
        find_backbone=options.find_backbone,
    )
    folder = out or default_sweep_folder(base)
    result = score(
        base,
        build_grid(base, grids, seeds=seeds),
        out=folder,
        limit=limit,
        overwrite=overwrite,
        tell=lambda text: click.echo(text, err=True),
    )
    click.echo(render(result, style), nl=False)
    click.echo(f"Results: {folder}", err=True)
    echo_failed(result.failed)
    if result.failed:
        click.echo(
            f"{len(result.failed)} images failed; no score includes them.",
            err=True,
        )
        context.exit(1)
