"""PASCAL-Context: VOC 2010's layout with lists and masks of its own, as 59 classes or 60."""

from pathlib import Path

import numpy as np
import pytest
from layouts import SIZE, halves, make_context, make_voc, write_mask

from iseg_cli.errors import DataError, DatasetNotFoundError, SettingsError
from iseg_cli.readers.context import ContextReader
from iseg_cli.readers.label_tables import load_label_set


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_context(tmp_path)


def test_ids_come_from_the_lists_of_context(root: Path) -> None:
    reader = ContextReader(root)
    assert reader.image_ids == ("2008_000002", "2008_000003")
    assert (reader.name, reader.split, len(reader)) == ("context", "val", 2)
    assert reader.sample("2008_000002").image_path == root / "JPEGImages" / "2008_000002.jpg"
    assert reader.sample("2008_000002").image_path.is_file()
    assert ContextReader(root, split="train").image_ids == ("2008_000004",)


def test_59_classes_ignore_what_is_none_of_them(root: Path) -> None:
    reader = ContextReader(root)
    assert reader.label_set.name == "context-59"
    np.testing.assert_array_equal(reader.ground_truth("2008_000002").labels, halves(55, 20))
    np.testing.assert_array_equal(reader.ground_truth("2008_000003").labels, halves(255, 37))


def test_60_classes_count_it_as_background(root: Path) -> None:
    reader = ContextReader(root, label_set="context-60")
    np.testing.assert_array_equal(reader.ground_truth("2008_000003").labels, halves(0, 37))
    write_mask(root / "SegmentationClassContext" / "2008_000003.png", halves(0, 255), palette=None)
    np.testing.assert_array_equal(reader.ground_truth("2008_000003").labels, halves(0, 255))


def test_both_tables_have_the_same_classes_in_the_order_of_their_names() -> None:
    fewer, more = load_label_set("context-59"), load_label_set("context-60")
    assert fewer.categories == more.categories
    names = [category.name for category in fewer.categories]
    assert names == sorted(names)
    assert [category.id for category in fewer.categories] == list(range(1, 60))
    assert (fewer.background, more.background) == (None, 0)
    assert (fewer.num_classes, more.num_classes) == (60, 60)
    # The words of the released code, where they are others than the names.
    words = {c.name: c.prompt for c in fewer.categories if c.prompt != c.name}
    assert words == {
        "aeroplane": "plane",
        "bedclothes": "bedding",
        "computer": "laptop",
        "pottedplant": "plant",
        "tvmonitor": "monitor",
    }


def test_images_may_come_without_masks(root: Path) -> None:
    assert ContextReader(root).has_ground_truth
    for path in (root / "SegmentationClassContext").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"no mask .*2008_000002\.png"):
        ContextReader(root).ground_truth("2008_000002")
    (root / "SegmentationClassContext").rmdir()
    assert not ContextReader(root).has_ground_truth


# --- faults --------------------------------------------------------------------------------------


def test_the_lists_of_voc_are_not_taken_for_those_of_context(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"no folder .*SegmentationContext with the l"):
        ContextReader(make_voc(tmp_path))


def test_an_unknown_split_or_label_set_is_an_error_with_a_suggestion(root: Path) -> None:
    with pytest.raises(
        DatasetNotFoundError, match=r"'vall' \(did you mean val\?\); it has train, val"
    ):
        ContextReader(root, split="vall")
    with pytest.raises(SettingsError, match=r"'context-5' .*it has context-59, context-60"):
        ContextReader(root, label_set="context-5")


def test_a_label_beyond_59_is_named(root: Path) -> None:
    write_mask(root / "SegmentationClassContext" / "2008_000002.png", halves(1, 60), palette=None)
    with pytest.raises(DataError, match=r"2008_000002\.png has label id 60; .* context is 59"):
        ContextReader(root).ground_truth("2008_000002")


def test_a_mask_of_another_size_is_named(root: Path) -> None:
    path = root / "SegmentationClassContext" / "2008_000002.png"
    write_mask(path, halves(1, 2, SIZE[::-1]), palette=None)
    with pytest.raises(DataError, match=r"2008_000002\.png is 6 wide and 8 high"):
        ContextReader(root).ground_truth("2008_000002")


def test_annotations_are_those_of_voc_and_not_taken(root: Path) -> None:
    with pytest.raises(DataError, match="context has no annotations"):
        ContextReader(root).annotated("2008_000002")
