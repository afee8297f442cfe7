"""`iseg config`: the settings of a command, and where they come from."""

from typing import TYPE_CHECKING

import click

from iseg_cli.cli import options

if TYPE_CHECKING:
    from iseg_cli.config.loading import Resolved

EXAMPLES = """\b
Examples:
  iseg config show --dataset voc
  iseg config show --dataset voc --model tiny --set refine.iterations=12
  iseg config show --dataset folder --task open-vocabulary --config mine.yaml --format json

Exit codes: 0 done; 2 wrong usage or input.
"""

GROUP_EXAMPLE = """\b
Example:
  iseg config show --dataset voc
"""


@click.group(epilog=GROUP_EXAMPLE)
def config() -> None:
    """Show the settings of a command, and where they come from."""


@config.command(epilog=EXAMPLES)
@options.dataset
@click.option(
    "--task",
    type=click.Choice(["wsss", "open-vocabulary", "unsupervised"]),
    help="Chooses among the dataset's presets.  [default: the dataset's usual one]",
)
@options.model
@options.configs
@options.assignments
@click.option(
    "--format",
    "style",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How the settings are printed.",
)
def show(
    configs: tuple[str, ...], assignments: tuple[str, ...], style: str, **given: str | None
) -> None:
    """Print every setting of a run, its value and where the value comes from.

    The order of precedence, lowest first: the defaults, the backbone (what is read of the model),
    the preset of the dataset and its task, --config files, options, --set. No model is loaded.
    """
    from iseg_cli.config.resolve import resolve

    resolved = resolve(configs, assignments, given, find_backbone=options.find_backbone)
    click.echo(_json(resolved) if style == "json" else _table(resolved))


def _values(resolved: "Resolved") -> dict[str, object]:
    """Return the value of every setting as a plain JSON value, by its dotted name."""
    from iseg_cli.config import to_dict

    values: dict[str, object] = {}
    for name in resolved.origins:
        value: object = to_dict(resolved.settings)
        for part in name.split("."):
            value = value[part] if isinstance(value, dict) else None
        values[name] = value
    return values


def _json(resolved: "Resolved") -> str:
    import json

    rows = {
        name: {"value": value, "origin": resolved.origins[name]}
        for name, value in _values(resolved).items()
    }
    return json.dumps(rows, indent=2, ensure_ascii=False)


def _table(resolved: "Resolved") -> str:
    """Return a line for each setting; a long value, such as a list of heads, ends in dots."""
    import json

    rows = [("setting", "value", "from")]
    for name, value in _values(resolved).items():
        text = json.dumps(value, ensure_ascii=False)
        rows.append((name, text if len(text) <= 48 else f"{text[:45]}...", resolved.origins[name]))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}" for a, b, c in rows)
