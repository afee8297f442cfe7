"""Tiny datasets in the real layouts, written on the fly.

Each function writes one dataset below a folder and returns its root. Each half of a mask has one
label, so a test knows the label of every pixel.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from iseg_cli.readers.label_tables import load_label_set

SIZE = (6, 8)
"""(height, width) of every image. They differ, so a test notices when they are exchanged."""


def halves(left: int, right: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """The labels of a mask with one label in its left half and one in its right half."""
    labels = np.full(size, left, dtype=np.uint8)
    labels[:, size[1] // 2 :] = right
    return labels


def write_image(path: Path, *, size: tuple[int, int] = SIZE, seed: int = 0) -> Path:
    """Write an image of random colours, in the format of its ending; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def write_mask(path: Path, labels: np.ndarray, *, palette: str | None = "voc") -> Path:
    """Write a palette PNG in the colours of a label set, or a grey PNG without `palette`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(labels.astype(np.uint8))
    if palette is not None:
        image.putpalette(load_label_set(palette).palette.tobytes())
    image.save(path)
    return path


def write_annotation(path: Path, names: Iterable[str], *, size: tuple[int, int] = SIZE) -> Path:
    """Write a VOC annotation. Each object has a part, and the part's name is no category."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = "<part><name>head</name></part>"
    objects = "".join(f"<object><name>{name}</name>{part}</object>" for name in names)
    extent = f"<size><width>{size[1]}</width><height>{size[0]}</height></size>"
    path.write_text(f"<annotation>{extent}{objects}</annotation>", "utf-8")
    return path


VOC_MASKS = {
    "2007_000032": halves(1, 15),  # aeroplane, person
    "2007_000039": halves(0, 20),  # tvmonitor
    "2007_000033": halves(12, 255),  # dog and ignored pixels
    "2007_000042": halves(0, 0),  # nothing
}
VOC_SPLITS = {
    "train": ("2007_000032", "2007_000039"),
    "val": ("2007_000033", "2007_000042"),
    "trainval": ("2007_000032", "2007_000033", "2007_000039", "2007_000042"),
}


def make_voc(
    folder: Path,
    *,
    masks: Mapping[str, np.ndarray] = VOC_MASKS,
    splits: Mapping[str, Sequence[str]] = VOC_SPLITS,
    augmented: Mapping[str, np.ndarray] | None = None,
) -> Path:
    """VOCdevkit/VOC2012; `augmented` masks are grey PNGs in SegmentationClassAug."""
    root = folder / "VOCdevkit" / "VOC2012"
    categories = load_label_set("voc")
    for seed, (image_id, labels) in enumerate({**masks, **(augmented or {})}.items()):
        write_image(root / "JPEGImages" / f"{image_id}.jpg", size=labels.shape, seed=seed)
        names = [category.name for category in categories.select(np.unique(labels).tolist())]
        write_annotation(root / "Annotations" / f"{image_id}.xml", names, size=labels.shape)
    for image_id, labels in masks.items():
        write_mask(root / "SegmentationClass" / f"{image_id}.png", labels)
    for image_id, labels in (augmented or {}).items():
        write_mask(root / "SegmentationClassAug" / f"{image_id}.png", labels, palette=None)
    for split, image_ids in splits.items():
        path = root / "ImageSets" / "Segmentation" / f"{split}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{image_id}\n" for image_id in image_ids), "utf-8")
    return root


def box(left: int, top: int, width: int, height: int) -> list[float]:
    """The polygon of a rectangle in pixels, in COCO's form."""
    right, bottom = left + width, top + height
    return [left, top, right, top, right, bottom, left, bottom]


def coco_object(
    number: int, image: int, category: int, polygon: list[float], *, area: float, crowd: int = 0
) -> dict[str, object]:
    """One entry of `annotations` in an instances JSON; a crowd covers the whole image in RLE."""
    uncompressed = {"size": list(SIZE), "counts": [0, SIZE[0] * SIZE[1]]}
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "iscrowd": crowd,
        "area": area,
        "bbox": [0, 0, 1, 1],
        "segmentation": uncompressed if crowd else [polygon],
    }


COCO_OBJECTS = (
    # A person (1) before a bench (15 of 91) that fills the left half, listed small before large.
    coco_object(1, 9, 1, box(0, 0, 2, 2), area=4),
    coco_object(2, 9, 15, box(0, 0, 4, 6), area=24),
    # A crowd of people over the whole image, a toothbrush (90 of 91) on it.
    coco_object(3, 25, 1, [], area=48, crowd=1),
    coco_object(4, 25, 90, box(4, 0, 4, 6), area=24),
    # Image 30 has nothing.
)


