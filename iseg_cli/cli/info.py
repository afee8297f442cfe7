"""`iseg info`: what this installation has to work with."""

import click

EXAMPLES = """\b
Example:
  iseg info
"""


@click.command(epilog=EXAMPLES)
def info() -> None:
    """Tell versions, devices, models and which datasets are found."""
    from iseg_cli.execution.installation import collect

    for title, lines in collect().items():
        click.echo(f"{title}:")
        for name, value in lines:
            click.echo(f"  {name:<14} {value}")
