"""The unsupervised task as a user runs it: generate and evaluate, cropped and not."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from layouts import SIZE, halves, make_cityscapes, make_folder, write_image, write_mask
from PIL import Image

from iseg_cli.attention.self_map_extractor import SelfMapExtractor
from iseg_cli.cli import main
from iseg_cli.config import load_settings, validate
from iseg_cli.config.resources import embedded_dataset
from iseg_cli.readers.decoding import load_image
from iseg_cli.readers.label_tables import load_label_set
from iseg_cli.readers.middle_square import crop_ground_truth, middle_square
from iseg_cli.segmentation.segment_labels import MOST, segment_label_set
from iseg_cli.segmentation.segmenter import fit_image
from iseg_cli.segmentation.segments import MOST_SEGMENTS, find_segments
from iseg_cli.segmentation.unsupervised_segmenter import UnsupervisedSegmenter
from iseg_cli.storage import read_mask, read_scores
from iseg_cli.types import Mask

SIDE = 128
"""The image size of the embedded model."""
TINY = ("--model=tiny", "--batch-size=2")


def iseg(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def report_of(run: Path, *options: str) -> dict:
    result = iseg("evaluate", run, *options)
    assert result.exit_code == 0, result.output
    return json.loads((run / "report.json").read_text())


@pytest.fixture(scope="module")
def cityscapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a fake Cityscapes with two wide val images of coloured blocks."""
    root = make_cityscapes(tmp_path_factory.mktemp("data"))
    rng = np.random.default_rng(3)
    for seed, (image_id, labels) in enumerate(
        {
            "frankfurt/frankfurt_000000_000294": (7, 26),  # road, car
            "munster/munster_000000_000019": (4, 18),  # static, which is ignored, and polegroup
        }.items()
    ):
        blocks = rng.integers(0, 256, (6 + seed, 15, 3), dtype=np.uint8)
        picture = blocks.repeat(10, 0).repeat(10, 1)
        size = picture.shape[:2]
        path = root / "leftImg8bit" / "val" / f"{image_id}_leftImg8bit.png"
        Image.fromarray(picture).save(path)
        truth = root / "gtFine" / "val" / f"{image_id}_gtFine_labelIds.png"
        write_mask(truth, halves(*labels, size), palette=None)
    return root


