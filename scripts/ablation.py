"""Prints the paper's ablation on a dataset with ground truth: the tables of docs/method.md.

Without options: the embedded model on emoji-voc val, which takes minutes on a CPU.
"""

from collections.abc import Mapping
from pathlib import Path

import click

from iseg_cli.backbones.loading import load_model
from iseg_cli.config import Settings, load_settings
from iseg_cli.config.presets import choose_preset
from iseg_cli.readers.registry import open_dataset
from iseg_cli.sweep import score_settings

ITERATIONS = (1, 2, 4, 6, 8, 12, 16, 24)
GAMMAS = (1.0, 1.15, 1.3, 1.6, 2.0)


def variants(preset: str, files: tuple[Path, ...]) -> dict[str, Settings]:
    """Return the settings of every row, by its name."""
    base = load_settings(preset, files=files)
    enhanced = base.cat_cross.gamma if base.cat_cross.gamma != 1 else GAMMAS[1]

    def row(mode: str, *, gamma: float, iterations: int | None = None) -> Settings:
        changes = {"refine.mode": mode, "cat_cross.gamma": gamma, "refine.iterations": iterations}
        return load_settings(preset, files=files, overrides=changes)

    rows = {
        "raw cross-attention": row("none", gamma=1.0),
        "single product (baseline)": row("single", gamma=1.0),
        "Ent-Self": row("iterative", gamma=1.0),
        f"Cat-Cross, gamma {enhanced:g}": row("single", gamma=enhanced),
        f"Ent-Self and Cat-Cross, gamma {enhanced:g}": row("iterative", gamma=enhanced),
    }
    for count in ITERATIONS:
        rows[f"naive, N = {count}"] = row("naive", gamma=1.0, iterations=count)
        rows[f"Ent-Self, N = {count}"] = row("iterative", gamma=1.0, iterations=count)
    for gamma in GAMMAS:
        rows[f"gamma = {gamma:g}"] = row("iterative", gamma=gamma)
    return rows


def table(miou: Mapping[str, float]) -> str:
    """Return three Markdown tables: the parts, iterations, gamma."""
    parts = [name for name in miou if "=" not in name]
    lines = ["| | mIoU |", "|---|---|", *(f"| {name} | {miou[name]:.1%} |" for name in parts), ""]
    lines += ["| N | naive | Ent-Self |", "|---|---|---|"]
    lines += [
        f"| {n} | {miou[f'naive, N = {n}']:.1%} | {miou[f'Ent-Self, N = {n}']:.1%} |"
        for n in ITERATIONS
    ]
    lines += ["", "| gamma | mIoU |", "|---|---|"]
    lines += [f"| {gamma:g} | {miou[f'gamma = {gamma:g}']:.1%} |" for gamma in GAMMAS]
    return "\n".join(lines).replace("%", "")


@click.command()
@click.option("--dataset", default="emoji-voc", show_default=True)
@click.option("--root", type=click.Path(path_type=Path, file_okay=False))
@click.option("--split", help="By default the preset's.")
@click.option("--model", help="By default the preset's.")
@click.option("--config", "files", multiple=True, type=click.Path(path_type=Path, exists=True))
@click.option("--batch-size", default=8, show_default=True)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N images.")
def run(
    dataset: str,
    root: Path | None,
    split: str | None,
    model: str | None,
    files: tuple[Path, ...],
    batch_size: int,
    limit: int | None,
) -> None:
    """Score raw attention, the parts of the method, N and gamma, in one pass over the images."""
    rows = variants(choose_preset(dataset, "wsss"), files)
    settings = next(iter(rows.values()))
    reader = open_dataset(dataset, root=root, split=split or settings.split)
    loaded = load_model(model or settings.model)
    counts = score_settings(loaded, reader, rows, batch_size=batch_size, limit=limit)
    images = min(limit or len(reader), len(reader))
    click.echo(f"{dataset} {reader.split}, {images} images, model {loaded.name}, mIoU in %\n")
    click.echo(table({name: confusion.miou() for name, confusion in counts.items()}))


if __name__ == "__main__":
    run()
