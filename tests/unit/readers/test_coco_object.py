"""COCO-Object: PNGs of things as open-vocabulary work makes them, else painted annotations."""

from pathlib import Path

import numpy as np
import pytest
from layouts import SIZE, halves, make_coco, make_coco_object, write_mask

from iseg_cli.errors import DataError, DatasetNotFoundError
from iseg_cli.readers.coco.reader import CocoReader
from iseg_cli.readers.coco_object import CocoObjectReader

IDS = ("000000000009", "000000000025", "000000000030")


def test_pngs_of_things_are_the_truth(tmp_path: Path) -> None:
    reader = CocoObjectReader(make_coco_object(tmp_path))
    assert (reader.name, reader.split, reader.image_ids) == ("coco-object", "val2017", IDS)
    np.testing.assert_array_equal(reader.ground_truth(IDS[0]).labels, halves(1, 14))
    np.testing.assert_array_equal(reader.ground_truth(IDS[1]).labels, halves(80, 0))
    np.testing.assert_array_equal(reader.ground_truth(IDS[2]).labels, halves(0, 0))


def test_annotations_are_not_needed_beside_them(tmp_path: Path) -> None:
    root = make_coco_object(tmp_path)
    (root / "annotations" / "instances_val2017.json").unlink()
    reader = CocoObjectReader(root)
    assert reader.image_ids == IDS
    np.testing.assert_array_equal(reader.ground_truth(IDS[0]).labels, halves(1, 14))
    with pytest.raises(DataError, match=r"no .*instances_val2017\.json"):
        reader.annotated(IDS[0])


def test_pngs_of_cocostuff_alone_are_not_taken_for_them(tmp_path: Path) -> None:
    root = make_coco_object(tmp_path)
    for path in (root / "annotations" / "val2017").glob("*_instanceTrainIds.png"):
        path.unlink()
    painted = CocoReader(root, split="val2017").ground_truth(IDS[0]).labels
    assert set(np.unique(painted)) == {0, 1, 14}  # from the annotations: a person before a bench
    np.testing.assert_array_equal(CocoObjectReader(root).ground_truth(IDS[0]).labels, painted)


def test_masks_of_the_other_layout_are_read_as_well(tmp_path: Path) -> None:
    root = make_coco(tmp_path, split="val2017")
    for image_id in IDS:
        write_mask(root / "coco_seg_anno" / f"{image_id}.png", halves(2, 3), palette=None)
    np.testing.assert_array_equal(CocoObjectReader(root).ground_truth(IDS[0]).labels, halves(2, 3))


def test_val_means_2017(tmp_path: Path) -> None:
    root = make_coco_object(tmp_path)
    assert CocoObjectReader(root, split="val").split == "val2017"
    with pytest.raises(DatasetNotFoundError, match=r"'val2014' .*it has val2017, train2017"):
        CocoObjectReader(root, split="val2014")


def test_faults_are_named(tmp_path: Path) -> None:
    root = make_coco_object(tmp_path)
    folder = root / "annotations" / "val2017"
    write_mask(folder / f"{IDS[0]}_instanceTrainIds.png", halves(1, 81), palette=None)
    write_mask(folder / f"{IDS[1]}_instanceTrainIds.png", halves(1, 2, SIZE[::-1]), palette=None)
    (folder / f"{IDS[2]}_instanceTrainIds.png").unlink()
    reader = CocoObjectReader(root)
    with pytest.raises(DataError, match=r"09_instanceTrainIds\.png has label 81"):
        reader.ground_truth(IDS[0])
    with pytest.raises(DataError, match=r"25_instanceTrainIds\.png is 6 wide"):
        reader.ground_truth(IDS[1])
    with pytest.raises(DataError, match=r"no mask .*30_instanceTrainIds\.png"):
        reader.ground_truth(IDS[2])


def test_neither_annotations_nor_masks_names_all_places(tmp_path: Path) -> None:
    root = make_coco(tmp_path, split="val2017")
    (root / "annotations" / "instances_val2017.json").unlink()
    with pytest.raises(DatasetNotFoundError) as raised:
        CocoObjectReader(root)
    for place in ("instances_val2017.json", "*_instanceTrainIds.png", "coco_seg_anno"):
        assert place in str(raised.value)
