"""Backgrounds of the scenes: gradients, noise, stripes, checks, blobs, meadows, roads."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Random = np.random.Generator


def _color(random: Random, low: float = 0.05, high: float = 0.95) -> Array:
    """A color [3], pulled towards grey half of the time so that sprites stand out."""
    color = random.uniform(low, high, 3)
    return np.asarray(color.mean() + (color - color.mean()) * random.uniform(0.2, 1.0))


def _mix(weight: Array, first: Array, second: Array) -> Array:
    """Blend two colors by a weight [side, side] in [0, 1]."""
    return np.asarray(first + (second - first) * weight[..., None])


def _ramp(random: Random, side: int) -> Array:
    """Positions along a random direction, scaled to [0, 1]."""
    angle = random.uniform(0, 2 * np.pi)
    steps = np.linspace(-0.5, 0.5, side)
    ramp = steps[None] * np.cos(angle) + steps[:, None] * np.sin(angle)
    return np.asarray((ramp - ramp.min()) / (ramp.max() - ramp.min()))


def _cloud(random: Random, side: int, cells: int) -> Array:
    """Smooth noise with `cells` bumps a side, scaled to [0, 1]."""
    coarse = random.random((cells, cells)).astype(np.float32)
    smooth = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(smooth, 0, 1))


def gradient(random: Random, side: int) -> Array:
    """One color running into another."""
    return _mix(_ramp(random, side), _color(random), _color(random))


def noise(random: Random, side: int) -> Array:
    """Smooth noise between two colors."""
    return _mix(_cloud(random, side, int(random.integers(3, 14))), _color(random), _color(random))


def stripes(random: Random, side: int) -> Array:
    """Parallel stripes of two colors."""
    waves = np.sin(_ramp(random, side) * np.pi * random.uniform(6, 20))
    return _mix(np.clip(waves * 4 + 0.5, 0, 1), _color(random), _color(random))


def checks(random: Random, side: int) -> Array:
    """A chessboard of two colors."""
    cell = side / random.uniform(4, 10)
    cells = np.floor((np.arange(side) + random.uniform(0, cell)) / cell)
    return _mix((cells[None] + cells[:, None]) % 2, _color(random), _color(random))


def blobs(random: Random, side: int) -> Array:
    """Discs of several colors."""
    image = np.broadcast_to(_color(random), (side, side, 3)).astype(np.float32).copy()
    for _ in range(int(random.integers(3, 9))):
        center = (int(random.integers(side)), int(random.integers(side)))
        radius = int(side * random.uniform(0.05, 0.22))
        color = tuple(float(value) for value in _color(random))
        cv2.circle(image, center, radius, color, -1, cv2.LINE_AA)
    return image


def _two_grounds(random: Random, side: int, upper: Array, lower: Array) -> Array:
    """An upper and a lower ground with mottled texture, meeting at a random height."""
    horizon = random.uniform(0.35, 0.7)
    below = (np.linspace(0, 1, side) > horizon).astype(np.float32)[:, None]
    image = _mix(np.repeat(below, side, axis=1), upper, lower)
    shade = (_cloud(random, side, int(random.integers(4, 20))) - 0.5) * random.uniform(0.05, 0.25)
    return np.asarray(image + (shade * (0.3 + 0.7 * below))[..., None])


def meadow(random: Random, side: int) -> Array:
    """Sky over grass."""
    sky = np.array([0.55, 0.75, 0.95]) + random.uniform(-0.15, 0.1, 3)
    grass = np.array([0.35, 0.6, 0.25]) + random.uniform(-0.15, 0.15, 3)
    return _two_grounds(random, side, sky, grass)


def road(random: Random, side: int) -> Array:
    """Wall over road or floor."""
    wall = _color(random, 0.4, 0.9)
    floor = np.full(3, random.uniform(0.25, 0.6)) + random.uniform(-0.08, 0.08, 3)
    return _two_grounds(random, side, wall, floor)


KINDS: tuple[Callable[[Random, int], Array], ...] = (
    gradient,
    noise,
    stripes,
    checks,
    blobs,
    meadow,
    road,
)


def draw_background(random: Random, side: int) -> Array:
    """A background [side, side, 3] in [0, 1], of a random kind, with a little grain."""
    image = KINDS[random.integers(len(KINDS))](random, side)
    grain = random.normal(0, random.uniform(0, 0.025), (side, side, 1))
    return np.clip(image + grain, 0, 1).astype(np.float32)
