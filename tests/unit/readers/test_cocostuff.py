"""COCO-Stuff-27: three layouts, the curated list, 182 values to 27 classes."""

from pathlib import Path

import numpy as np
import pytest
from layouts import COCOSTUFF_CURATED, COCOSTUFF_MASKS, halves, make_cocostuff, write_mask

from iseg_cli.errors import DataError, DatasetNotFoundError
from iseg_cli.readers.cocostuff import CURATED, CocoStuffReader
from iseg_cli.readers.label_tables import load_label_set

# Classes by name, their values in a stuffthingmap and their groups, as COCO-Stuff lists them.
EXAMPLES = {
    "person": (0, "person-things"),
    "airplane": (4, "vehicle-things"),
    "bench": (14, "outdoor-things"),
    "giraffe": (24, "animal-things"),
    "hat": (25, "accessory-things"),
    "tennis racket": (42, "sports-things"),
    "bowl": (50, "kitchen-things"),
    "cake": (60, "food-things"),
    "potted plant": (63, "furniture-things"),
    "tv": (71, "electronic-things"),
    "sink": (80, "appliance-things"),
    "hair brush": (90, "indoor-things"),
    "banner": (91, "textile-stuff"),
    "branch": (93, "plant-stuff"),
    "bridge": (94, "building-stuff"),
    "cardboard": (99, "rawmaterial-stuff"),
    "carpet": (100, "floor-stuff"),
    "ceiling-tile": (102, "ceiling-stuff"),
    "clouds": (105, "sky-stuff"),
    "desk-stuff": (109, "furniture-stuff"),
    "fence": (112, "structural-stuff"),
    "fog": (119, "water-stuff"),
    "fruit": (121, "food-stuff"),
    "snow": (158, "ground-stuff"),
    "wall-wood": (176, "wall-stuff"),
    "window-other": (180, "window-stuff"),
    "wood": (181, "solid-stuff"),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_cocostuff(tmp_path)


def test_every_value_belongs_to_one_of_12_things_or_15_stuffs() -> None:
    label_set = load_label_set("cocostuff27")
    things = [c for c in label_set.categories if c.name.endswith("-things")]
    stuff = [c for c in label_set.categories if c.name.endswith("-stuff")]
    assert [c.id for c in things] == list(range(12))
    assert [c.id for c in stuff] == list(range(12, 27))
    assert sorted(value for c in things for value in c.source_ids) == list(range(91))
    assert sorted(value for c in stuff for value in c.source_ids) == list(range(91, 182))
    assert label_set.background is None
    assert (label_set.from_source[182:] == 255).all()


@pytest.mark.parametrize("name", EXAMPLES)
def test_classes_are_in_the_groups_of_cocostuff(name: str) -> None:
    value, group = EXAMPLES[name]
    label_set = load_label_set("cocostuff27")
    assert label_set.names[label_set.from_source[value]] == group


def test_the_examples_are_of_every_group() -> None:
    assert {g for _, g in EXAMPLES.values()} == set(load_label_set("cocostuff27").names.values())


def test_val_is_the_curated_list_and_val2017_every_image(root: Path) -> None:
    reader = CocoStuffReader(root)
    assert (reader.name, reader.split, reader.image_ids) == (
        "cocostuff27",
        "val",
        COCOSTUFF_CURATED,
    )
    assert CocoStuffReader(root, split="val2017").image_ids == tuple(COCOSTUFF_MASKS)
    assert reader.sample("000000000139").image_path == root / "val2017" / "000000000139.jpg"
    assert reader.sample("000000000139").image_path.is_file()


def test_truth_is_in_27_classes(root: Path) -> None:
    reader = CocoStuffReader(root, split="val2017")
    np.testing.assert_array_equal(reader.ground_truth("000000000139").labels, halves(9, 23))
    np.testing.assert_array_equal(reader.ground_truth("000000000285").labels, halves(7, 255))
    np.testing.assert_array_equal(reader.ground_truth("000000000632").labels, halves(3, 17))


def test_train_has_lists_of_its_own(tmp_path: Path) -> None:
    root = make_cocostuff(tmp_path, part="train2017")
    assert CocoStuffReader(root, split="train").image_ids == COCOSTUFF_CURATED
    assert len(CocoStuffReader(root, split="train2017")) == 3
    with pytest.raises(DatasetNotFoundError, match=r"no folder .*val2017 or .*images.val2017"):
        CocoStuffReader(root)


@pytest.mark.parametrize(
    ("images", "masks", "listed"),
    [
        ("images/val2017", "annotations/val2017", f"curated/val2017/{CURATED}"),  # PiCIE, STEGO
        ("val2017", "annotation_val2017", CURATED),  # DiffSeg
        ("val2017", "stuffthingmaps_trainval2017/val2017", f"val2017/{CURATED}"),
    ],
)
def test_other_layouts(root: Path, images: str, masks: str, listed: str) -> None:
    moves = {
        "val2017": images,
        "stuffthingmaps/val2017": masks,
        f"curated/val2017/{CURATED}": listed,
    }
    for old, new in moves.items():
        (root / new).parent.mkdir(parents=True, exist_ok=True)
        (root / old).rename(root / new)
    reader = CocoStuffReader(root)
    assert reader.image_ids == COCOSTUFF_CURATED
    assert reader.sample("000000000139").image_path.is_file()
    np.testing.assert_array_equal(reader.ground_truth("000000000139").labels, halves(9, 23))


def test_images_may_come_without_masks(root: Path) -> None:
    assert CocoStuffReader(root).has_ground_truth
    (root / "stuffthingmaps").rename(root / "elsewhere")
    reader = CocoStuffReader(root)
    assert not reader.has_ground_truth
    with pytest.raises(DataError, match=r"no stuffthingmaps.*see docs/datasets\.md"):
        reader.ground_truth("000000000139")


# --- faults --------------------------------------------------------------------------------------


def test_a_missing_list_is_an_error_never_another_protocol(root: Path) -> None:
    (root / "curated" / "val2017" / CURATED).unlink()
    with pytest.raises(DatasetNotFoundError) as raised:
        CocoStuffReader(root)
    sentence = str(raised.value)
    for words in (f"curated/val2017/{CURATED}", f"{root}/{CURATED}", "--split val2017"):
        assert words in sentence


def test_the_list_at_the_root_is_that_of_val(tmp_path: Path) -> None:
    root = make_cocostuff(tmp_path, part="train2017")
    (root / "curated" / "train2017" / CURATED).rename(root / CURATED)
    with pytest.raises(DatasetNotFoundError, match="there is no list"):
        CocoStuffReader(root, split="train")


def test_an_unknown_split_is_an_error_with_a_suggestion(root: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"'val2014' \(did you mean val2017\?\)"):
        CocoStuffReader(root, split="val2014")


def test_a_value_beyond_181_is_named(root: Path) -> None:
    path = root / "stuffthingmaps" / "val2017" / "000000000139.png"
    write_mask(path, halves(0, 182), palette=None)
    with pytest.raises(
        DataError, match=r"139\.png has label id 182; the greatest one of cocostuff27 is 181"
    ):
        CocoStuffReader(root).ground_truth("000000000139")


def test_a_missing_mask_is_named(root: Path) -> None:
    (root / "stuffthingmaps" / "val2017" / "000000000139.png").unlink()
    with pytest.raises(DataError, match=r"no mask .*000000000139\.png"):
        CocoStuffReader(root).ground_truth("000000000139")
