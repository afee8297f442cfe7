"""`iseg benchmark`: how fast masks are made and scored here."""

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
"""The options that are settings of the same name."""


def batch_sizes(
    context: click.Context, parameter: click.Parameter, value: str
) -> tuple[int, ...] | None:
    """Return batch sizes in rising order; None for `auto`; a usage error for anything else."""
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
    help="How many go through each loop.  [default: 256 on CUDA, else 128, or 4 for a large model]",
)
@click.option(
    "--batch-size",
    "sizes",
    callback=batch_sizes,
    default="auto",
    show_default=True,
    metavar="N,N,...|auto",
    help="auto: 1, 2, 4 ... until it no longer pays.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="How often each loop runs; the median counts.",
)
@options.device
@options.dtype
@click.option(
    "--vae",
    help="own, or taesd, a hub id or a folder: a tiny autoencoder, but not for the plain path, so "
    "that masks may differ.  [default: own]",
)
@click.option(
    "--compile", is_flag=True, default=None, help="Compile the model, but not the plain path."
)
@click.option(
    "--config",
    "configs",
    multiple=True,
    metavar="FILE|PRESET",
    help="Settings laid over the model's usual ones (a YAML file), or a preset in their place.",
)
@options.assignments
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("benchmarks"),
    show_default=True,
    help="Folder of benchmark.json and benchmark.png.",
)
@click.option("--skip-reference", is_flag=True, help="Leave out the plain path to compare with.")
@click.option(
    "--fail-under-speedup",
    type=click.FloatRange(min=0),
    metavar="X",
    help="End with exit code 1 where masks are made less than X times as fast as the plain path.",
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

    Every batch size runs iseg generate itself over the same images, beside a plain path with the
    same weights; the masks of both are compared. Each stage is timed by itself, and a large matrix
    product tells how fast the device could be at most.
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
