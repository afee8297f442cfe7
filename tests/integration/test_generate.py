"""`iseg generate` as a user runs it: on the embedded model and dataset, and on fake VOC folders."""

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from emoji_runs import emoji_root, iseg, masks
from faults import Fault, has_lines, interrupted, run
from PIL import Image
from pycocotools.coco import COCO
from safetensors.torch import load_file, save_file

from iseg_cli import Segmenter
from iseg_cli.config.resources import TINY_MODEL, embedded_dataset
from iseg_cli.errors import ModelNotFoundError
from iseg_cli.execution.device import whole_image_threads
from iseg_cli.storage import read_mask, read_scores

BATCH = "4"
TWO_THREADS = {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"}
"""Two threads for PyTorch that use no core while they wait."""


@pytest.fixture(scope="module")
def image_ids() -> list[str]:
    lines = (embedded_dataset() / "ImageSets/Segmentation/val.txt").read_text().split()
    return lines[:23]


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory, image_ids: list[str]) -> Path:
    """The output folder of an uninterrupted run; other runs must write the same bytes."""
    root = emoji_root(tmp_path_factory.mktemp("root"), image_ids)
    out = tmp_path_factory.mktemp("once") / "run"
    result = iseg(
        "generate", "--dataset", "emoji-voc", "--root", root, "--out", out, "--batch-size", BATCH
    )
    assert result.exit_code == 0, result.output
    return out


def test_every_image_gets_a_palette_png_of_its_size(once: Path, image_ids: list[str]) -> None:
    assert set(masks(once)) == set(image_ids)
    for image_id in image_ids:
        with Image.open(once / f"{image_id}.png") as picture:
            assert picture.mode == "P"
            assert picture.size == (128, 128)
            assert picture.getpalette()[15 * 3 : 16 * 3] == [192, 128, 128]  # VOC's person
        assert cv2.imread(str(once / f"{image_id}.png")).shape == (128, 128, 3)


def test_grey_masks_have_the_same_labels_for_readers_of_colours(
    once: Path, tmp_path: Path, image_ids: list[str]
) -> None:
    arguments = ["generate", "--dataset", "emoji-voc", "--limit", 4, "--batch-size", BATCH]
    arguments += ["--root", emoji_root(tmp_path / "root", image_ids), "--out", tmp_path / "grey"]
    result = iseg(*arguments, "--png", "grey")
    assert result.exit_code == 0, result.output
    for image_id in image_ids[:4]:
        path = tmp_path / "grey" / f"{image_id}.png"
        values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(values, read_mask(once / path.name).labels)
        with Image.open(path) as picture:
            assert picture.mode == "L"
    assert json.loads((tmp_path / "grey" / "run.json").read_text())["settings"]["png"] == "grey"
    before = masks(tmp_path / "grey")
    assert "4 were there already" in iseg(*arguments, "--set", "png=grey").stdout
    refused = iseg(*arguments)
    assert refused.exit_code == 2
    assert 'png "grey" -> "palette"' in refused.stderr
    assert masks(tmp_path / "grey") == before


