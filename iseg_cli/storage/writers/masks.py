"""The writer of masks: 8-bit palette or grey PNGs."""

from pathlib import Path

from iseg_cli.storage.masks import encode_mask
from iseg_cli.storage.run_paths import RunPaths
from iseg_cli.storage.writers.base import ImageFileWriter, ImageOutput


class MaskWriter(ImageFileWriter):
    """Writes masks. A run always has this writer, as the last one: a record needs its mask."""

    name = "masks"
    help = "Write masks."
    ending = ".png"

    def __init__(self, paths: RunPaths, *, grey: bool = False) -> None:
        """Keep the paths.

        Args:
            paths: the paths in the output folder.
            grey: write grey PNGs, whose values are the labels, without a palette.
        """
        super().__init__(paths)
        self._grey = grey

    def path(self, image_id: str) -> Path:
        """Return the path of an image's mask."""
        return self.paths.mask_path(image_id)

    def write(self, output: ImageOutput) -> None:
        """Write the mask; the caller writes the image's record afterwards."""
        palette = None if self._grey else output.label_set.palette
        self.paths.write_file(self.path(output.image_id), encode_mask(output.mask, palette))
