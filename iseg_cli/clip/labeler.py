"""The labeler of `--labels clip`: image-level labels that CLIP finds."""

from collections.abc import Sequence

from iseg_cli.clip.tagger import Picture, Shown, Tagger
from iseg_cli.image_labels import ImageLabeler
from iseg_cli.readers.decoding import load_image
from iseg_cli.types import Category, Sample


class ClipLabeler(ImageLabeler):
    """Returns the categories that CLIP finds in an image."""

    name = "clip"

    def __init__(self, tagger: Tagger) -> None:
        self.tagger, self.batch_size = tagger, tagger.batch_size

    def labels(self, sample: Sample) -> tuple[Category, ...]:
        """Return the categories that CLIP finds in an image file."""
        prepared = self.prepare(sample, load_image(sample.image_path))
        return self.label_batch([prepared])[0]

    def prepare(self, sample: Sample, image: Picture) -> Shown:
        """Return an image at the scales at which CLIP sees it."""
        return self.tagger.fit(image)

    def label_batch(self, prepared: Sequence[Shown]) -> list[tuple[Category, ...]]:
        """Return the categories that CLIP finds in each of some images."""
        return self.tagger.tag(prepared)
