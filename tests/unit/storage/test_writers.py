"""Output writers: COCO results, scores, overlays, and the list of all kinds."""

import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from stored_runs import LABELS, RUN, random_mask, save

from iseg_cli.errors import PredictionsError
from iseg_cli.storage import (
    ImageRecord,
    PredictionFolder,
    RunPaths,
    read_scores,
    write_rle,
    write_scores,
)
from iseg_cli.storage.writers import (
    OUTPUT_WRITERS,
    ImageOutput,
    MaskWriter,
    open_writers,
)
from iseg_cli.storage.writers.overlays import OverlayWriter
from iseg_cli.storage.writers.rle import RleWriter
from iseg_cli.types import Mask, SourceIds


def coco_ground_truth(image_ids, sizes) -> COCO:
    truth = COCO()
    truth.dataset = {
        "images": [
            {"id": i, "height": h, "width": w} for i, (h, w) in zip(image_ids, sizes, strict=True)
        ],
        "annotations": [],
        "categories": [{"id": 17, "name": "cat"}, {"id": 18, "name": "dog"}],
    }
    truth.createIndex()
    return truth


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools
def test_rle_is_loaded_and_decoded_by_pycocotools(tmp_path):
    names = {"COCO_train2014_000000000009": 9, "000000000025": 25}
    masks = {name: random_mask(seed, (6 + seed, 9)) for seed, name in enumerate(names)}
    with PredictionFolder.start(tmp_path / "run", RUN) as folder:
        for name, mask in masks.items():
            save(folder, name, mask)
        folder.write(ImageRecord("000000000030", None, (), "failed", "no"))
    summary = write_rle(tmp_path / "out.json", PredictionFolder.open(tmp_path / "run"), LABELS)
    assert summary == (2, 4, True, ())
    truth = coco_ground_truth(names.values(), [m.size for m in masks.values()])
    results = truth.loadRes(str(tmp_path / "out.json"))
    for name, mask in masks.items():
        for label, coco_category in ((1, 17), (2, 18)):
            (entry,) = results.loadAnns(results.getAnnIds([names[name]], [coco_category]))
            assert entry["score"] == 1.0
            np.testing.assert_array_equal(
                coco_mask.decode(entry["segmentation"]), mask.labels == label
            )
            assert entry["area"] == (mask.labels == label).sum()


@pytest.mark.parametrize("names", [("2007_000032", "12"), ("12", "012")])
def test_rle_keeps_names_that_are_no_numbers(tmp_path, names):
    with PredictionFolder.start(tmp_path / "run", RUN) as folder:
        for name in names:
            save(folder, name, random_mask(0))
        summary = write_rle(tmp_path / "out.json", folder, LABELS)
    assert not summary.integer_ids
    entries = json.loads((tmp_path / "out.json").read_text())
    assert {entry["image_id"] for entry in entries} == set(names)


def test_rle_has_the_ids_of_the_datasets_own_file(tmp_path):
    """The file has 5 for cat (label 1) and uses dog's 18 for another class: dog has no entry."""
    names = {"000000000007": 2, "000000000002": "x-7"}
    with PredictionFolder.start(tmp_path / "run", RUN) as folder:
        for name in (*names, "000000000030"):  # the file does not list the last one
            save(folder, name, Mask(np.array([[1, 1, 2, 0]], dtype=np.uint8)))
        own = SourceIds(names, {1: 5, 9: 18})
        summary = write_rle(tmp_path / "out.json", folder, LABELS, own)
        assert summary == (2, 2, False, ("dog",))
        entries = json.loads((tmp_path / "out.json").read_text())
        assert [(e["image_id"], e["category_id"]) for e in entries] == [(2, 5), ("x-7", 5)]
        # Segments that stand for no class keep their numbers; so do classes without a clash.
        for classes, expected in (({}, {17, 18}), ({1: 5}, {5, 18})):
            summary = write_rle(tmp_path / "out.json", folder, LABELS, SourceIds(names, classes))
            assert summary == (2, 4, False, ())
            entries = json.loads((tmp_path / "out.json").read_text())
            assert {e["category_id"] for e in entries} == expected


def test_rle_of_nothing_is_an_empty_list(tmp_path):
    with PredictionFolder.start(tmp_path / "run", RUN) as folder:
        write_rle(tmp_path / "out.json", folder, LABELS)
    assert json.loads((tmp_path / "out.json").read_text()) == []


def test_scores_read_back_equal_and_damaged_ones_are_refused(tmp_path):
    scores = np.random.default_rng(0).random((2, 4, 5)).astype(np.float16)
    write_scores(tmp_path / "a.npz", scores, [3, 15])
    read, ids = read_scores(tmp_path / "a.npz")
    assert read.dtype == np.float16
    np.testing.assert_array_equal(read, scores)
    np.testing.assert_array_equal(ids, [3, 15])
    with pytest.raises(ValueError, match="2 maps but 1"):
        write_scores(tmp_path / "b.npz", scores, [3])
    (tmp_path / "torn.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:-30])
    np.savez(tmp_path / "pickled.npz", scores=np.array([{}], dtype=object), category_ids=[1])
    for name in ("torn.npz", "none.npz", "pickled.npz"):
        with pytest.raises(PredictionsError, match=name):
            read_scores(tmp_path / name)


def output(image_id: str, picture: np.ndarray | None = None) -> ImageOutput:
    scores = np.ones((1, 2, 2), dtype=np.float16)
    return ImageOutput(image_id, random_mask(0, (5, 7)), scores, (1,), picture, LABELS)


def test_every_kind_of_output_is_an_option_of_its_own():
    names = [kind.name for kind in OUTPUT_WRITERS]
    assert len(set(names)) == len(names)
    assert all(kind.help for kind in OUTPUT_WRITERS)


def test_masks_are_written_last(tmp_path):
    outputs = {"rle": tmp_path / "coco.json", "scores": None, "overlays": None}
    names = [writer.name for writer in open_writers(RunPaths(tmp_path), outputs)]
    assert names == ["overlays", "scores", "rle", "masks"]


@pytest.mark.parametrize("kind", [*OUTPUT_WRITERS, MaskWriter])
def test_what_a_writer_writes_exists_until_it_is_removed(tmp_path, kind):
    writer = kind(RunPaths(tmp_path))
    assert writer.exists("deep/a") == kind.takes_file
    writer.write(output("deep/a", picture=np.zeros((5, 7, 3), np.uint8)))
    assert writer.exists("deep/a")
    writer.remove("deep/a")
    writer.remove("deep/a")
    assert writer.exists("deep/a") == kind.takes_file
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_overlay_needs_the_pixels(tmp_path):
    with pytest.raises(ValueError, match="pixels"):
        OverlayWriter(RunPaths(tmp_path)).write(output("a"))


def test_a_coco_file_without_segments_is_noted(tmp_path):
    with PredictionFolder.start(tmp_path / "run", RUN) as folder:
        save(folder, "a", Mask(np.zeros((2, 2), dtype=np.uint8)))
        (note,) = RleWriter(folder, tmp_path / "coco.json").finish(folder, LABELS, None)
    assert "none of the 1 masks has a category" in note