@pytest.fixture(scope="module")
def run(cityscapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "cityscapes"
    result = iseg(
        "generate", "--dataset=cityscapes", "--root", cityscapes, "--out", out, *TINY,
        "--set=diffseg.threshold=0.1", "--overlays", "--scores",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    return out


def image_ids(run: Path) -> list[str]:
    lines = (run / "images.jsonl").read_text().splitlines()
    return [json.loads(line)["image_id"] for line in lines]


# --- Cityscapes: middle squares ----------------------------------------------------------------


def test_the_run_says_what_it_is(run: Path) -> None:
    info = json.loads((run / "run.json").read_text())
    assert (info["task"], info["label_source"], info["split"]) == ("unsupervised", "none", "val")
    assert info["crop_side"] == SIDE
    assert info["settings"]["label_set"] == "cityscapes-27"
    records = [json.loads(line) for line in (run / "images.jsonl").read_text().splitlines()]
    assert len(records) == 2
    for record in records:
        assert (record["size"], record["status"]) == ([SIDE, SIDE], "done")
        assert record["categories"] == []


def test_masks_number_segments_in_colours_of_their_own(run: Path) -> None:
    palette = segment_label_set().palette
    for image_id in image_ids(run):
        labels = read_mask(run / f"{image_id}.png").labels
        assert labels.shape == (SIDE, SIDE)
        count = int(labels.max()) + 1
        assert count > 1
        sizes = np.bincount(labels.ravel(), minlength=count)
        assert (sizes > 0).all()
        with Image.open(run / f"{image_id}.png") as picture:
            colors = np.asarray(picture.getpalette(), dtype=np.uint8).reshape(-1, 3)
        np.testing.assert_array_equal(colors[:count], palette[:count])


def test_masks_are_the_segments_of_the_middle_squares(run: Path, cityscapes: Path) -> None:
    from iseg_cli.backbones.loading import load_model

    settings = load_settings("cityscapes", overrides={"diffseg.threshold": 0.1})
    paths = [cityscapes / f"leftImg8bit/val/{i}_leftImg8bit.png" for i in image_ids(run)]
    squares = np.stack([fit_image(middle_square(load_image(path)), SIDE) for path in paths])
    maps = SelfMapExtractor(load_model("tiny"), settings, batch_size=2).extract(squares)
    found = find_segments(maps, [(SIDE, SIDE)] * 2, settings)
    for image_id, segments in zip(image_ids(run), found, strict=True):
        np.testing.assert_array_equal(
            read_mask(run / f"{image_id}.png").labels, segments.labels.numpy()
        )
        scores, labels = read_scores(run / "scores" / f"{image_id}.npz")
        np.testing.assert_array_equal(scores, segments.scores.half().numpy())
        assert labels.tolist() == list(range(len(scores)))


def test_overlays_show_the_middle_square(run: Path, cityscapes: Path) -> None:
    for image_id in image_ids(run):
        path = cityscapes / f"leftImg8bit/val/{image_id}_leftImg8bit.png"
        square = fit_image(middle_square(load_image(path)), SIDE).astype(float)
        with Image.open(run / "overlays" / f"{image_id}.jpg") as picture:
            drawn = np.asarray(picture.convert("RGB"), dtype=float)
        left = drawn[: 3 * SIDE, : 3 * SIDE]  # enlarged to 384 pixels, left of the painted one
        shrunk = left.reshape(SIDE, 3, SIDE, 3, 3).mean(axis=(1, 3))
        # Enlarging overshoots at the edges of blocks; everywhere else the pictures are alike.
        assert np.median(np.abs(shrunk - square)) < 4


def by_hand(run: Path, cityscapes: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return masks and ground truth as numbers 0 to 26, and 255 where the protocol ignores."""
    table = load_label_set("cityscapes-27")
    pairs = []
    for image_id in image_ids(run):
        ids = np.array(Image.open(cityscapes / f"gtFine/val/{image_id}_gtFine_labelIds.png"))
        truth = np.full(ids.shape, 255, dtype=np.uint8)
        for category in table.categories:
            truth[ids == category.source_ids[0]] = category.id
        pairs.append(
            (read_mask(run / f"{image_id}.png").labels, crop_ground_truth(Mask(truth), SIDE).labels)
        )
    return pairs


def test_matching_per_image_by_hand(run: Path, cityscapes: Path) -> None:
    """Two classes in one image, one in the other: every choice of segments for them is tried."""
    right = counted = 0
    for mask, truth in by_hand(run, cityscapes):
        classes = sorted(set(np.unique(truth).tolist()) - {255})
        overlaps = np.array(
            [[((mask == s) & (truth == c)).sum() for s in range(mask.max() + 1)] for c in classes]
        )
        counted += overlaps.sum()
        if len(classes) == 1:
            right += overlaps.max()
            continue
        segments = range(overlaps.shape[1])
        right += max(overlaps[0, a] + overlaps[1, b] for a in segments for b in segments if a != b)
    report = report_of(run)
    assert report["protocol"]["matching"] == "image"
    assert report["protocol"]["label_set"] == "cityscapes-27"
    assert report["protocol"]["input"] == f"middle squares, resized to {SIDE} x {SIDE}"
    assert report["protocol"]["background"] == "none"
    assert report["images"] == 2
    # One image's ignored half is not counted, and what no class got is an error.
    assert counted == SIDE * SIDE + SIDE * (SIDE // 2)
    assert report["pixel_accuracy"] == pytest.approx(right / counted, abs=1e-12)
    assert right < counted
    confusion = report["confusion"]
    assert np.sum(confusion["counts"]) + np.sum(confusion["undecided"]) == counted


def test_matching_once_is_no_better(run: Path) -> None:
    per_image = report_of(run)["pixel_accuracy"]
    once = report_of(run, "--matching", "dataset")
    assert once["protocol"]["matching"] == "dataset"
    assert 0 < once["pixel_accuracy"] <= per_image


def test_plain_diffseg_is_another_setting(run: Path, cityscapes: Path, tmp_path: Path) -> None:
    arguments = ["generate", "--dataset=cityscapes", "--root", cityscapes, *TINY]
    arguments += ["--set=diffseg.threshold=0.1", "--set=refine.mode=none"]
    refused = iseg(*arguments, "--out", run)
    assert refused.exit_code == 2
    assert "refine.mode" in refused.output
    result = iseg(*arguments, "--out", tmp_path / "plain")
    assert result.exit_code == 0, result.output
    differing = [
        (read_mask(run / f"{i}.png").labels != read_mask(tmp_path / "plain" / f"{i}.png").labels)
        for i in image_ids(run)
    ]
    assert np.mean(differing) > 0.01


# --- other inputs ------------------------------------------------------------------------------


def test_a_folder_needs_no_categories(tmp_path: Path) -> None:
    root, out = make_folder(tmp_path), tmp_path / "run"
    result = iseg(
        "generate", "--dataset=folder", "--root", root, "--task=unsupervised", "--out", out, *TINY,
        "--set=diffseg.threshold=0.1", "--set=refine.mode=adaptive",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    for image_id in ("a", "deep/b"):
        assert read_mask(out / f"{image_id}.png").size == SIZE
    assert json.loads((out / "run.json").read_text())["crop_side"] is None


def test_background_is_a_class_like_the_others(tmp_path: Path) -> None:
    result = iseg(
        "generate", "--dataset=emoji-voc", "--task=unsupervised", "--limit=4", "--batch-size=2",
        "--out", tmp_path / "run",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    report = report_of(tmp_path / "run")
    assert report["protocol"]["matching"] == "image"
    assert report["protocol"]["input"] == "whole images"
    assert report["protocol"]["background"] == "a class like the others"
    right = counted = 0
    for image_id in image_ids(tmp_path / "run"):
        mask = read_mask(tmp_path / "run" / f"{image_id}.png").labels
        truth = read_mask(embedded_dataset() / "SegmentationClass" / f"{image_id}.png").labels
        right += best_of(mask, truth)
        counted += int((truth != 255).sum())
    assert report["pixel_accuracy"] == pytest.approx(right / counted, abs=1e-12)
    assert report["classes"]["background"]["accuracy"] > 0


def best_of(mask: np.ndarray, truth: np.ndarray) -> int:
    """Return the greatest number of correct pixels over all assignments, by recursion."""
    classes = sorted(set(np.unique(truth).tolist()) - {255})

    def best(remaining: list[int], free: frozenset[int]) -> int:
        if not remaining:
            return 0
        first, *others = remaining
        without = best(others, free)
        return max(
            [without]
            + [int(((mask == s) & (truth == first)).sum()) + best(others, free - {s}) for s in free]
        )

    return best(classes, frozenset(np.unique(mask).tolist()))


def test_middle_squares_for_given_labels(cityscapes: Path, tmp_path: Path) -> None:
    """The other tasks crop, too; only classes inside the square are segmented."""
    image_id = "frankfurt/frankfurt_000000_000294"
    path = cityscapes / f"gtFine/val/{image_id}_gtFine_labelIds.png"
    before = path.read_bytes()
    labels = np.full((60, 150), 7, dtype=np.uint8)
    labels[:, :30] = 26  # a car, outside
    write_mask(path, labels, palette=None)
    try:
        result = iseg(
            "generate", "--dataset=cityscapes", "--task=wsss", "--root", cityscapes, "--limit=1",
            "--out", tmp_path / "run", *TINY, "--set=capture.self_heads=null",
            "--set=crop=center",
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        [record] = [json.loads(i) for i in (tmp_path / "run/images.jsonl").read_text().splitlines()]
        assert (record["categories"], record["size"]) == (["road"], [SIDE, SIDE])
        report = report_of(tmp_path / "run")
        assert report["pixel_accuracy"] == 1
        assert report["protocol"]["matching"] == "none"
        assert report["protocol"]["input"].startswith("middle squares")
        assert report["classes"]["car"]["iou"] is None
    finally:
        path.write_bytes(before)


def test_a_broken_image_is_reported_and_passed_over(tmp_path: Path) -> None:
    root = make_folder(tmp_path, ("a.png", "b.png"))
    (root / "a.png").write_bytes(b"no image")
    write_image(root / "c.png")
    result = iseg(
        "generate", "--dataset=folder", "--root", root, "--task=unsupervised", *TINY,
        "--out", tmp_path / "run",
    )  # fmt: skip
    assert result.exit_code == 1
    assert "failed: a:" in result.output
    assert {path.name for path in (tmp_path / "run").glob("*.png")} == {"b.png", "c.png"}


# --- Python ------------------------------------------------------------------------------------


def test_neighbours_change_no_pixel(random_model) -> None:
    settings = validate({"diffseg": {"threshold": 0.03}, "refine": {"mode": "adaptive"}})
    segmenter = UnsupervisedSegmenter(random_model, settings, batch_size=3)
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    sizes = [(40, 70), (64, 64), (9, 5)]

    def segment(rows):
        segmentations = segmenter.begin_batch(
            pictures[rows], [()] * len(rows), [sizes[i] for i in rows], segment_label_set()
        )()
        return [one.mask.labels for one in segmentations]

    alone = [segment([i])[0] for i in range(3)]
    assert [labels.shape for labels in alone] == sizes
    assert max(labels.max() for labels in alone) > 1
    for rows in ([0, 1, 2], [2, 0]):
        for i, labels in zip(rows, segment(rows), strict=True):
            np.testing.assert_array_equal(labels, alone[i])


def test_segments_have_254_different_colours() -> None:
    label_set = segment_label_set()
    colors = {category.color for category in label_set.categories}
    assert len(colors) == len(label_set.categories) == MOST == MOST_SEGMENTS == 254
    assert (0, 0, 0) not in colors
    assert tuple(label_set.palette[255]) not in colors
    first = np.array([category.color for category in label_set.categories[:8]], dtype=float)
    apart = np.abs(first[:, None] - first[None]).max(axis=2) + 255 * np.eye(8)
    assert apart.min() > 40
