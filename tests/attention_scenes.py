"""Self-attention of artificial scenes: the positions of one region attend to each other."""

from functools import cache

import numpy as np
import reference
from scipy.optimize import linear_sum_assignment

SIDE = 16
SIDES = (16, 8, 4, 2)
"""The sides of the maps of all resolutions, in positions."""


def scene(side, seed, *, regions=5):
    """Features [positions, 12]: regions of random shape, each of one feature, with some noise."""
    rng = np.random.default_rng(seed)
    centres = rng.random((regions, 2)) * side
    positions = np.stack(np.divmod(np.arange(side * side), side), axis=1) + 0.5
    distance = ((positions[:, None] - centres[None]) ** 2).sum(axis=2)
    features = rng.normal(size=(regions, 12))[distance.argmin(axis=1)]
    return features + 0.3 * rng.normal(size=(side * side, 12))


def attention_of(features, sharpness=0.8):
    """Softmax over keys of the products of features, [queries, keys]."""
    logits = sharpness * features @ features.T
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def pyramid(seed, sides=SIDES):
    """Self-attention [queries, keys] at every side, of one scene seen at several resolutions."""
    features = scene(sides[0], seed)
    maps = []
    for side in sides:
        ratio = sides[0] // side
        grid = features.reshape(side, ratio, side, ratio, -1).mean(axis=(1, 3))
        maps.append(attention_of(grid.reshape(side * side, -1)))
    return maps


@cache
def merged_by_hand(seed):
    """All resolutions of a scene's attention on one grid, as the reference merges them."""
    return reference.merge_resolutions(pyramid(seed), SIDE)


def agreement(labels, expected):
    """The share of pixels that agree once segments are renamed, one to one."""
    labels, expected = np.asarray(labels).ravel(), np.asarray(expected).ravel()
    counts = np.zeros((labels.max() + 1, expected.max() + 1), np.int64)
    np.add.at(counts, (labels, expected), 1)
    return counts[linear_sum_assignment(counts, maximize=True)].sum() / labels.size
