"""Scenes: one to three sprites of distinct classes on a drawn background, with exact masks.

A scene is a pure function of (seed, split, index): it can be made in any order, by any process,
and scenes of two splits never share a random stream.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from tiny.backgrounds import draw_background
from tiny.sprites import Sprite

Array = npt.NDArray[Any]
SPLITS = {
    "fit64": 0,
    "fit128": 1,
    "train": 2,
    "val": 3,
    "style": 4,
    "choice": 5,
    "choice128": 6,
    "near64": 7,
}
OBJECT_COUNTS = (0.35, 0.40, 0.25)  # share of scenes with one, two, three objects
SIDES = ((0.40, 0.80), (0.34, 0.62), (0.28, 0.52))  # longest side of a sprite by object count
ATTEMPTS = 12  # places tried for each sprite; the one that covers least is taken
LEAST_VISIBLE = 0.6  # share of a sprite that must stay in sight
LEAST_NAMED = 0.3  # share of an object inside a crop from which on the crop's caption names it


@dataclass(frozen=True)
class Scene:
    """An image [side, side, 3] uint8, its mask of VOC ids, its class ids in caption order."""

    image: Array
    mask: Array
    categories: tuple[int, ...]


class SpriteBox:
    """Sprites by class and style, so that classes and styles are drawn evenly."""

    def __init__(self, sprites: list[Sprite], styles: tuple[str, ...]) -> None:
        self.by_category: dict[int, dict[str, list[Sprite]]] = {}
        for sprite in sprites:
            if sprite.style in styles:
                kinds = self.by_category.setdefault(sprite.category, {})
                kinds.setdefault(sprite.style, []).append(sprite)
        self.categories = sorted(self.by_category)

    def draw(self, random: np.random.Generator, category: int) -> Sprite:
        """One sprite of the class: first a style, then a picture of that style."""
        kinds = self.by_category[category]
        pictures = kinds[sorted(kinds)[random.integers(len(kinds))]]
        return pictures[random.integers(len(pictures))]


def shift_colors(random: np.random.Generator, rgba: Array) -> Array:
    """Jitter a premultiplied sprite's brightness, contrast to grey and channel balance a little."""
    alpha = rgba[..., 3:]
    gains = random.uniform(0.88, 1.12) * random.uniform(0.94, 1.06, 3)
    grey = rgba[..., :3].mean(axis=2, keepdims=True)
    colors = grey + (rgba[..., :3] - grey) * random.uniform(0.85, 1.15)
    colors = np.clip(colors * gains, 0, alpha)
    return np.concatenate([colors, alpha], axis=2).astype(np.float32)


def transform(random: np.random.Generator, rgba: Array, longest: int) -> Array:
    """Resize a sprite to `longest` pixels, flip it half the time and turn it up to 12 degrees."""
    height, width = rgba.shape[:2]
    scale = longest / max(height, width)
    size = (max(2, round(width * scale)), max(2, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(rgba, size, interpolation=method)
    if random.random() < 0.5:
        small = small[:, ::-1]
    angle = random.uniform(-12, 12)
    width, height = size
    sine, cosine = abs(np.sin(np.radians(angle))), abs(np.cos(np.radians(angle)))
    full_width = int(np.ceil(width * cosine + height * sine))
    full_height = int(np.ceil(height * cosine + width * sine))
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
    matrix[:, 2] += ((full_width - width) / 2, (full_height - height) / 2)
    return np.asarray(
        cv2.warpAffine(np.ascontiguousarray(small), matrix, (full_width, full_height))
    )


def place(random: np.random.Generator, occupied: Array, shape: tuple[int, int]) -> tuple[int, int]:
    """Top and left of a place for a box of `shape` that covers little of what is occupied."""
    side = occupied.shape[0]
    best, least = (0, 0), np.inf
    for _ in range(ATTEMPTS):
        top = int(random.integers(0, max(1, side - shape[0] + 1)))
        left = int(random.integers(0, max(1, side - shape[1] + 1)))
        covered = float(occupied[top : top + shape[0], left : left + shape[1]].sum())
        if covered < least:
            best, least = (top, left), covered
        if covered == 0:
            break
    return best


def compose(random: np.random.Generator, box: SpriteBox, side: int) -> Scene | None:
    """Draw one scene, or None where a sprite came out hidden behind another."""
    image = draw_background(random, side)
    mask = np.zeros((side, side), np.uint8)
    count = 1 + int(random.choice(3, p=OBJECT_COUNTS))
    categories = [int(value) for value in random.choice(box.categories, count, replace=False)]
    areas = {}
    for category in categories:
        longest = round(side * random.uniform(*SIDES[count - 1]))
        sprite = transform(random, box.draw(random, category).rgba, longest)
        sprite = shift_colors(random, sprite[:side, :side])
        height, width = sprite.shape[:2]
        top, left = place(random, (mask > 0).astype(np.float32), (height, width))
        region = np.s_[top : top + height, left : left + width]
        image[region] = sprite[..., :3] + image[region] * (1 - sprite[..., 3:])
        mask[region][sprite[..., 3] > 0.5] = category
        areas[category] = int((sprite[..., 3] > 0.5).sum())
    if any((mask == category).sum() < LEAST_VISIBLE * area for category, area in areas.items()):
        return None
    pixels = np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8)
    order = [categories[index] for index in random.permutation(count)]
    return Scene(pixels, mask, tuple(order))


def crop(random: np.random.Generator, scene: Scene, side: int) -> Scene:
    """A square of `side` pixels around a random object, named by what is well inside it."""
    rows, columns = np.nonzero(scene.mask == random.choice(scene.categories))
    last = scene.mask.shape[0] - side
    shifts = random.integers(-side // 4, side // 4 + 1, 2)
    top, left = (
        int(np.clip(round(edge.mean()) - side // 2 + shift, 0, last))
        for edge, shift in zip((rows, columns), shifts, strict=True)
    )
    window = np.s_[top : top + side, left : left + side]
    mask = scene.mask[window]
    named = tuple(
        category
        for category in scene.categories
        if (mask == category).sum() >= LEAST_NAMED * (scene.mask == category).sum()
    )
    return Scene(scene.image[window], mask, named)


def make_crop(seed: int, split: str, index: int, box: SpriteBox, side: int) -> Scene:
    """A crop of `side` pixels of a scene twice as wide: its objects are as large as there."""
    random = np.random.default_rng([seed, SPLITS[split], index])
    while True:
        scene = compose(random, box, 2 * side)
        if scene is not None:
            found = crop(random, scene, side)
            if found.categories:
                return found


def make_scene(seed: int, split: str, index: int, box: SpriteBox, side: int) -> Scene:
    """The scene of (seed, split, index); hidden sprites make it draw again from its stream."""
    random = np.random.default_rng([seed, SPLITS[split], index])
    while True:
        scene = compose(random, box, side)
        if scene is not None:
            return scene
