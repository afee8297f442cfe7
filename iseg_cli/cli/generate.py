"""The command `iseg generate`: masks for a dataset."""

from pathlib import Path
from typing import Any, Literal

import click

from iseg_cli.cli import options
from iseg_cli.cli.messages import echo_failed, echo_notes, printable
from iseg_cli.cli.options import Command
from iseg_cli.image_labels import SPECS
from iseg_cli.storage import Shard
from iseg_cli.storage.writers import OUTPUT_WRITERS, Outputs

EXAMPLES = """\b
Examples:
  iseg generate --dataset emoji-voc --overlays
  iseg generate --dataset voc --root VOCdevkit/VOC2012 --split train
  iseg generate --dataset coco --labels annotations --batch-size 8 --rle coco.json
  iseg generate --dataset voc --config paper/voc --set refine.iterations=12
  iseg generate --dataset context --task open-vocabulary
  iseg generate --dataset emoji-voc --task unsupervised
  iseg generate --dataset coco --engine ray --workers 8
  iseg generate --dataset coco --shard 3/8
  iseg generate --dataset folder --root pictures --categories "corgi, surfboard" --labels clip

docs/settings.md lists the settings for --set. To resume a run, start the same command again.

Exit codes: 0 done; 1 done, but some images failed (they are listed); 2 wrong usage or input.
"""


def _shard(_: click.Context, __: click.Parameter, value: str | None) -> Shard | None:
    """Return the shard of a text such as 3/8; a usage error for another text."""
    try:
        return None if value is None else Shard.parse(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}; pass 1/8, 2/8 ... 8/8 to eight processes") from None


def _output_options(command: Command) -> Command:
    """Return a command with an option for each kind of output besides the masks."""
    for kind in reversed(OUTPUT_WRITERS):
        how: dict[str, Any] = {"is_flag": True}
        if kind.takes_file:
            how = {"type": click.Path(path_type=Path, dir_okay=False)}
        command = click.option(f"--{kind.name}", help=kind.help, **how)(command)
    return command


@click.command(epilog=EXAMPLES)
@options.dataset
@options.root
@options.split
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Output folder.  [default: predictions/<dataset>-<split>; an unusual task is added]",
)
@options.configs
@options.assignments
@options.model
@click.option(
    "--task",
    type=click.Choice(["wsss", "open-vocabulary", "unsupervised"]),
    help="The dataset's preset for this task.  [default: the dataset's usual task]",
)
@click.option("--labels", help=f"Image-level labels: {', '.join(SPECS[:-1])} or {SPECS[-1]}.")
@click.option(
    "--label-set",
    help="One of the dataset's category tables; any table for folder, from-json for coco.",
)
@options.categories("Categories to segment, separated by commas; for --dataset folder.")
@options.batch_size
@options.limit
@options.device
@options.dtype
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Local: threads that decode images and write masks.  [default: 4]  Ray: processes, each "
    "with a model.  [default: one per GPU; without a GPU, one per CPU]",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Run in this process (local), or in processes of Ray on many GPUs or machines (ray).",
)
@click.option(
    "--ray-address",
    metavar="ADDRESS",
    help="Ray cluster to join: auto or HOST:PORT.  [default: Ray starts on this machine]",
)
@click.option(
    "--shard",
    callback=_shard,
    metavar="I/N",
    help="Segment only part I of N parts of the images; all parts may share the output folder.",
)
@options.vae
@options.compiled
@click.option("--overwrite", is_flag=True, help="Replace masks of other settings in the folder.")
@options.png
@_output_options
@click.pass_context
def generate(
    context: click.Context,
    /,
    configs: tuple[str, ...],
    assignments: tuple[str, ...],
    out: Path | None,
    limit: int | None,
    overwrite: bool,
    engine: Literal["local", "ray"],
    workers: int | None,
    ray_address: str | None,
    shard: Shard | None,
    **given: Any,
) -> None:
    """Write a pixel mask for every image of a dataset.

    Masks are 8-bit palette or grey PNGs of the images' sizes. The output folder also has run.json
    (the provenance) and images.jsonl (a line per image).
    """
    from iseg_cli.config.resolve import default_folder, resolve_settings
    from iseg_cli.generation.engines import choose_engine
    from iseg_cli.generation.generate import generate
    from iseg_cli.readers.registry import dataset_info

    settings = resolve_settings(
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
            "categories": given["categories"],
            "vae": given["vae"],
            "png": given["png"],
            "compile": given["compiled"],
            "runtime.batch_size": given["batch_size"],
            "runtime.device": given["device"],
            "runtime.dtype": given["dtype"],
            "runtime.workers": workers if engine == "local" else None,
        },
        find_backbone=options.find_backbone,
    )
    split = dataset_info(settings.dataset).default_split
    outputs: Outputs = {
        kind.name: given[kind.name] if kind.takes_file else None
        for kind in OUTPUT_WRITERS
        if given[kind.name]
    }
    summary = generate(
        settings,
        out=out or default_folder(settings, default_split=split),
        limit=limit,
        overwrite=overwrite,
        outputs=outputs,
        shard=shard,
        engine=choose_engine(engine, workers=workers, address=ray_address),
    )
    resumed = f", {summary.resumed} were there already" if summary.resumed else ""
    click.echo(f"{summary.written} masks written to {printable(str(summary.folder))}{resumed}.")
    if summary.smaller_batches is not None:
        click.echo(
            f"Memory did not suffice for more than {summary.smaller_batches} images at a time; "
            "earlier masks stay.",
            err=True,
        )
    if "overlays" in outputs:
        click.echo(f"Overlays: {summary.folder / 'overlays'}")
    echo_notes(summary.notes)
    echo_failed(summary.failed)
    if summary.failed:
        click.echo(f"{len(summary.failed)} of {summary.asked} images failed.", err=True)
        context.exit(1)
