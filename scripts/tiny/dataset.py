"""The embedded dataset `emoji-voc`: scenes in the layout of PASCAL VOC."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
from PIL import Image

from tiny.catalog import Catalog, load_catalog
from tiny.scenes import Scene, make_scene
from tiny.store import sprite_box

SIDE = 128
SIZES = {"train": 200, "val": 300, "style": 150}


def voc_palette() -> list[int]:
    """VOC's 256 colors, as Pillow wants them: bits of the index spread over the channels."""
    palette = np.zeros((256, 3), np.int64)
    index = np.arange(256)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= ((index >> (3 * bit + channel)) & 1) << (7 - bit)
    return [int(value) for value in palette.reshape(-1)]


def annotation(name: str, scene: Scene, catalog: Catalog) -> ElementTree.Element:
    """Minimal VOC XML: size, and name and box (from 1, inclusive) of every object."""
    names = {category.id: category.name for category in catalog.categories}
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "filename").text = f"{name}.jpg"
    size = ElementTree.SubElement(root, "size")
    for key, value in (("width", SIDE), ("height", SIDE), ("depth", 3)):
        ElementTree.SubElement(size, key).text = str(value)
    ElementTree.SubElement(root, "segmented").text = "1"
    for category in scene.categories:
        rows, columns = np.nonzero(scene.mask == category)
        edges = {
            "xmin": columns.min(),
            "ymin": rows.min(),
            "xmax": columns.max(),
            "ymax": rows.max(),
        }
        thing = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(thing, "name").text = names[category]
        ElementTree.SubElement(thing, "difficult").text = "0"
        box = ElementTree.SubElement(thing, "bndbox")
        for key, edge in edges.items():
            ElementTree.SubElement(box, key).text = str(int(edge) + 1)
    ElementTree.indent(root)
    return root


def save_mask(mask: npt.NDArray[Any], path: Path) -> None:
    """Write class ids as an 8-bit palette PNG in VOC's colors."""
    picture = Image.fromarray(mask)
    picture.putpalette(voc_palette())
    picture.save(path, optimize=True)


def make_dataset(work: Path, target: Path, *, seed: int) -> None:
    """Write every split's images, masks, annotations and list of names under `target`."""
    for split, count in SIZES.items():
        write_split(work, target, split, seed=seed, count=count)


def write_split(work: Path, target: Path, split: str, *, seed: int, count: int) -> None:
    """Write the first `count` scenes of a split under `target`, beside those that lie there."""
    catalog = load_catalog()
    folders = {
        key: target / key
        for key in ("JPEGImages", "SegmentationClass", "Annotations", "ImageSets/Segmentation")
    }
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    box = sprite_box(work, held_out=split == "style")
    names = [f"{split}_{index:04d}" for index in range(count)]
    for index, name in enumerate(names):
        scene = make_scene(seed, split, index, box, SIDE)
        Image.fromarray(scene.image).save(
            folders["JPEGImages"] / f"{name}.jpg", quality=90, optimize=True
        )
        save_mask(scene.mask, folders["SegmentationClass"] / f"{name}.png")
        tree = ElementTree.ElementTree(annotation(name, scene, catalog))
        tree.write(folders["Annotations"] / f"{name}.xml", encoding="unicode")
    listing = folders["ImageSets/Segmentation"] / f"{split}.txt"
    listing.write_text("\n".join(names) + "\n", "utf-8")
