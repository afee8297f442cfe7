"""The kinds of output that a run can write besides its masks."""

from collections.abc import Mapping
from pathlib import Path

from iseg_cli.storage.run_paths import RunPaths
from iseg_cli.storage.writers.base import OutputWriter
from iseg_cli.storage.writers.masks import MaskWriter
from iseg_cli.storage.writers.overlays import OverlayWriter
from iseg_cli.storage.writers.rle import RleWriter
from iseg_cli.storage.writers.scores import ScoresWriter

OUTPUT_WRITERS: tuple[type[OutputWriter], ...] = (OverlayWriter, ScoresWriter, RleWriter)
"""The writers, in the order in which a run calls them. Each is an option of `iseg generate`."""

Outputs = Mapping[str, Path | None]
"""The outputs that a user asks for, by name; the file of those that take one, None for others."""


def open_writers(
    paths: RunPaths, outputs: Outputs, *, grey: bool = False
) -> tuple[OutputWriter, ...]:
    """Return the writers of the outputs and, last, the writer of masks.

    Args:
        paths: the paths in the output folder.
        outputs: the outputs besides the masks.
        grey: write grey masks, without a palette.

    Example:
        >>> writers = open_writers(RunPaths(Path("run")), {"scores": None})
        >>> [writer.name for writer in writers]
        ['scores', 'masks']
    """
    asked = [kind(paths, outputs[kind.name]) for kind in OUTPUT_WRITERS if kind.name in outputs]
    return (*asked, MaskWriter(paths, grey=grey))


def remove_outputs(paths: RunPaths, image_id: str) -> None:
    """Remove the mask of an image and all other outputs that a run writes for it."""
    for writer in (MaskWriter(paths), *(kind(paths) for kind in OUTPUT_WRITERS)):
        writer.remove(image_id)
