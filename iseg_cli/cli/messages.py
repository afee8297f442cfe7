"""Messages of several commands on standard error: notes and failed images."""

from collections.abc import Iterable, Mapping

import click


def printable(text: str) -> str:
    r"""Return a text as one line that every terminal can show.

    Control characters, newlines and bytes that are no UTF-8 are escaped; file names may hold them.

    Example:
        >>> print(printable("two\nlines"))
        two\nlines
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def echo_notes(notes: Iterable[str]) -> None:
    """Print notes for the user, a line each."""
    for note in notes:
        click.echo(f"note: {printable(note)}", err=True)


def echo_failed(failed: Mapping[str, str]) -> None:
    """Print the reason of each failure, a line each."""
    for image_id, reason in failed.items():
        click.echo(f"failed: {printable(image_id)}: {printable(reason)}", err=True)
