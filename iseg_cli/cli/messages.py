"""What commands say at their end on standard error: notes, and which images failed."""

from collections.abc import Iterable, Mapping

import click


def printable(text: str) -> str:
    """Return a text in one line that every terminal can show.

    File names may hold control characters, newlines and bytes that are no UTF-8; they are escaped.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def echo_notes(notes: Iterable[str]) -> None:
    """Print what the user should know, a line each."""
    for note in notes:
        click.echo(f"note: {printable(note)}", err=True)


def echo_failed(failed: Mapping[str, str]) -> None:
    """Print which images failed and why, a line each."""
    for image_id, reason in failed.items():
        click.echo(f"failed: {printable(image_id)}: {printable(reason)}", err=True)