def make_coco(
    folder: Path,
    *,
    split: str = "train2014",
    objects: Sequence[Mapping[str, object]] = COCO_OBJECTS,
    images: Sequence[int] = (9, 25, 30),
    inside_images: bool = False,
) -> Path:
    """COCO's <split>/ (or images/<split>/) and annotations/instances_<split>.json."""
    root = folder / "coco"
    prefix = f"COCO_{split}_" if split.endswith("2014") else ""
    records = []
    for number in images:
        name = f"{prefix}{number:012}.jpg"
        write_image(root / ("images" if inside_images else "") / split / name, seed=number)
        height, width = SIZE
        records.append({"id": number, "file_name": name, "height": height, "width": width})
    table = load_label_set("coco").categories
    categories = [{"id": (*c.source_ids, c.id)[0], "name": c.name} for c in table]
    content = {"images": records, "annotations": list(objects), "categories": categories}
    path = root / "annotations" / f"instances_{split}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), "utf-8")
    return root


def make_coco_object(folder: Path) -> Path:
    """COCO 2017 with the PNGs of open-vocabulary work beside those of COCO-Stuff."""
    root = make_coco(folder, split="val2017", inside_images=True)
    masks = root / "annotations" / "val2017"
    for number, labels in {9: halves(1, 14), 25: halves(80, 0), 30: halves(0, 0)}.items():
        write_mask(masks / f"{number:012}_instanceTrainIds.png", labels, palette=None)
        write_mask(masks / f"{number:012}.png", halves(181, 255), palette=None)
    return root


COCOSTUFF_MASKS = {
    "000000000139": halves(0, 156),  # person, sky-other
    "000000000285": halves(22, 255),  # bear and unlabelled pixels
    "000000000632": halves(64, 91),  # bed, banner
}
COCOSTUFF_CURATED = ("000000000139", "000000000632")


def make_cocostuff(folder: Path, *, part: str = "val2017") -> Path:
    """COCO 2017 with stuffthingmaps and the curated list."""
    root = folder / "cocostuff"
    for seed, (image_id, labels) in enumerate(COCOSTUFF_MASKS.items()):
        write_image(root / part / f"{image_id}.jpg", seed=seed)
        write_mask(root / "stuffthingmaps" / part / f"{image_id}.png", labels, palette=None)
    path = root / "curated" / part / "Coco164kFull_Stuff_Coarse_7.txt"
    path.parent.mkdir(parents=True)
    path.write_text("".join(f"{image_id}\n" for image_id in COCOSTUFF_CURATED), "utf-8")
    return root


CONTEXT_MASKS = {
    "2008_000002": halves(55, 20),  # tvmonitor, cow
    "2008_000003": halves(0, 37),  # nothing of the classes, person
    "2008_000004": halves(1, 59),  # aeroplane, wood
}
CONTEXT_SPLITS = {"train": ("2008_000004",), "val": ("2008_000002", "2008_000003")}


def make_context(folder: Path) -> Path:
    """VOCdevkit/VOC2010 with SegmentationClassContext and its own lists."""
    root = folder / "VOCdevkit" / "VOC2010"
    for seed, (image_id, labels) in enumerate(CONTEXT_MASKS.items()):
        write_image(root / "JPEGImages" / f"{image_id}.jpg", seed=seed)
        write_mask(root / "SegmentationClassContext" / f"{image_id}.png", labels, palette=None)
    for split, image_ids in CONTEXT_SPLITS.items():
        path = root / "ImageSets" / "SegmentationContext" / f"{split}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{image_id}\n" for image_id in image_ids), "utf-8")
    return root


CITYSCAPES_IMAGES = {
    "val": {
        "frankfurt/frankfurt_000000_000294": halves(7, 26),  # road, car
        "munster/munster_000000_000019": halves(4, 18),  # static, polegroup
    },
    "train": {"aachen/aachen_000000_000019": halves(23, 9)},  # sky, parking
    "train_extra": {"augsburg/augsburg_000000_000000": halves(7, 0)},
}


def make_cityscapes(folder: Path) -> Path:
    """leftImg8bit with gtFine (train_extra: gtCoarse); the test split has placeholders as masks."""
    root = folder / "cityscapes"
    for split, images in {**CITYSCAPES_IMAGES, "test": {"berlin/berlin_0": halves(1, 3)}}.items():
        kind = "gtCoarse" if split == "train_extra" else "gtFine"
        for image_id, labels in images.items():
            write_image(root / "leftImg8bit" / split / f"{image_id}_leftImg8bit.png")
            path = root / kind / split / f"{image_id}_{kind}_labelIds.png"
            write_mask(path, labels, palette=None)
    return root


def make_folder(folder: Path, names: Iterable[str] = ("a.jpg", "deep/b.png")) -> Path:
    """A folder of images in any depth."""
    root = folder / "pictures"
    for seed, name in enumerate(names):
        write_image(root / name, seed=seed)
    return root


MAKERS = {
    "voc": make_voc,
    "coco": make_coco,
    "coco-object": make_coco_object,
    "cocostuff27": make_cocostuff,
    "context": make_context,
    "cityscapes": make_cityscapes,
    "folder": make_folder,
}
"""The function that writes each dataset, by the name of the dataset."""
