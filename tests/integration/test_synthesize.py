"""`iseg synthesize` as a user runs it, mostly with the random model: its images are noise."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from pycocotools import mask as coco_mask

from iseg_cli.backbones.loading import load_model
from iseg_cli.cli import main
from iseg_cli.config import validate
from iseg_cli.config.resolve import resolve_synthesis
from iseg_cli.config.schema import FilterSettings
from iseg_cli.readers.label_tables import load_label_set
from iseg_cli.readers.registry import open_dataset
from iseg_cli.storage import Drawing, ImageRecord
from iseg_cli.synthesis.synthesize import implausible
from iseg_cli.synthesis.synthesizer import Synthesizer

IDS = [f"{name}_{number:04}" for name in ("cat", "dog") for number in range(3)]
FAST = ("--config", "emoji-voc-synthesize", "--set", "synthesis.steps=2")


def iseg(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def files(folder: Path) -> dict[str, bytes]:
    """The images and masks."""
    found = [*folder.glob("JPEGImages/*"), *folder.glob("SegmentationClass/*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def listed(folder: Path, name: str = "train") -> list[str]:
    return (folder / "ImageSets" / "Segmentation" / f"{name}.txt").read_text().split()


def labels_of(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.array(picture)


def records(folder: Path) -> dict[str, dict]:
    lines = (folder / "images.jsonl").read_text().splitlines()
    return {line["image_id"]: line for line in map(json.loads, lines)}


@pytest.fixture(scope="module")
def command(random_model_folder: Path) -> tuple[object, ...]:
    return (
        *("synthesize", "--categories", "cat, dog", "--per-category", 3, "--objects", "1-2"),
        *("--model", random_model_folder, "--batch-size", 2, *FAST),
    )


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory, command: tuple[object, ...]) -> Path:
    """The folder of an uninterrupted run; other runs must write the same bytes."""
    out = tmp_path_factory.mktemp("once") / "synthetic"
    result = iseg(*command, "--out", out)
    assert result.exit_code == 0, result.output
    assert "6 images with masks written" in result.output
    return out


@pytest.fixture
def copy(once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(once, tmp_path / "synthetic"))


def test_every_file_opens_in_pillow_opencv_and_pycocotools(once: Path) -> None:
    colors = load_label_set("voc").palette
    for image_id in IDS:
        image, mask = (
            once / "JPEGImages" / f"{image_id}.jpg",
            (once / "SegmentationClass" / f"{image_id}.png"),
        )
        with Image.open(image) as picture:
            assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (64, 64))
            assert np.asarray(picture).std() > 1
        with Image.open(mask) as picture:
            assert (picture.format, picture.mode, picture.size) == ("PNG", "P", (64, 64))
            assert picture.getpalette()[: 21 * 3] == list(_palette_of(once)[:21].ravel())
            labels = np.array(picture)
        assert cv2.imread(str(image)).shape == (64, 64, 3)
        painted = cv2.imread(str(mask))[..., ::-1]  # OpenCV applies the palette, blue first
        assert np.array_equal(painted, colors[labels])
        found = set(np.unique(labels)) - {0}
        assert found <= {8, 12}
        for label in found:
            encoded = coco_mask.encode(np.asfortranarray(labels == label, np.uint8))
            assert coco_mask.area(encoded) == (labels == label).sum()
            assert np.array_equal(coco_mask.decode(encoded), labels == label)


def _palette_of(root: Path) -> np.ndarray:
    """The palette: VOC's colours of the dataset's categories, otherwise black."""
    return open_dataset("voc", root=root, split="train").label_set.palette


def test_the_folder_tells_what_was_asked_for(once: Path) -> None:
    assert listed(once) == IDS
    assert not (once / "ImageSets/Segmentation/dropped.txt").exists()
    prompts = json.loads((once / "prompts.json").read_text())
    labels = json.loads((once / "labels.json").read_text())
    assert list(prompts) == list(labels) == IDS
    for image_id in IDS:
        own = image_id.split("_")[0]
        assert labels[image_id][0] == own
        words = " and ".join(labels[image_id])
        assert prompts[image_id] == f"a photograph of {words} and other object and background"
    assert {len(names) for names in labels.values()} == {1, 2}


def test_run_and_records_tell_how_it_was_made(once: Path) -> None:
    run = json.loads((once / "run.json").read_text())
    assert (run["task"], run["status"], run["split"]) == ("synthesis", "finished", "train")
    assert (run["images"], run["batch_size"]) == (6, 2)
    assert run["categories"] == ["cat", "dog"]
    assert run["settings"]["synthesis"]["objects"] == [1, 2]
    assert run["versions"]["diffusers"]
    found = records(once)
    assert list(found) == IDS
    assert len({record["drawing"]["seed"] for record in found.values()}) == 6
    ids = {"cat": 8, "dog": 12}
    for image_id, record in found.items():
        assert (record["status"], record["size"]) == ("done", [64, 64])
        mask = labels_of(once / "SegmentationClass" / f"{image_id}.png")
        drawing = record["drawing"]
        for name, area, confidence in zip(
            record["categories"], drawing["areas"], drawing["confidences"], strict=True
        ):
            assert area == pytest.approx((mask == ids[name]).mean(), abs=1e-6)
            assert 0 <= confidence <= 1
            assert (confidence > 0) == (area > 0)


def test_the_reader_of_voc_reads_it_back(once: Path) -> None:
    reader = open_dataset("voc", root=once, split="train")
    assert reader.image_ids == tuple(IDS)
    assert reader.label_set.names == {0: "background", 8: "cat", 12: "dog"}
    assert reader.label_set.by_name("cat") == load_label_set("voc").by_name("cat")
    assert reader.has_ground_truth
    for image_id in IDS:
        mask = labels_of(once / "SegmentationClass" / f"{image_id}.png")
        assert np.array_equal(reader.ground_truth(image_id).labels, mask)
        assert reader.sample(image_id).image_path == once / "JPEGImages" / f"{image_id}.jpg"


def test_an_image_is_what_the_painter_paints_alone(
    once: Path, random_model_folder: Path, tmp_path: Path, command: tuple[object, ...]
) -> None:
    """A PNG is lossless."""
    out = tmp_path / "lossless"
    result = iseg(*command, "--out", out, "--set", "synthesis.image_format=png")
    assert result.exit_code == 0, result.output
    settings = validate(json.loads((out / "run.json").read_text("utf-8"))["settings"])
    model = load_model(
        str(random_model_folder),
        device=torch.device("cpu"),
        dtype=torch.float32,
        decoder=True,
    )
    reader = open_dataset("voc", root=out, split="train")
    synthesizer = Synthesizer(model, settings, reader.label_set, batch_size=2)
    record = records(out)["dog_0001"]
    [picture] = synthesizer.synthesize_batch([_order(record, reader.label_set, settings)])
    image = cv2.imread(str(out / "JPEGImages" / "dog_0001.png"))[..., ::-1]
    assert np.array_equal(image, picture.image)
    assert np.array_equal(reader.ground_truth("dog_0001").labels, picture.mask.labels)
    assert picture.prompt == record["drawing"]["prompt"]
    jpeg = cv2.imread(str(once / "JPEGImages" / "dog_0001.jpg"))[..., ::-1]
    assert not np.array_equal(jpeg, image)
    assert np.abs(jpeg.astype(int) - image.astype(int)).mean() < 8


def _order(record: dict, label_set, settings):
    from iseg_cli.synthesis.image_specs import ImageSpec

    named = tuple(label_set.by_name(name) for name in record["categories"])
    template = settings.synthesis.templates[0]
    return ImageSpec(record["image_id"], named, template, record["drawing"]["seed"])


def test_run_again_it_resumes(copy: Path, once: Path, command: tuple[object, ...]) -> None:
    """A missing or truncated file is written again with the same bytes, in any batch."""
    (copy / "JPEGImages" / "cat_0001.jpg").write_bytes(b"\xff\xd8 cut short")
    (copy / "SegmentationClass" / "dog_0001.png").unlink()
    (copy / "JPEGImages" / "dog_0002.jpg").unlink()
    untouched = copy / "JPEGImages" / "cat_0000.jpg"
    stamp = untouched.stat().st_mtime_ns
    result = iseg(*command, "--out", copy)
    assert result.exit_code == 0, result.output
    assert "3 images with masks written" in result.output
    assert "3 were there already" in result.output
    assert files(copy) == files(once)
    assert untouched.stat().st_mtime_ns == stamp
    assert list(records(copy)) == IDS


def test_stopped_it_goes_on_where_it_was(
    once: Path, tmp_path: Path, command: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "synthetic"
    synthesize_batch, calls = Synthesizer.synthesize_batch, []

    def stopped(self, specs):
        calls.append(len(specs))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return synthesize_batch(self, specs)

    with monkeypatch.context() as patch:
        patch.setattr(Synthesizer, "synthesize_batch", stopped)
        result = iseg(*command, "--out", out)
    assert result.exit_code == 130
    assert "the same command resumes" in result.output
    assert len(files(out)) == 4
    assert json.loads((out / "run.json").read_text())["status"] == "running"
    result = iseg(*command, "--out", out)
    assert "4 images with masks written" in result.output
    assert files(out) == files(once)
    assert listed(out) == IDS


def test_with_a_greater_number_it_grows(
    copy: Path, once: Path, command: tuple[object, ...]
) -> None:
    result = iseg(*command, "--out", copy, "--per-category", 4)
    assert result.exit_code == 0, result.output
    assert "2 images with masks written" in result.output
    assert files(once).items() <= files(copy).items()
    assert listed(copy) == [*IDS[:3], "cat_0003", *IDS[3:], "dog_0003"]
    # Asked for fewer, it takes nothing away.
    result = iseg(*command, "--out", copy, "--per-category", 1)
    assert "0 images with masks written" in result.output
    assert sorted(listed(copy)) == [*IDS[:3], "cat_0003", *IDS[3:], "dog_0003"]


def test_other_settings_are_refused_unless_overwritten(
    copy: Path, once: Path, command: tuple[object, ...]
) -> None:
    for other in (
        ("--set", "synthesis.guidance=2"),
        ("--set", "seed=7"),
        ("--categories", "cat, car"),
    ):
        result = iseg(*command, "--out", copy, *other)
        assert result.exit_code == 2
        assert "--overwrite" in result.output
        assert files(copy) == files(once)
    result = iseg(*command, "--out", copy, "--categories", "cat, car", "--overwrite")
    assert result.exit_code == 0, result.output
    assert {name.split("_")[0] for name in listed(copy)} == {"cat", "car"}
    assert not list(copy.glob("*/dog_*"))


def test_results_of_other_commands_are_left_alone(
    copy: Path, tmp_path: Path, command: tuple[object, ...]
) -> None:
    result = iseg("generate", "--dataset", "emoji-voc", "--limit", 1, "--out", copy, "--overwrite")
    assert result.exit_code == 2
    assert "results of another command (its task is synthesis)" in result.output
    assert len(files(copy)) == 12
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("mine")
    result = iseg(*command, "--out", foreign, "--overwrite")
    assert result.exit_code == 2
    assert "holds thesis.txt" in result.output


def test_the_filter_decides_only_which_list_names_an_image(
    copy: Path, once: Path, command: tuple[object, ...]
) -> None:
    measured = {
        image_id: min(record["drawing"]["confidences"])
        for image_id, record in records(copy).items()
    }
    bound = float(np.median(list(measured.values())))
    options = ("--set", "filter.min_area=0", "--set", "filter.max_area=1")
    result = iseg(
        *command, "--out", copy, "--filter", *options, "--set", f"filter.min_confidence={bound}"
    )
    assert result.exit_code == 0, result.output
    expected = [image_id for image_id in IDS if measured[image_id] < bound]
    assert len(expected) == 3
    assert listed(copy, "dropped") == expected
    assert listed(copy) == [image_id for image_id in IDS if image_id not in expected]
    assert files(copy) == files(once)
    for image_id in expected:
        assert f"dropped: {image_id}: the confidence in" in result.output
    assert open_dataset("voc", root=copy, split="train").image_ids == tuple(listed(copy))
    # Without it all are back, and nothing is drawn for it.
    result = iseg(*command, "--out", copy)
    assert "0 images with masks written" in result.output
    assert listed(copy) == IDS
    assert not (copy / "ImageSets/Segmentation/dropped.txt").exists()


@pytest.mark.parametrize(
    ("areas", "confidences", "reason"),
    [
        ((0.3, 0.2), (0.5, 0.4), None),
        ((0.1, 0.8), (0.4, 0.4), None),
        ((0.3, 0.09), (0.5, 0.4), "dog takes 9.0% of the image, not 10.0% to 80.0%"),
        ((0.81, 0.1), (0.5, 0.4), "cat takes 81.0% of the image, not 10.0% to 80.0%"),
        ((0.3, 0.2), (0.5, 0.39), "the confidence in dog is 0.39, under 0.4"),
    ],
)
def test_each_category_must_be_plausible(
    areas: tuple[float, ...], confidences: tuple[float, ...], reason: str | None
) -> None:
    bounds = FilterSettings(min_area=0.1, max_area=0.8, min_confidence=0.4)
    drawing = Drawing("a cat and dog", 1, areas, confidences)
    record = ImageRecord("x", (8, 8), ("cat", "dog"), "done", drawing=drawing)
    assert implausible(record, bounds) == reason


def test_pictures_that_overflow_are_reported_and_tried_again(
    once: Path, tmp_path: Path, command: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "synthetic"
    decode = Synthesizer.synthesize_batch

    def overflowing(self, specs):
        pictures = decode(self, specs)
        for spec, picture in zip(specs, pictures, strict=True):
            if spec.image_id == "cat_0002":
                object.__setattr__(picture, "finite", False)
        return pictures

    with monkeypatch.context() as patch:
        patch.setattr(Synthesizer, "synthesize_batch", overflowing)
        result = iseg(*command, "--out", out)
    assert result.exit_code == 1
    assert "failed: cat_0002: " in result.output
    assert "pass --dtype float32 or bfloat16" in result.output
    assert "1 of 6 images failed" in result.output
    assert listed(out) == [image_id for image_id in IDS if image_id != "cat_0002"]
    assert len(files(out)) == 10
    result = iseg(*command, "--out", out)
    assert result.exit_code == 0, result.output
    assert files(out) == files(once)


def test_categories_of_ones_own(tmp_path: Path, random_model_folder: Path) -> None:
    out = tmp_path / "pets"
    result = iseg(
        *("synthesize", "--categories", "corgi, cat", "--per-category", 1, "--out", out),
        *("--model", random_model_folder, "--batch-size", 2, *FAST),
    )
    assert result.exit_code == 0, result.output
    reader = open_dataset("voc", root=out, split="train")
    assert reader.label_set.names == {0: "background", 1: "corgi", 2: "cat"}
    assert set(np.unique(reader.ground_truth("corgi_0000").labels)) == {0, 1}
    assert set(np.unique(reader.ground_truth("cat_0000").labels)) == {0, 2}
    folder = open_dataset(
        "folder",
        root=out / "JPEGImages",
        categories=("corgi", "cat"),
        ground_truth=out / "SegmentationClass",
    )
    assert folder.image_ids == ("cat_0000", "corgi_0000")
    assert np.array_equal(
        folder.ground_truth("corgi_0000").labels, reader.ground_truth("corgi_0000").labels
    )


@pytest.mark.parametrize("source", ["prompts:prompts.json", "file:labels.json"])
def test_there_and_back(once: Path, tmp_path: Path, random_model_folder: Path, source: str) -> None:
    """`iseg generate` on the images, scored against the masks of the synthesis."""
    kind, _, name = source.partition(":")
    again = tmp_path / "again"
    result = iseg(
        *("generate", "--dataset", "emoji-voc", "--root", once, "--split", "train"),
        *("--labels", f"{kind}:{once / name}", "--model", random_model_folder),
        *("--batch-size", 2, "--out", again),
    )
    assert result.exit_code == 0, result.output
    assert "6 masks written" in result.output
    result = iseg("evaluate", again)
    assert result.exit_code == 0, result.output
    report = json.loads((again / "report.json").read_text())
    assert set(report["classes"]) == {"background", "cat", "dog"}
    pairs = [
        (labels_of(again / f"{i}.png"), labels_of(once / "SegmentationClass" / f"{i}.png"))
        for i in IDS
    ]
    one, other = (np.stack(side) for side in zip(*pairs, strict=True))
    ious = [
        ((one == c) & (other == c)).sum() / ((one == c) | (other == c)).sum() for c in (0, 8, 12)
    ]
    assert report["miou"] == pytest.approx(np.mean(ious))
    assert f"{100 * np.mean(ious):.2f}" in result.output
    assert report["images"] == 6


def test_the_dataset_itself_is_no_prediction(once: Path) -> None:
    result = iseg("evaluate", once)
    assert result.exit_code == 2
    assert f"iseg generate --dataset voc --root {once}" in result.output


@pytest.mark.parametrize(
    ("model", "file", "steps"),
    [("tiny", "", 25), (None, "model: tiny", 25), (None, "seed: 1", 50), ("owner/name", "", 50)],
)
def test_a_model_has_its_preset(model: str | None, file: str, steps: int, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(file)
    settings = resolve_synthesis([str(path)], [], {"model": model})
    assert settings.synthesis.steps == steps
    named = resolve_synthesis(["emoji-voc-synthesize"], [], {"model": model})
    assert named.synthesis.steps == 25


def test_the_embedded_model_draws_with_its_own_preset(tmp_path: Path) -> None:
    out = tmp_path / "synthetic"
    result = iseg(
        *("synthesize", "--categories", "cat", "--per-category", 1, "--model", "tiny"),
        *("--out", out, "--batch-size", 1, "--set", "synthesis.steps=4"),
    )
    assert result.exit_code == 0, result.output
    run = json.loads((out / "run.json").read_text())
    assert run["settings"]["synthesis"]["guidance"] == 4.0
    assert run["settings"]["capture"]["cross_weights"] == {"1": 1.0}
    assert labels_of(out / "SegmentationClass" / "cat_0000.png").shape == (128, 128)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Missing option '--categories'"),
        (("--categories", " "), "names no category"),
        (("--categories", "cat, cat"), "named twice"),
        (("--categories", "cat", "--objects", "1-2"), "only 1 were named"),
        (("--categories", "cat", "--objects", "many"), "neither a number such as 1 nor a range"),
        (("--categories", "cat", "--objects", "0"), "synthesis.objects"),
        (("--categories", "cat", "--per-category", 0), "--per-category"),
        (("--categories", "cat", "--label-set", "vok"), "did you mean voc"),
        (("--categories", "cat", "--model", "nowhere"), "check --model"),
        (("--categories", "cat", "--set", "synthesis.step=2"), "did you mean synthesis.steps"),
        (("--categories", "cat", "--set", "synthesis.steps=1001"), "1000 timesteps"),
        (
            ("--categories", "cat", "--set", "synthesis.templates=['{} " + "x" * 99 + "']"),
            "too long",
        ),
        (("--categories", "cat", "--set", "filter.min_area=2"), "filter.min_area"),
        (("--categories", "cat", "--set", "fusion=clip-entropy"), "leave it to iseg generate"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(
    arguments: tuple[object, ...], said: str, tmp_path: Path
) -> None:
    out = tmp_path / "synthetic"
    result = iseg("synthesize", "--model", "tiny", *arguments, "--out", out)
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert "Traceback" not in result.output
    assert not files(out)
