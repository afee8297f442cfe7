"""`iseg benchmark`: how fast this machine makes masks and scores them."""

from pathlib import Path

import click

from iseg_cli.cli import options

EXAMPLES = """\b
Examples:
  iseg benchmark
  iseg benchmark --batch-size 1,2,4,8 --images 64 --fail-under-speedup 1.5
  iseg benchmark --model sd2.1-architecture --device cpu --images 2 --rounds 1
  iseg benchmark --model sd2.1-base --dtype bfloat16 --out benchmarks/h200
  iseg benchmark --part scoring

docs/performance.md explains every figure.

Exit codes: 0 done; 1 below --fail-under-speedup; 2 wrong usage or input.
"""

SETTINGS = ("model", "dataset", "root", "split", "vae", "compile")
"""Options that set the setting of the same name."""


def batch_sizes(
    context: click.Context, parameter: click.Parameter, value: str
) -> tuple[int, ...] | None:
    """Return sorted batch sizes; None for `auto`; a usage error for any other value."""
    if value == "auto":
        return None
    parts = value.split(",")
    if not all(part.strip().isdecimal() and int(part) >= 1 for part in parts):
        raise click.BadParameter(f"{value} is neither auto nor numbers from 1 on, such as 1,2,4")
    return tuple(sorted({int(part) for part in parts}))


@click.command(epilog=EXAMPLES)
@click.option(
    "--part",
    type=click.Choice(["masks", "scoring", "all"]),
    default="all",
    show_default=True,
    help="What is measured: making masks, scoring them, or both.",
)
@click.option(
    "--model",
    help="tiny, sd2.1-architecture (random weights, nothing is downloaded), sd2.1-base, a hub id "
    "or a folder.  [default: sd2.1-architecture on CUDA, else tiny]",
)
@click.option("--dataset", help="Whose images are segmented.  [default: emoji-voc]")
@options.root
@options.split
@click.option(
    "--images",
    type=click.IntRange(min=2),
    help="The number of images of each loop.  "
    "[default: 256 on CUDA, else 128; 4 for a large model]",
)
@click.option(
    "--batch-size",
    "sizes",
    callback=batch_sizes,
    default="auto",
    show_default=True,
    metavar="N,N,...|auto",
    help="auto: 1, 2, 4 ... while larger sizes are faster.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="How many times each loop runs; the median is reported.",
)
@options.device
@options.dtype
@click.option(
    "--vae",
    help="own, or a tiny autoencoder: taesd, a hub id or a folder. The plain path always uses the "
    "model's own, so masks may differ.  [default: own]",
)
@click.option(
    "--compile",
    is_flag=True,
    default=None,
    help="Compile the model. The plain path is not compiled.",
)
@click.option(
    "--config",
    "configs",
    multiple=True,
    metavar="FILE|PRESET",
    help="A YAML file with settings to change, or a preset in place of the model's usual one.",
)
@options.assignments
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("benchmarks"),
    show_default=True,
    help="Folder of benchmark.json and benchmark.png.",
)
@click.option("--skip-reference", is_flag=True, help="Leave out the plain path.")
@click.option(
    "--fail-under-speedup",
    type=click.FloatRange(min=0),
    metavar="X",
    help="End with exit code 1 if masks are made less than X times as fast as by the plain path.",
)
@click.pass_context
def benchmark(
    context: click.Context,
    /,
    part: str,
    images: int | None,
    sizes: tuple[int, ...] | None,
    rounds: int,
    configs: tuple[str, ...],
    assignments: tuple[str, ...],
    out: Path,
    skip_reference: bool,
    fail_under_speedup: float | None,
    **given: object,
) -> None:
    """Measure how fast this machine makes masks and scores them.

    For every batch size, iseg generate runs over the same images. A plain path with the same
    weights runs over them, too, and the masks of both are compared. Each stage is timed alone. The
    rate of a large matrix product shows the limit of the device.
    """
    if fail_under_speedup is not None and (skip_reference or part == "scoring"):
        raise click.UsageError("--fail-under-speedup needs masks and their plain path")
    from iseg_cli.benchmark import report
    from iseg_cli.benchmark.plan import BenchmarkPlan, benchmark_settings

    plan = None
    if part != "scoring":
        named = {
            **{name: given[name] for name in SETTINGS},
            **{f"runtime.{name}": given[name] for name in ("device", "dtype")},
        }
        settings = benchmark_settings(configs, assignments, named, tell=options.note)
        plan = BenchmarkPlan(settings, images, sizes, rounds, with_plain=not skip_reference)

    def tell(line: str) -> None:
        click.echo(f"{line} ...", err=True)

    found = report.measure(plan, with_scoring=part != "masks", tell=tell)
    click.echo(report.as_text(found))
    for line in report.write(found, out):
        click.echo(line, err=True)
    speedup = None if found.masks is None else found.masks.speedup
    if fail_under_speedup is not None and speedup is not None and speedup < fail_under_speedup:
        click.echo(f"{speedup:.2f} times the plain path, below {fail_under_speedup:g}", err=True)
        context.exit(1)
