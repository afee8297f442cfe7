"""Scenes on disk: memory-mapped arrays made by several processes before any training."""

import functools
import multiprocessing
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tiny.catalog import load_catalog
from tiny.scenes import SpriteBox, make_crop, make_scene
from tiny.sprites import load_sprites

Array = npt.NDArray[Any]
CHUNK = 250


@dataclass(frozen=True)
class SceneStore:
    """Images [n, side, side, 3], masks [n, side, side], class ids [n, 3] (0: none)."""

    images: Array
    masks: Array
    categories: Array


@functools.cache
def sprite_box(work: Path, held_out: bool) -> SpriteBox:
    """The sprites of the training styles, or of the style that was held out."""
    catalog = load_catalog()
    styles = (catalog.held_out,) if held_out else catalog.training_styles
    return SpriteBox(load_sprites(catalog, work), styles)


def _paths(work: Path, split: str) -> list[Path]:
    """The three files of a split."""
    folder = work / "scenes"
    return [folder / f"{split}-{part}.npy" for part in ("images", "masks", "categories")]


def _fill(start: int, *, work: Path, split: str, seed: int, side: int, count: int) -> None:
    """Make the scenes from `start` to the end of its chunk."""
    images, masks, names = (
        np.load(path.with_suffix(".part.npy"), mmap_mode="r+") for path in _paths(work, split)
    )
    box = sprite_box(work, held_out=False)
    make = make_crop if split.startswith("near") else make_scene
    for index in range(start, min(start + CHUNK, count)):
        scene = make(seed, split, index, box, side)
        images[index], masks[index] = scene.image, scene.mask
        names[index, : len(scene.categories)] = scene.categories


def make_store(work: Path, split: str, *, seed: int, side: int, count: int) -> None:
    """Make `count` scenes of a split, unless they are all there."""
    paths = _paths(work, split)
    if all(path.exists() for path in paths):
        return
    load_sprites(load_catalog(), work)
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    shapes = ((count, side, side, 3), (count, side, side), (count, 3))
    for path, shape in zip(paths, shapes, strict=True):
        part = path.with_suffix(".part.npy")
        np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
    job = functools.partial(_fill, work=work, split=split, seed=seed, side=side, count=count)
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        pool.map(job, range(0, count, CHUNK))
    for path in paths:
        path.with_suffix(".part.npy").replace(path)


def open_store(work: Path, split: str) -> SceneStore:
    """Map a split's scenes into memory, to read only."""
    return SceneStore(*(np.load(path, mmap_mode="r") for path in _paths(work, split)))
