"""`iseg evaluate` from files to figures, on a tiny dataset in VOC's layout."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from layouts import halves, write_image, write_mask
from PIL import Image
from pngs import RGB, renumbered, write_png
from sklearn.metrics import jaccard_score

from iseg_cli.cli import main
from iseg_cli.cli.evaluate import evaluate as command
from iseg_cli.errors import DataError, DatasetNotFoundError, PredictionsError, SettingsError
from iseg_cli.evaluation.evaluate import evaluate
from iseg_cli.evaluation.opening import find_runs
from iseg_cli.readers.label_tables import load_label_set
from iseg_cli.readers.voc import VocReader
from iseg_cli.segmentation.segment_labels import segment_label_set
from iseg_cli.storage import ImageRecord, PredictionFolder, RunInfo, encode_mask, write_rle
from iseg_cli.types import Mask

IDS = ("2007_000001", "2007_000002", "2007_000003", "2007_000004")
SIZES = ((6, 9), (8, 5), (7, 7), (5, 6))
PALETTE = load_label_set("voc").palette


def truth_labels(number: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    return rng.choice([0, 0, 8, 15, 255], size=SIZES[number]).astype(np.uint8)


def predicted_labels(number: int) -> np.ndarray:
    rng = np.random.default_rng(100 + number)
    truth = truth_labels(number)
    wrong = rng.choice([0, 8, 15, 3], size=truth.shape)
    return np.where(rng.random(truth.shape) < 0.7, truth % 255, wrong).astype(np.uint8)


def png(labels: np.ndarray, palette: np.ndarray | None = PALETTE) -> bytes:
    return encode_mask(Mask(labels), palette)


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    for number, image_id in enumerate(IDS):
        height, width = SIZES[number]
        Image.new("RGB", (width, height)).save(root / "JPEGImages" / f"{image_id}.jpg")
        (root / "SegmentationClass" / f"{image_id}.png").write_bytes(png(truth_labels(number)))
    lists = root / "ImageSets" / "Segmentation"
    (lists / "train.txt").write_text("\n".join(IDS) + "\n")
    (lists / "val.txt").write_text(IDS[0] + "\n")
    return root


def run_info(root, **changes) -> RunInfo:
    info = RunInfo(
        dataset="voc",
        root=str(root),
        split="train",
        label_source="masks",
        task="wsss",
        model={"name": "tiny", "revision": "1"},
        settings={"assign": {"background": "power", "threshold": 0.45}, "label_set": None},
        seed=1101,
        batch_size=2,
        dtype="float32",
        device="cpu",
        images=len(IDS),
        limit=None,
        created="2025-01-01T00:00:00+00:00",
        versions={"iseg": "0.1.0"},
    )
    return replace(info, **changes)


def make_run(
    path, info: RunInfo, numbers=range(4), label=predicted_labels, palette=PALETTE
) -> None:
    with PredictionFolder.start(path, info) as folder:
        for number in numbers:
            labels = label(number)
            record = ImageRecord(IDS[number], labels.shape, ("cat", "person"), "done")
            folder.write(record, png(labels, palette))
        folder.finish(IDS)


@pytest.fixture
def predictions(tmp_path, root):
    path = tmp_path / "predictions" / "voc-train"
    make_run(path, run_info(root))
    return path


def oracle_iou(numbers=range(4)) -> dict[int, float]:
    """IoU by label over all pixels at once, by scikit-learn."""
    truth = np.concatenate([truth_labels(n).ravel() for n in numbers])
    prediction = np.concatenate([predicted_labels(n).ravel() for n in numbers])
    counted = truth != 255
    labels = [0, 3, 8, 15]
    scores = jaccard_score(truth[counted], prediction[counted], labels=labels, average=None)
    return dict(zip(labels, scores, strict=True))


def test_a_run_is_scored_without_options(predictions):
    report = evaluate(predictions)
    expected = oracle_iou()
    assert report.classes["background"].iou == pytest.approx(expected[0], abs=1e-12)
    assert report.classes["cat"].iou == pytest.approx(expected[8], abs=1e-12)
    assert report.classes["person"].iou == pytest.approx(expected[15], abs=1e-12)
    assert report.classes["bird"].iou == expected[3] == 0
    assert report.classes["bird"].accuracy is None
    assert report.classes["sofa"].iou is None
    assert report.miou == pytest.approx(np.mean(list(expected.values())), abs=1e-12)
    assert report.images == 4
    assert report.protocol == {
        "dataset": "voc",
        "split": "train",
        "images": 4,
        "missing": 0,
        "failed": 0,
        "faulty": 0,
        "surplus": 0,
        "label_set": "voc",
        "task": "wsss",
        "label_source": "masks",
        "input": "whole images",
        "background": "power",
        "ignore_label": 255,
        "matching": "none",
        "absent_classes": "count",
        "model": {"name": "tiny", "revision": "1"},
        "seed": 1101,
        "dtype": "float32",
        "versions": {"iseg": "0.1.0"},
        "notes": [],
    }
    assert json.loads((predictions / "report.json").read_text()) == report.to_json_dict()


def test_truth_scores_one(tmp_path, root):
    make_run(tmp_path / "run", run_info(root), label=truth_labels)
    report = evaluate(tmp_path / "run")
    assert (report.miou, report.mean_accuracy) == (1, 1)
    assert report.pixel_accuracy == 1


def test_any_folder_of_masks_is_scored_with_a_dataset(tmp_path, root, predictions):
    folder = tmp_path / "theirs"
    folder.mkdir()
    for number, image_id in enumerate(IDS):
        Image.fromarray(predicted_labels(number)).save(folder / f"{image_id}.png")
    report = evaluate(folder, dataset="voc", root=root)
    assert report.miou == evaluate(predictions).miou
    assert report.protocol["label_source"] is None
    with pytest.raises(PredictionsError, match="--dataset"):
        evaluate(folder)
    (folder / f"{IDS[1]}.png").unlink()
    with pytest.raises(PredictionsError, match=f"1 of 4 masks is missing .first: {IDS[1]}"):
        evaluate(folder, dataset="voc", root=root)


def test_the_categories_of_a_folder_come_from_its_run_or_the_user(tmp_path, root):
    info = run_info(root / "JPEGImages", dataset="folder", split="all", categories=("cat", "dog"))
    with PredictionFolder.start(tmp_path / "run", info) as folder:
        for number, image_id in enumerate(IDS):
            labels = np.full(SIZES[number], number % 3, np.uint8)
            folder.write(ImageRecord(image_id, labels.shape, (), "done"), png(labels))
    with pytest.raises(DataError, match="no ground truth"):
        evaluate(tmp_path / "run")
    report = evaluate(tmp_path / "run", ground_truth=tmp_path / "run")
    assert (report.names, report.miou) == (("background", "cat", "dog"), 1)
    named = evaluate(tmp_path / "run", ground_truth=tmp_path / "run", categories=["x", "y"])
    assert named.names == ("background", "x", "y")


# --- what is not there -------------------------------------------------------------------------


def test_an_incomplete_run_is_refused_with_the_way_on(tmp_path, root):
    path = tmp_path / "run"
    with PredictionFolder.start(path, run_info(root)) as folder:
        for number in (0, 2):
            labels = predicted_labels(number)
            folder.write(ImageRecord(IDS[number], labels.shape, (), "done"), png(labels))
        folder.write(ImageRecord(IDS[3], None, (), "failed", "cannot be decoded"))
    with pytest.raises(PredictionsError) as refused:
        evaluate(path)
    sentence = str(refused.value)
    assert "2 of 4 masks are missing, 1 of them failed" in sentence
    assert f"iseg generate --dataset voc --split train --out {path}" in sentence
    assert "--allow-missing" in sentence
    assert not (path / "report.json").exists()
    report = evaluate(path, allow_missing=True)
    assert report.classes["cat"].iou == pytest.approx(oracle_iou([0, 2])[8], abs=1e-12)
    assert [report.protocol[key] for key in ("images", "missing", "failed")] == [2, 2, 1]


@pytest.mark.parametrize("damage", ["delete", "truncate"])
def test_a_recorded_mask_that_is_not_whole_is_missing(predictions, damage):
    path = predictions / f"{IDS[2]}.png"
    data = path.read_bytes()
    path.unlink() if damage == "delete" else path.write_bytes(data[:-20])
    with pytest.raises(PredictionsError, match="1 of 4 masks is missing"):
        evaluate(predictions)


def test_a_limited_run_scores_its_images_and_says_so(tmp_path, root):
    info = run_info(root, limit=2, images=2)
    make_run(tmp_path / "run", info, numbers=(0, 1))
    report = evaluate(tmp_path / "run")
    assert report.images == report.protocol["limit"] == 2
    assert report.classes["person"].iou == pytest.approx(oracle_iou([0, 1])[15], abs=1e-12)
    (tmp_path / "run" / f"{IDS[1]}.png").unlink()
    with pytest.raises(PredictionsError, match=r"1 of 2 masks .* --limit 2 "):
        evaluate(tmp_path / "run")


def test_nothing_to_score_is_refused(tmp_path, root):
    (tmp_path / "none").mkdir()
    with pytest.raises(PredictionsError, match="holds no PNG masks"):
        evaluate(tmp_path / "none", dataset="voc", root=root, allow_missing=True)
    with pytest.raises(PredictionsError, match="is no folder"):
        evaluate(tmp_path / "nowhere", dataset="voc", root=root)
    with pytest.raises(PredictionsError, match=r"no run\.json"):
        evaluate(tmp_path / "nowhere")


# --- other splits, other images ----------------------------------------------------------------


def test_the_split_that_is_asked_for_is_scored_whatever_the_run_made(predictions, tmp_path, root):
    report = evaluate(predictions, split="val")
    assert report.images == 1
    assert report.classes["cat"].iou == pytest.approx(oracle_iou([0])[8], abs=1e-12)
    assert report.protocol["split"] == "val"
    assert (report.protocol["surplus"], report.protocol["missing"]) == (3, 0)
    assert report.protocol["notes"] == [
        f"3 masks are of no image of split val of voc and not scored "
        f"(first: {predictions / IDS[1]}.png)"
    ]
    alone = tmp_path / "alone"
    make_run(alone, run_info(root, split="val", images=1), numbers=[0])
    assert evaluate(alone).to_json_dict()["classes"] == report.to_json_dict()["classes"]


def test_masks_from_elsewhere_may_be_more_than_the_split_has(tmp_path, root):
    folder = tmp_path / "theirs"
    folder.mkdir()
    for number, image_id in enumerate(IDS):
        Image.fromarray(predicted_labels(number)).save(folder / f"{image_id}.png")
    result = invoke(folder, "--dataset", "voc", "--root", root, "--split", "val")
    assert result.exit_code == 0
    assert result.stderr == (
        f"note: 3 masks are of no image of split val of voc and not scored "
        f"(first: {folder / IDS[1]}.png)\n"
    )
    assert "surplus         3" in result.stdout


def test_a_name_with_a_slip_is_seen(tmp_path, root):
    folder = tmp_path / "theirs"
    folder.mkdir()
    for number, image_id in enumerate([*IDS[:3], "2007_00004"]):
        Image.fromarray(predicted_labels(number)).save(folder / f"{image_id}.png")
    with pytest.raises(PredictionsError) as raised:
        evaluate(folder, dataset="voc", root=root)
    assert str(raised.value) == (
        f"{folder} is incomplete: 1 of 4 masks is missing (first: {IDS[3]}); 1 mask is of no "
        f"image of split train of voc (first: {folder}/2007_00004.png); add them, or pass "
        "--allow-missing to score the others"
    )
    report = evaluate(folder, dataset="voc", root=root, allow_missing=True)
    assert [report.protocol[key] for key in ("images", "missing", "surplus")] == [3, 1, 1]
    assert "2007_00004.png" in report.protocol["notes"][0]


def test_masks_of_no_image_at_all_are_refused(predictions, root):
    (root / "ImageSets" / "Segmentation" / "other.txt").write_text("2008_000001\n")
    (root / "SegmentationClass" / "2008_000001.png").write_bytes(png(truth_labels(0)))
    sentence = rf"{IDS[0]}\.png belongs to no image of split other of voc, nor do 3 other masks"
    for allow_missing in (False, True):
        with pytest.raises(PredictionsError, match=sentence):
            evaluate(predictions, split="other", allow_missing=allow_missing)


def test_the_limit_of_a_run_holds_for_its_own_split_alone(tmp_path, root):
    (root / "ImageSets" / "Segmentation" / "trainval.txt").write_text("\n".join(IDS[::-1]) + "\n")
    make_run(tmp_path / "run", run_info(root, limit=2, images=2), numbers=(0, 1))
    with pytest.raises(PredictionsError) as raised:
        evaluate(tmp_path / "run", split="trainval")
    sentence = str(raised.value)
    assert f"2 of 4 masks are missing (first: {IDS[3]})" in sentence
    assert "make them with iseg generate --dataset voc --split trainval, or" in sentence
    report = evaluate(tmp_path / "run", split="trainval", allow_missing=True)
    assert report.images == 2
    assert "limit" not in report.protocol
    assert report.classes["person"].iou == pytest.approx(oracle_iou([0, 1])[15], abs=1e-12)


def test_a_name_that_no_mask_can_have_counts_as_failed(predictions, root):
    with (root / "ImageSets" / "Segmentation" / "train.txt").open("a") as file:
        file.write("../2007_000009\n")
    with pytest.raises(PredictionsError, match=r"1 of 5 masks is missing, 1 of them failed"):
        evaluate(predictions)
    report = evaluate(predictions, allow_missing=True)
    assert [report.protocol[key] for key in ("images", "missing", "failed")] == [4, 1, 1]
    (note,) = report.protocol["notes"]
    assert "'../2007_000009'" in note


def test_what_the_reader_tells_is_told(predictions, monkeypatch):
    made = VocReader.__init__

    def init(self, *arguments, **options):
        made(self, *arguments, **options)
        self.notes = ("two lists are the same",)

    monkeypatch.setattr(VocReader, "__init__", init)
    result = invoke(predictions, "--format", "json")
    assert json.loads(result.stdout)["protocol"]["notes"] == ["two lists are the same"]
    assert result.stderr == "note: two lists are the same\n"


# --- labels that a common mistake leaves -------------------------------------------------------


def test_truth_of_0_and_255_is_told(tmp_path, root):
    for number, image_id in enumerate(IDS):
        truth = np.where(truth_labels(number) % 255 > 0, 255, 0).astype(np.uint8)
        truth[0, 0], truth[0, 1] = 0, 255
        (root / "SegmentationClass" / f"{image_id}.png").write_bytes(png(truth))
    make_run(tmp_path / "run", run_info(root))
    note = (
        "the ground truth of all images holds only the labels 0 and 255, and 255 is not counted; "
        "a mask of 0 and 255 must hold the label of the class in place of 255"
    )
    assert evaluate(tmp_path / "run").protocol["notes"] == [note]
    for matching in ("image", "dataset"):
        assert evaluate(tmp_path / "run", matching=matching).protocol["notes"] == [note]
    result = invoke(tmp_path / "run")
    assert result.exit_code == 0
    assert result.stderr == f"note: {note}\n"
    # One image with a class is enough: the others may well show none.
    (root / "SegmentationClass" / f"{IDS[3]}.png").write_bytes(png(np.full(SIZES[3], 8, np.uint8)))
    assert evaluate(tmp_path / "run").protocol["notes"] == []


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ((0, 255), "hold only the labels 0 and 255, and 255 means undecided"),
        ((255,), "hold only the label 255, and 255 means undecided"),
        ((0,), "hold only background"),
    ],
)
def test_masks_without_a_class_are_told(tmp_path, root, held, words):
    def label(number: int) -> np.ndarray:
        return np.resize(np.array(held, np.uint8), SIZES[number])

    make_run(tmp_path / "run", run_info(root), label=label)
    (note,) = evaluate(tmp_path / "run").protocol["notes"]
    assert note.startswith(f"the masks of all images {words}")
    assert evaluate(tmp_path / "run", matching="image").protocol["notes"] == []


# --- classes in no truth -----------------------------------------------------------------------


def test_classes_in_no_truth_count_or_are_skipped(predictions):
    expected = oracle_iou()
    counted = evaluate(predictions)
    skipped = evaluate(predictions, absent_classes="skip")
    assert counted.predicted_only == skipped.predicted_only == ("bird",)
    assert counted.miou == pytest.approx(sum(expected.values()) / 4, abs=1e-12)
    assert skipped.miou == pytest.approx((expected[0] + expected[8] + expected[15]) / 3, abs=1e-12)
    assert skipped.protocol["absent_classes"] == "skip"
    result = invoke(predictions, "--absent-classes", "skip", "--fail-under", skipped.miou - 1e-9)
    assert result.exit_code == 0
    assert "mean of 3 of 21 classes" in result.stdout
    assert "absent classes  skip" in result.stdout
    assert invoke(predictions, "--fail-under", skipped.miou - 1e-9).exit_code == 1
    with pytest.raises(SettingsError, match="did you mean skip"):
        evaluate(predictions, absent_classes="skipp")
    assert invoke(predictions, "--absent-classes", "none").exit_code == 2


# --- what does not fit -------------------------------------------------------------------------


def test_a_mask_of_another_size_is_named(tmp_path, root):
    make_run(tmp_path / "run", run_info(root), label=lambda n: predicted_labels(n)[:-1])
    with pytest.raises(
        PredictionsError, match=rf"{IDS[0]}\.png is 9 wide and 5 high.*9 wide and 6"
    ):
        evaluate(tmp_path / "run")


def test_a_label_of_no_class_is_named(tmp_path, root):
    make_run(tmp_path / "run", run_info(root), label=lambda n: predicted_labels(n) + 10)
    with pytest.raises(PredictionsError, match=rf"{IDS[0]}\.png has label \d+"):
        evaluate(tmp_path / "run")


def test_damaged_truth_is_named(predictions, root):
    path = root / "SegmentationClass" / f"{IDS[3]}.png"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataError, match=str(path)):
        evaluate(predictions)


def test_unknown_names_are_refused(predictions):
    with pytest.raises(SettingsError, match="did you mean image"):
        evaluate(predictions, matching="imagee")
    with pytest.raises(SettingsError, match="did you mean voc"):
        evaluate(predictions, dataset="vocc")
    with pytest.raises(DatasetNotFoundError):
        evaluate(predictions, split="trian")


def test_a_root_that_moved_is_given_or_found(predictions, root, tmp_path, monkeypatch):
    moved = root.rename(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetNotFoundError, match="--root"):
        evaluate(predictions)
    assert evaluate(predictions, root=moved).images == 4
    monkeypatch.setenv("ISEG_VOC_ROOT", str(moved))
    assert evaluate(predictions).images == 4


# --- segments without names --------------------------------------------------------------------


def permuted(number: int) -> np.ndarray:
    """Return the truth with its labels renamed, in another way in every image."""
    names = np.roll(np.arange(256, dtype=np.uint8), -number - 1)
    truth = truth_labels(number)
    return np.where(truth == 255, 0, names[truth]).astype(np.uint8)


def test_matching_per_image_names_segments(tmp_path, root):
    segments = segment_label_set().palette
    info = run_info(root, task="unsupervised")
    make_run(tmp_path / "run", info, label=permuted, palette=segments)
    report = evaluate(tmp_path / "run")
    assert report.protocol["matching"] == "image"
    assert report.pixel_accuracy == 1
    once = evaluate(tmp_path / "run", matching="dataset")
    assert once.protocol["matching"] == "dataset"
    assert once.pixel_accuracy < 1


def test_matching_once_names_clusters(tmp_path, root):
    names = np.roll(np.arange(256, dtype=np.uint8), 77)
    make_run(tmp_path / "run", run_info(root), label=lambda n: names[truth_labels(n)])
    report = evaluate(tmp_path / "run", matching="dataset")
    assert report.pixel_accuracy == 1
    assert report.miou == 1


# --- what a user forgets -----------------------------------------------------------------------


def test_a_folder_is_told_which_option_it_lacks(tmp_path):
    write_image(tmp_path / "pictures" / "a.jpg")
    for name in ("masks", "truth"):
        write_mask(tmp_path / name / "a.png", halves(0, 1))
    given = {"dataset": "folder", "root": tmp_path / "pictures"}
    with pytest.raises(DataError, match=r"has no ground truth; pass --truth FOLDER$"):
        evaluate(tmp_path / "masks", categories=["dog"], **given)
    with pytest.raises(SettingsError, match=r"pass --categories .* or --label-set NAME"):
        evaluate(tmp_path / "masks", ground_truth=tmp_path / "truth", **given)
    report = evaluate(
        tmp_path / "masks", ground_truth=tmp_path / "truth", categories=["dog"], **given
    )
    assert report.miou == 1


def test_masks_of_other_formats_are_said_to_be_no_pngs(tmp_path, root):
    write_image(tmp_path / "masks" / f"{IDS[0]}.jpg")
    for options in ({}, {"allow_missing": True}):
        with pytest.raises(
            PredictionsError, match=rf"holds no PNG masks; .* such as {IDS[0]}\.png"
        ):
            evaluate(tmp_path / "masks", dataset="voc", root=root, **options)


def test_the_case_of_a_masks_ending_does_not_matter(tmp_path, root):
    for number in range(4):
        write_png(tmp_path / "masks" / f"{IDS[number]}.PNG", truth_labels(number))
    assert evaluate(tmp_path / "masks", dataset="voc", root=root).miou == 1


# --- masks that a tool has shrunk --------------------------------------------------------------


def shrink(path: Path, palette: np.ndarray, seed: int) -> None:
    """Keep the colours that are used, in another order, as pngquant does."""
    labels = np.array(Image.open(path))
    order = np.random.default_rng(seed).permutation(np.unique(labels)).tolist()
    indices, colors = renumbered(labels, palette, order)
    write_png(path, indices, bits=4, palette=colors)


@pytest.mark.parametrize("workers", [1, 2])
def test_shrunk_masks_score_what_they_scored(predictions, root, workers):
    before = evaluate(predictions)
    for number, path in enumerate(sorted(predictions.glob("*.png"))):
        shrink(path, PALETTE, number)
    shrink(root / "SegmentationClass" / f"{IDS[0]}.png", PALETTE, 9)
    after = evaluate(predictions, workers=workers)
    assert after.matrix.pairs.tolist() == before.matrix.pairs.tolist()
    assert after.protocol["read_by_color"] == {"masks": 4, "ground_truth": 1}
    assert "read_by_color" not in before.protocol


@pytest.mark.parametrize("workers", [1, 2])
def test_masks_of_one_bit_are_counted_in_a_note(tmp_path, root, workers):
    for number in range(4):
        labels = predicted_labels(number)
        write_png(tmp_path / "masks" / f"{IDS[number]}.png", labels > 0, bits=1)
    truth = root / "SegmentationClass" / f"{IDS[0]}.png"
    write_png(truth, truth_labels(0) > 0, bits=1)
    report = evaluate(tmp_path / "masks", dataset="voc", root=root, workers=workers)
    assert (
        "4 masks and 1 file of ground truth have 1 bit for a pixel: white was read as label 1 "
        "(aeroplane); if white means 255 or another class, save the masks with 8 bits"
    ) in report.protocol["notes"]


def test_one_mask_is_one_mask(predictions, root):
    shrink(predictions / f"{IDS[0]}.png", PALETTE, 1)
    assert evaluate(predictions).protocol["notes"] == [
        "1 mask was read by colour: the stored numbers are not the labels of the label set"
    ]


def test_a_shrunk_run_is_resumed_and_exported(predictions, root):
    exported = predictions.parent / "before.json"
    with PredictionFolder.start(predictions, run_info(root)) as folder:
        write_rle(exported, folder, load_label_set("voc"))
    for number, path in enumerate(sorted(predictions.glob("*.png"))):
        shrink(path, PALETTE, number)
    with PredictionFolder.start(predictions, run_info(root)) as folder:
        assert folder.finished() == set(IDS)
        write_rle(predictions.parent / "after.json", folder, load_label_set("voc"))
    assert (predictions.parent / "after.json").read_bytes() == exported.read_bytes()


def test_shrunk_masks_of_others_score_what_they_scored(tmp_path, root):
    for number in range(4):
        path = tmp_path / "masks" / f"{IDS[number]}.png"
        write_png(path, predicted_labels(number))
        shrink(path, PALETTE, number)
    make_run(tmp_path / "run", run_info(root))
    expected = evaluate(tmp_path / "run").matrix.pairs
    report = evaluate(tmp_path / "masks", dataset="voc", root=root)
    assert report.matrix.pairs.tolist() == expected.tolist()


def test_predictions_of_others_have_a_labelmap_of_their_own(tmp_path, root):
    make_run(tmp_path / "run", run_info(root))
    expected = evaluate(tmp_path / "run").matrix.pairs
    names = {0: "background", 3: "Bird", 8: "cat", 15: "PERSON"}
    lines = [f"{name}:{label + 1},2,3::\n" for label, name in names.items()]
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "labelmap.txt").write_text("".join(lines))
    for number in range(4):
        rgb = np.stack([predicted_labels(number) + 1] + [np.full(SIZES[number], 2)] * 2, axis=-1)
        rgb[..., 2] = 3
        write_png(tmp_path / "masks" / f"{IDS[number]}.png", rgb, color_type=RGB)
    report = evaluate(tmp_path / "masks", dataset="voc", root=root)
    assert report.matrix.pairs.tolist() == expected.tolist()
    assert report.protocol["read_by_color"] == {"masks": 4}


def test_a_grey_run_scores_the_same_also_when_it_is_shrunk(tmp_path, root):
    make_run(tmp_path / "run", run_info(root))
    expected = evaluate(tmp_path / "run").matrix.pairs.tolist()
    settings = {**run_info(root).settings, "png": "grey"}
    make_run(tmp_path / "grey", run_info(root, settings=settings), palette=None)
    assert evaluate(tmp_path / "grey").matrix.pairs.tolist() == expected
    ramp = np.arange(256)[:, None].repeat(3, axis=1)
    for number, path in enumerate(sorted((tmp_path / "grey").glob("*.png"))):
        shrink(path, ramp, number)
    assert evaluate(tmp_path / "grey").matrix.pairs.tolist() == expected


def test_a_shrunk_mask_of_foreign_colours_is_refused_by_name(predictions):
    path = predictions / f"{IDS[1]}.png"
    shrink(path, PALETTE // 2 + 5, 0)
    with pytest.raises(PredictionsError, match=rf"{IDS[1]}\.png has \d+ pixels of the colour"):
        evaluate(predictions)


def test_shrunk_segments_are_matched_as_before(tmp_path, root):
    segments = segment_label_set().palette
    info = run_info(root, task="unsupervised")
    make_run(tmp_path / "run", info, label=permuted, palette=segments)
    for number, path in enumerate(sorted((tmp_path / "run").glob("*.png"))):
        shrink(path, segments, number)
    assert evaluate(tmp_path / "run").pixel_accuracy == 1


# --- the command -------------------------------------------------------------------------------


def invoke(*arguments):
    return CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)


def test_the_command_prints_figures_and_protocol(predictions):
    result = invoke(predictions)
    assert result.exit_code == 0
    miou = evaluate(predictions).miou
    assert f"{100 * miou:.2f}" in result.stdout
    assert ["sofa", "-", "-"] in [line.split() for line in result.stdout.splitlines()]
    for line in ("split           train", "label source    masks", "background      power"):
        assert line in result.stdout
    assert result.stderr == ""  # no progress bar where nobody watches


def test_every_format_can_be_written_to_a_file(predictions, tmp_path):
    for style in ("table", "json", "csv", "markdown", "html"):
        printed = invoke(predictions, "--format", style, "--confusion")
        assert printed.exit_code == 0
        result = invoke(
            predictions, "--format", style, "--confusion", "--out", tmp_path / "deep" / style
        )
        assert result.stdout == ""
        assert (tmp_path / "deep" / style).read_text() == printed.stdout
    assert json.loads((tmp_path / "deep" / "json").read_text())["images"] == 4


def test_fail_under_decides_the_exit_code(predictions):
    miou = evaluate(predictions).miou
    assert invoke(predictions, "--fail-under", miou).exit_code == 0
    result = invoke(predictions, "--fail-under", miou + 1e-6)
    assert result.exit_code == 1
    assert "below" in result.stderr
    assert "mIoU" not in result.stdout.splitlines()[-1]
    assert invoke(predictions, "--fail-under", 48).exit_code == 2


def test_a_folder_of_runs_is_scored_run_by_run(predictions, root):
    assert find_runs(predictions.parent) == [predictions]
    assert invoke(predictions.parent).stdout == invoke(predictions).stdout
    other = predictions.parent / "best"
    make_run(other, run_info(root), label=truth_labels)
    assert find_runs(predictions.parent) == [other, predictions]
    contents = json.loads(invoke(predictions.parent, "--format", "json").stdout)
    assert contents[str(other)]["miou"] == 1
    assert contents[str(predictions)]["miou"] < 1
    result = invoke(predictions.parent, "--fail-under", 0.99)
    assert result.exit_code == 1
    assert str(predictions) in result.stderr
    assert str(other) not in result.stderr


def test_a_run_that_cannot_be_scored_does_not_stop_the_others(predictions, root):
    broken = predictions.parent / "broken"
    make_run(broken, run_info(root), numbers=[0])
    result = CliRunner().invoke(main, ["evaluate", str(predictions.parent), "--format", "json"])
    assert result.exit_code == 2
    scored = json.loads(result.stdout)
    assert scored.keys() == {str(predictions)}
    assert scored[str(predictions)]["miou"] == evaluate(predictions).miou
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"Error: 1 of 2 runs cannot be scored: {broken} is incomplete: 3 of 4")


def test_notes_of_several_runs_name_theirs(predictions, root):
    other = predictions.parent / "best"
    make_run(other, run_info(root), label=truth_labels)
    result = invoke(predictions.parent, "--split", "val")
    assert result.exit_code == 0
    assert [line.split(": 3 masks")[0] for line in result.stderr.splitlines()] == [
        f"note: {other}",
        f"note: {predictions}",
    ]


def test_wrong_input_is_one_sentence_and_exit_code_2(predictions, root):
    (predictions / f"{IDS[1]}.png").unlink()
    for arguments in ([predictions], [root], [root, "--dataset", "vocc"], [predictions / "none"]):
        result = CliRunner().invoke(main, ["evaluate", *map(str, arguments)])
        assert result.exit_code == 2
        assert result.stdout == ""
        assert result.stderr.startswith("Error: ")
        assert len(result.stderr.splitlines()) == 1


def test_the_command_starts_without_heavy_imports():
    code = (
        "import sys, iseg_cli.cli.evaluate\n"
        "heavy = {'torch', 'numpy', 'scipy', 'PIL', 'cv2', 'pycocotools', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_scoring_loads_no_torch():
    code = "import sys, iseg_cli.evaluation.evaluate as e; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