@pytest.mark.parametrize("task", ["wsss", "unsupervised"])
def test_a_model_that_gives_no_numbers_makes_no_masks(tmp_path: Path, task: str) -> None:
    """Half precision gives such maps if it overflows; they must not become masks."""
    model = Path(shutil.copytree(TINY_MODEL, tmp_path / "model"))
    path = next((model / "unet").glob("*.safetensors"))
    weights = load_file(path)
    save_file({**weights, "conv_in.bias": weights["conv_in.bias"] * np.nan}, path)
    arguments = ["generate", "--dataset", "emoji-voc", "--task", task, "--limit", 2]
    result = iseg(*arguments, "--model", model, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "2 of 2 images failed." in result.stderr
    assert "values that are no numbers (NaN)" in result.stderr
    assert "pass --dtype float32" in result.stderr
    assert masks(tmp_path / "out") == {}
    if task == "wsss":
        picture = next((embedded_dataset() / "JPEGImages").iterdir())
        with pytest.raises(ModelNotFoundError, match=r"model cannot be used: .* no numbers"):
            Segmenter.from_pretrained(str(model)).segment(picture, categories=["dog"])


def test_truth_of_one_bit_is_read_and_said_once(tmp_path: Path, image_ids: list[str]) -> None:
    root = emoji_root(tmp_path / "root", image_ids[:2])
    for path in (root / "SegmentationClass").iterdir():
        Image.fromarray(np.array(Image.open(path)) > 0).save(path)
    arguments = ["generate", "--dataset", "emoji-voc", "--root", root, "--out", tmp_path / "out"]
    result = iseg(*arguments)
    assert result.exit_code == 0, result.output
    notes = [line for line in result.stderr.splitlines() if line.startswith("note: ")]
    assert len(notes) == 1
    assert "has 1 bit for a pixel: white was read as label 1 (aeroplane)" in notes[0]


def test_truth_in_colours_is_read_and_said_once(tmp_path: Path, image_ids: list[str]) -> None:
    root = emoji_root(tmp_path / "root", image_ids[:4])
    for image_id in image_ids[:3]:
        path = root / "SegmentationClass" / f"{image_id}.png"
        Image.open(path).convert("RGB").save(path)
    arguments = ["--dataset", "emoji-voc", "--root", root]
    result = iseg("generate", *arguments, "--out", tmp_path / "run", "--batch-size", BATCH)
    assert result.exit_code == 0, result.output
    assert len(masks(tmp_path / "run")) == 4
    notes = [line for line in result.stderr.splitlines() if line.startswith("note:")]
    assert len(notes) == 1
    assert f"{image_ids[0]}.png were read by their colours" in notes[0]
    report = iseg("evaluate", tmp_path / "run", "--format", "json")
    assert json.loads(report.stdout)["protocol"]["read_by_color"] == {"ground_truth": 3}


def test_a_run_that_made_nothing_does_not_block_the_next(
    tmp_path: Path, image_ids: list[str]
) -> None:
    root = emoji_root(tmp_path / "root", image_ids[:2])
    (tmp_path / "labels.txt").write_text("".join(f"{i} cat\n" for i in image_ids[:2]))
    arguments = ["generate", "--dataset", "emoji-voc", "--root", root, "--out", tmp_path / "run"]
    pictures = {path: path.read_bytes() for path in (root / "JPEGImages").iterdir()}
    for path in pictures:
        path.write_bytes(b"")
    failed = iseg(*arguments, "--labels", f"file:{tmp_path / 'labels.txt'}", "--batch-size", 1)
    assert failed.exit_code == 1, failed.output
    for path, contents in pictures.items():
        path.write_bytes(contents)
    made = iseg(*arguments, "--batch-size", 2)
    assert made.exit_code == 0, made.output
    assert masks(tmp_path / "run").keys() == set(image_ids[:2])
    refused = iseg(*arguments, "--labels", f"file:{tmp_path / 'labels.txt'}", "--batch-size", 2)
    assert refused.exit_code == 2
    assert "was made with other settings (label_source" in refused.stderr


def test_masks_hold_only_the_labels_that_the_image_has(once: Path, image_ids: list[str]) -> None:
    for image_id in image_ids:
        truth = read_mask(embedded_dataset() / "SegmentationClass" / f"{image_id}.png").labels
        found = set(np.unique(read_mask(once / f"{image_id}.png").labels))
        assert found <= {0, *np.unique(truth)}
        assert len(found) > 1


def test_the_folder_explains_itself(once: Path, image_ids: list[str]) -> None:
    run = json.loads((once / "run.json").read_text())
    assert run["dataset"] == "emoji-voc"
    assert run["split"] == "val"
    assert run["label_source"] == "masks"
    assert run["status"] == "finished"
    assert run["batch_size"] == 4
    assert run["settings"]["refine"]["iterations"] == 6
    assert run["versions"]["torch"]
    lines = [json.loads(line) for line in (once / "images.jsonl").read_text().splitlines()]
    assert [line["image_id"] for line in lines] == image_ids
    assert all(line["size"] == [128, 128] and line["status"] == "done" for line in lines)


def test_order_and_neighbours_change_no_byte(
    once: Path, tmp_path: Path, image_ids: list[str]
) -> None:
    shuffled = [image_ids[i] for i in np.random.default_rng(7).permutation(len(image_ids))]
    assert shuffled != image_ids
    root = emoji_root(tmp_path / "root", shuffled[2:])
    out = tmp_path / "run"
    result = iseg(
        "generate", "--dataset", "emoji-voc", "--root", root, "--out", out,
        "--batch-size", BATCH, "--workers", 1,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    expected = masks(once)
    assert masks(out) == {image_id: expected[image_id] for image_id in shuffled[2:]}


def test_another_batch_size_flips_hardly_a_pixel(
    once: Path, tmp_path: Path, image_ids: list[str]
) -> None:
    root = emoji_root(tmp_path / "root", image_ids)
    for size in (1, 7):
        result = iseg(
            "generate", "--dataset", "emoji-voc", "--root", root,
            "--out", tmp_path / str(size), "--batch-size", size,
        )  # fmt: skip
        assert result.exit_code == 0, result.output
    flipped = total = 0
    for image_id in image_ids:
        one = read_mask(tmp_path / "1" / f"{image_id}.png").labels
        seven = read_mask(tmp_path / "7" / f"{image_id}.png").labels
        flipped += int((one != seven).sum())
        total += one.size
    assert flipped <= total / 10_000


def test_a_killed_run_resumes_to_the_same_bytes(
    once: Path, tmp_path: Path, image_ids: list[str]
) -> None:
    root = emoji_root(tmp_path / "root", image_ids)
    out = tmp_path / "run"
    arguments = [
        "generate", "--dataset", "emoji-voc", "--root", str(root), "--out", str(out),
        "--batch-size", BATCH,
    ]  # fmt: skip
    journal = out / "images.jsonl"
    fault = Fault("any", when=partial(has_lines, journal, 3), then="kill")
    killed = run(*arguments, log=tmp_path / "log", faults=[fault])
    assert killed.code == -9, killed.said
    recorded = [json.loads(line)["image_id"] for line in journal.read_text().splitlines()]
    assert 3 <= len(recorded) < len(image_ids)
    short, *whole = recorded
    (out / f"{short}.png").write_bytes((out / f"{short}.png").read_bytes()[:60])
    stamps = {p: p.stat().st_mtime_ns for p in out.glob("*.png")}

    result = subprocess.run(
        [sys.executable, "-m", "iseg_cli", *arguments],
        env={**os.environ, **TWO_THREADS},  # `once` and the killed run had one
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert result.returncode == 0, result.stderr
    assert masks(out) == masks(once)
    assert len(journal.read_text().splitlines()) == len(image_ids)
    kept = {p.stem for p, stamp in stamps.items() if p.stat().st_mtime_ns == stamp}
    assert kept == set(whole)
    assert f"{len(image_ids) - len(whole)} masks written" in result.stdout
    assert f"{len(whole)} were there already" in result.stdout
    assert not [p for p in out.rglob("*") if p.name.startswith(".") or ".tmp" in p.name]


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    out = tmp_path / "run"
    fault = Fault("any", when=partial(has_lines, out / "images.jsonl", 2), then=interrupted)
    ended = run(
        "generate", "--dataset", "emoji-voc", "--split", "val", "--out", out, "--batch-size", "1",
        log=tmp_path / "log", faults=[fault],
    )  # fmt: skip
    assert ended.code == 130, ended.said
    assert "the same command resumes" in ended.said
    assert 2 <= len(masks(out)) < 300
    assert "Traceback" not in ended.said


def test_other_settings_in_the_same_folder_are_refused(once: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(once, out)
    before = masks(out)
    root = json.loads((out / "run.json").read_text())["root"]
    arguments = [
        "generate", "--dataset", "emoji-voc", "--root", root, "--out", out, "--batch-size", BATCH,
        "--set", "refine.iterations=2",
    ]  # fmt: skip
    result = iseg(*arguments)
    assert result.exit_code == 2
    assert "refine.iterations" in result.output
    assert "--overwrite" in result.output
    assert masks(out) == before
    assert iseg(*arguments, "--overwrite").exit_code == 0
    assert masks(out).keys() == before.keys()
    assert masks(out) != before


def test_broken_images_are_reported_and_the_rest_is_done(
    once: Path, tmp_path: Path, image_ids: list[str]
) -> None:
    root = emoji_root(tmp_path / "root", image_ids)
    broken, missing = image_ids[2], image_ids[5]
    picture = root / "JPEGImages" / f"{broken}.jpg"
    picture.write_bytes(picture.read_bytes()[:900])
    (root / "JPEGImages" / f"{missing}.jpg").unlink()
    out = tmp_path / "run"
    arguments = [
        "generate", "--dataset", "emoji-voc", "--root", root, "--out", out, "--batch-size", BATCH,
    ]  # fmt: skip
    result = iseg(*arguments)
    assert result.exit_code == 1
    assert f"{broken}.jpg" in result.output
    assert f"lists {missing}, but" in result.output
    assert "2 of 23 images failed" in result.output
    expected = masks(once)
    assert masks(out) == {i: b for i, b in expected.items() if i not in (broken, missing)}
    refused = iseg("evaluate", out)
    assert refused.exit_code == 2

    for image_id in (broken, missing):  # put right, the same command does just these
        shutil.copy(embedded_dataset() / "JPEGImages" / f"{image_id}.jpg", root / "JPEGImages")
    mended = iseg(*arguments)
    assert mended.exit_code == 0
    assert "2 masks written" in mended.output
    assert masks(out) == expected


def test_images_without_labels_are_background(tmp_path: Path, image_ids: list[str]) -> None:
    root = emoji_root(tmp_path / "root", image_ids[:2])
    file = tmp_path / "labels.json"
    file.write_text(json.dumps({image_ids[0]: [], image_ids[1]: ["dog"]}))
    out = tmp_path / "run"
    result = iseg(
        "generate", "--dataset", "emoji-voc", "--root", root, "--out", out,
        "--labels", f"file:{file}", "--batch-size", BATCH,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert not read_mask(out / f"{image_ids[0]}.png").labels.any()
    assert set(np.unique(read_mask(out / f"{image_ids[1]}.png").labels)) == {0, 12}
    records = [json.loads(line) for line in (out / "images.jsonl").read_text().splitlines()]
    assert [record["status"] for record in records] == ["empty", "done"]


def test_extras_beside_the_masks(once: Path, tmp_path: Path, image_ids: list[str]) -> None:
    root = emoji_root(tmp_path / "root", image_ids)
    out, rle = tmp_path / "run", tmp_path / "coco.json"
    result = iseg(
        "generate", "--dataset", "emoji-voc", "--root", root, "--out", out, "--batch-size", BATCH,
        "--overlays", "--scores", "--rle", rle,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert masks(out) == masks(once)
    coco = COCO()
    coco.dataset = {
        "images": [{"id": image_id, "height": 128, "width": 128} for image_id in image_ids],
        "categories": [{"id": i} for i in range(1, 21)],
    }
    coco.createIndex()
    loaded = coco.loadRes(str(rle))
    for image_id in image_ids:
        mask = read_mask(out / f"{image_id}.png").labels
        rebuilt = np.zeros_like(mask)
        for annotation in loaded.imgToAnns[image_id]:
            rebuilt[loaded.annToMask(annotation) == 1] = annotation["category_id"]
        assert np.array_equal(rebuilt, mask)
        scores, ids = read_scores(out / "scores" / f"{image_id}.npz")
        assert scores.dtype == np.float16
        assert scores.shape == (len(ids), 32, 32)
        assert scores.max() == 1
        assert min(cv2.imread(str(out / "overlays" / f"{image_id}.jpg")).shape[:2]) >= 128


def test_a_folder_of_any_pictures(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures" / "nested"
    pictures.mkdir(parents=True)
    scene = Image.open(embedded_dataset() / "JPEGImages" / "val_0001.jpg")
    scene.resize((190, 110)).save(pictures / "wide.png")
    scene.convert("L").save(pictures.parent / "grey.jpg")
    out = tmp_path / "run"
    result = iseg(
        "generate", "--dataset", "folder", "--root", pictures.parent, "--model", "tiny",
        "--config", "emoji-voc", "--categories", "car, horse", "--out", out,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert read_mask(out / "nested" / "wide.png").size == (110, 190)
    assert read_mask(out / "grey.png").size == (128, 128)
    assert set(np.unique(read_mask(out / "grey.png").labels)) <= {0, 1, 2}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "no dataset was named"),
        (("--dataset", "vok"), "did you mean voc"),
        (("--dataset", "emoji-voc", "--split", "vall"), "did you mean val"),
        (("--dataset", "emoji-voc", "--set", "refine.iteratoins=8"), "did you mean refine.itera"),
        (("--dataset", "emoji-voc", "--config", "papers/voc"), "paper/voc"),
        (("--dataset", "emoji-voc", "--batch-size", "many"), "neither auto nor a number"),
        (("--dataset", "emoji-voc", "--model", "nowhere"), "check --model"),
        (("--dataset", "emoji-voc", "--labels", "file:/no/such.json"), "/no/such.json"),
        (("--dataset", "emoji-voc", "--labels", "guess"), "guess"),
        (("--dataset", "emoji-voc", "--device", "cuda:99"), "cuda:99"),
        (("--dataset", "emoji-voc", "--set", "capture.timestep=1000"), "capture.timestep"),
        (("--dataset", "emoji-voc", "--set", "capture.self_heads=[9]"), "capture.self_heads"),
        (("--dataset", "voc", "--root", "/no/such/root"), "/no/such/root"),
        (("--dataset", "folder", "--root", "."), "--categories"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(
    arguments: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    result = iseg("generate", *arguments, "--out", tmp_path / "run", "--limit", 1)
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert "Traceback" not in result.output
    assert not masks(tmp_path / "run")


def test_the_embedded_model_segments_the_embedded_dataset(tmp_path: Path) -> None:
    """All of val, as in `make demo`: mIoU at least 0.48."""
    out = tmp_path / "run"
    assert iseg("generate", "--dataset", "emoji-voc", "--split", "val", "--out", out).exit_code == 0
    result = iseg("evaluate", out, "--format", "json", "--fail-under", "0.48")
    assert result.exit_code == 0, result.output
    report = json.loads((out / "report.json").read_text())
    assert report["images"] >= 200
    assert report["miou"] >= 0.48
    assert report["classes"]["diningtable"]["iou"] is None


def test_help_needs_no_torch() -> None:
    """No command's help and no module of `iseg --help` imports torch."""
    code = (
        "import sys; from click.testing import CliRunner; from iseg_cli.cli import COMMANDS, main\n"
        "for command in ((), *((name,) for name in COMMANDS)):\n"
        "    result = CliRunner().invoke(main, [*command, '--help'])\n"
        "    assert result.exit_code == 0 and 'Example' in result.output, result.output\n"
        "assert 'torch' not in sys.modules and 'diffusers' not in sys.modules\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=False
    )
    assert result.returncode == 0, result.stderr


def test_info_names_models_and_datasets() -> None:
    result = iseg("info")
    assert result.exit_code == 0
    assert "tiny           embedded" in result.output
    assert "emoji-voc      found" in result.output
    assert "ISEG_VOC_ROOT" in result.output


@pytest.mark.parametrize(
    ("batch_size", "threads", "used"), [(8, 2, 2), (7, 2, 1), (8, 16, 8), (12, 5, 4), (1, 16, 16)]
)
def test_threads_share_out_whole_images(batch_size: int, threads: int, used: int) -> None:
    assert whole_image_threads(batch_size, threads) == used


def test_the_resize_is_part_of_a_run(tmp_path: Path, image_ids: list[str]) -> None:
    (tmp_path / "pictures").mkdir()
    with Image.open(embedded_dataset() / "JPEGImages" / f"{image_ids[0]}.jpg") as scene:
        scene.resize((300, 200)).save(tmp_path / "pictures" / "scene.png")
    common = (
        *(
            "generate",
            "--dataset",
            "folder",
            "--root",
            tmp_path / "pictures",
            "--categories",
            "dog",
        ),
        *("--categories", "dog", "--config", "emoji-voc", "--out", tmp_path / "run", "--set"),
    )
    assert iseg(*common, "resize=opencv").exit_code == 0
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["settings"]["resize"] == "opencv"
    other = iseg(*common, "resize=pillow")
    assert other.exit_code != 0
    assert "resize" in other.output
