"""Tables of text: aligned columns for a terminal, and Markdown."""

from collections.abc import Sequence

ABSENT = "-"
"""The cell of a figure that does not exist."""


def percent(value: float | None) -> str:
    """Return a fraction as a percentage with two decimals; a dash for None.

    Example:
        >>> percent(0.41663), percent(None)
        ('41.66', '-')
    """
    return ABSENT if value is None else f"{100 * value:.2f}"


def aligned(rows: Sequence[Sequence[str]], *, words: int = 1) -> str:
    """Return rows as aligned columns, with a line under the first row.

    Args:
        rows: the cells; the first row is the head.
        words: how many of the first columns hold words, aligned left; the others hold numbers.

    Example:
        >>> print(aligned([("class", "IoU %"), ("cat", "5.00")]), end="")
        class  IoU %
        ------------
        cat     5.00
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if number < words else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * min(100, sum(widths) + 2 * (len(widths) - 1)))
    return "\n".join(lines) + "\n"


def markdown(rows: Sequence[Sequence[str]], *, words: int = 1) -> str:
    """Return rows as a Markdown table; the arguments are those of `aligned`.

    Example:
        >>> print(markdown([("class", "IoU %"), ("cat", "5.00")]), end="")
        | class | IoU % |
        | --- | ---: |
        | cat | 5.00 |
    """
    head, *body = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    rule = ["---" if number < words else "---:" for number in range(len(head))]
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, rule, *body])
