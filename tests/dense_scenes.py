"""Images for the tests of CLIP's dense maps."""

import cv2
import numpy as np


def scenes(count=3, side=40):
    """Smooth square pictures."""
    generator = np.random.default_rng(7)
    coarse = generator.integers(0, 256, (count, 4, 5, 3), dtype=np.uint8)
    return np.stack(
        [cv2.resize(one, (side, side), interpolation=cv2.INTER_CUBIC) for one in coarse]
    )
