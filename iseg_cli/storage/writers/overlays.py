"""The writer of overlays: pictures of image and mask with a legend."""

from iseg_cli.storage.masks import encode_picture
from iseg_cli.storage.writers.base import ImageFileWriter, ImageOutput


class OverlayWriter(ImageFileWriter):
    """Writes `overlays/<image_id>.jpg`."""

    name = "overlays"
    help = "Also write pictures of image and mask."
    ending = ".jpg"
    needs_picture = True

    def write(self, output: ImageOutput) -> None:
        """Write the overlay."""
        from iseg_cli.storage.overlay_drawing import draw_overlay  # OpenCV: --help needs none

        if output.picture is None:
            raise ValueError(f"{output.image_id}: an overlay needs the image's pixels")
        overlay = draw_overlay(output.picture, output.mask, output.label_set)
        self.paths.write_file(self.path(output.image_id), encode_picture(overlay))
