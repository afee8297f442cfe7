"""Pictures of random colours, and a tagger, for the tests of CLIP."""

import cv2
import numpy as np

from iseg_cli.clip.tagger import Tagger
from iseg_cli.config.schema import ClipSettings
from iseg_cli.readers.folder import label_set_of

TEMPLATES = ("a photograph of {}", "{} and other object")
LABELS = label_set_of(["dog", "cat", "bus", "potted plant"])
SURROUNDINGS = ("grass", "sky", "cat")


def square_pictures(count=3, side=40):
    """A batch of smooth pictures of one size, UInt8[count side side 3]."""
    generator = np.random.default_rng(7)
    coarse = generator.integers(0, 256, (count, 4, 5, 3), dtype=np.uint8)
    return np.stack(
        [cv2.resize(one, (side, side), interpolation=cv2.INTER_CUBIC) for one in coarse]
    )


def unequal_pictures(count=3):
    """Smooth pictures of three sizes: patches differ from each other, and neighbours agree."""
    generator = np.random.default_rng(11)
    sizes = [(40, 56), (64, 48), (33, 90)]
    pictures = []
    for number in range(count):
        height, width = sizes[number % 3]
        coarse = generator.integers(0, 256, (4, 5, 3), dtype=np.uint8)
        pictures.append(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
    return pictures


def tagger(clip, *, label_set=LABELS, **changes):
    """A tagger with few templates; `changes` are settings of CLIP."""
    settings = {"templates": TEMPLATES, "background_prompts": SURROUNDINGS, **changes}
    return Tagger(clip, ClipSettings(**settings), label_set, batch_size=4)
