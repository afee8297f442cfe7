"""Images and a tagger of random weights for the tests of CLIP's labels."""

import cv2
import numpy as np

from iseg_cli.clip.tagger import Tagger
from iseg_cli.config.schema import ClipSettings
from iseg_cli.readers.folder import label_set_of

TEMPLATES = ("a photograph of {}", "{} and other object")


LABELS = label_set_of(["dog", "cat", "bus", "potted plant"])


SURROUNDINGS = ("grass", "sky", "cat")


def scenes(count=3):
    """Smooth pictures of unequal sizes, so that patches differ and neighbours agree."""
    generator = np.random.default_rng(11)
    sizes = [(40, 56), (64, 48), (33, 90)]
    pictures = []
    for number in range(count):
        height, width = sizes[number % 3]
        coarse = generator.integers(0, 256, (4, 5, 3), dtype=np.uint8)
        pictures.append(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
    return pictures


def tagger(clip, *, label_set=LABELS, **changes):
    settings = {"templates": TEMPLATES, "background_prompts": SURROUNDINGS, **changes}
    return Tagger(clip, ClipSettings(**settings), label_set, batch_size=4)
