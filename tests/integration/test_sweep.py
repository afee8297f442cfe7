"""A sweep gives each setting the score of `iseg generate` and `iseg evaluate`."""

import json
import re
import shutil
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from faults import Fault, has_lines, interrupted, run
from safetensors.torch import load_file, save_file

from iseg_cli.attention.map_extractor import MapExtractor
from iseg_cli.backbones.loading import load_model
from iseg_cli.cli import main
from iseg_cli.config import load_settings
from iseg_cli.config.resources import TINY_MODEL
from iseg_cli.evaluation.metrics.confusion import ConfusionMatrix
from iseg_cli.readers.registry import open_dataset
from iseg_cli.readers.voc import EmojiVocReader
from iseg_cli.storage import read_mask
from iseg_cli.sweep import score_settings

IMAGES = 6
VARIANTS = {
    "raw": {"refine.mode": "none", "cat_cross.gamma": 1.0},
    "refined": {"refine.iterations": 3, "cat_cross.gamma": 1.0},
    "enhanced": {"refine.iterations": 3, "cat_cross.gamma": 1.6},
}
STEPS = "ent_self.step_size=0,0.1"
NUMBERS = "refine.iterations=0,2,6"


def iseg(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def sweep(out, *grids, limit=IMAGES, **options):
    given = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    axes = [f"--grid={text}" for text in grids]
    return iseg(
        "sweep", "--dataset=emoji-voc", f"--out={out}", f"--limit={limit}", "--batch-size=4",
        *axes, *given,
    )  # fmt: skip


def results(out):
    return json.loads((out / "sweep.json").read_text())


def image_lines(out):
    lines = [json.loads(line) for line in (out / "counts.jsonl").read_text().splitlines()]
    return [line for line in lines if "image" in line]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    out = tmp_path_factory.mktemp("sweep") / "once"
    result = sweep(out, STEPS, NUMBERS)
    assert result.exit_code == 0, result.output
    return out, result


@pytest.fixture
def captured(monkeypatch):
    """The number of images in each batch of the model."""
    shown = []
    extract = MapExtractor.extract

    def listen(self, images, categories):
        shown.append(len(images))
        return extract(self, images, categories)

    monkeypatch.setattr(MapExtractor, "extract", listen)
    return shown


def test_the_same_counts_as_generate_and_evaluate(tmp_path: Path) -> None:
    variants = {
        name: load_settings("emoji-voc", overrides=changes) for name, changes in VARIANTS.items()
    }
    reader = open_dataset("emoji-voc", split="val")
    counts = score_settings(load_model("tiny"), reader, variants, batch_size=4, limit=IMAGES)
    assert len({confusion.counts.tobytes() for confusion in counts.values()}) == len(VARIANTS)
    for name, changes in VARIANTS.items():
        out = tmp_path / name
        options = [f"--set={key}={value}" for key, value in changes.items()]
        result = iseg(
            "generate", "--dataset=emoji-voc", f"--out={out}", f"--limit={IMAGES}",
            "--batch-size=4", *options,
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        expected = ConfusionMatrix(21)
        for image_id in reader.image_ids[:IMAGES]:
            mask = read_mask(out / f"{image_id}.png").labels
            expected.update(mask, reader.ground_truth(image_id).labels)
        assert np.array_equal(counts[name].counts, expected.counts)


def test_the_scores_are_those_of_generate_and_evaluate(swept, tmp_path):
    out, _ = swept
    found = {tuple(s["values"].values()): s for s in results(out)["settings"]}
    assert len(found) == 6
    for step, number in ((0.0, 2), (0.1, 6)):
        masks = tmp_path / f"{step}-{number}"
        result = iseg(
            "generate", "--dataset=emoji-voc", f"--out={masks}", f"--limit={IMAGES}",
            "--batch-size=4", f"--set=ent_self.step_size={step}",
            f"--set=refine.iterations={number}",
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        assert iseg("evaluate", masks).exit_code == 0
        report = json.loads((masks / "report.json").read_text())
        own = found[step, number]
        for measure in ("miou", "pixel_accuracy", "mean_accuracy"):
            assert own[measure] == report[measure]
        assert own["iou"] == {name: score["iou"] for name, score in report["classes"].items()}


def test_what_is_written_and_said(swept):
    out, result = swept
    assert sorted(path.name for path in out.iterdir()) == [
        "counts.jsonl", "sweep.csv", "sweep.json", "sweep.md", "sweep.png",
    ]  # fmt: skip
    assert (
        "6 settings (2 of ent_self.step_size x 3 of refine.iterations) on 6 images, 1 capture e"
        in (result.stderr)
    )
    assert len(result.stdout.splitlines()) == 2 + 6 + 1 + 2
    assert re.search(r"^Best mIoU \d+\.\d\d: ent_self.step_size=\S+ refine.iterations=\d$",
                     result.stdout, re.MULTILINE)  # fmt: skip
    assert results(out)["run"]["status"] == "finished"
    assert results(out)["protocol"]["images"] == IMAGES
    assert len((out / "sweep.csv").read_text().splitlines()) == 1 + 6


def test_each_image_is_captured_once_and_only_what_is_missing_is_computed(
    swept, tmp_path, captured
):
    once, _ = swept
    out = tmp_path / "run"
    shutil.copytree(once, out)
    assert sweep(out, STEPS, NUMBERS, format="csv").exit_code == 0
    assert captured == []  # all of it was there
    assert (out / "counts.jsonl").read_bytes() == (once / "counts.jsonl").read_bytes()
    assert (out / "sweep.csv").read_bytes() == (once / "sweep.csv").read_bytes()

    wider = sweep(out, STEPS, "refine.iterations=0,2,4,6", limit=IMAGES + 1, format="csv")
    assert wider.exit_code == 0, wider.output
    assert sorted(captured) == [1, 2, 4]  # six images for the new value, one for everything
    new = image_lines(out)[IMAGES:]
    assert sorted(len(line["counts"]) for line in new) == [2] * IMAGES + [8]
    fresh = sweep(
        tmp_path / "fresh", STEPS, "refine.iterations=0,2,4,6", limit=IMAGES + 1, format="csv"
    )
    assert wider.stdout == fresh.stdout


def test_a_sweep_that_was_cut_short_goes_on(swept, tmp_path, captured):
    once, _ = swept
    out = tmp_path / "run"
    shutil.copytree(once, out)
    whole = (out / "counts.jsonl").read_bytes().splitlines(keepends=True)
    (out / "counts.jsonl").write_bytes(b"".join(whole[:4]) + whole[4][: len(whole[4]) // 2])
    assert sweep(out, STEPS, NUMBERS).exit_code == 0
    assert captured == [3]
    assert sorted((out / "counts.jsonl").read_bytes().splitlines(keepends=True)) == sorted(whole)
    assert (out / "sweep.csv").read_bytes() == (once / "sweep.csv").read_bytes()


def test_ctrl_c_ends_with_130_and_the_sweep_resumes(swept, tmp_path):
    once, _ = swept
    out = tmp_path / "run"
    counted = partial(has_lines, out / "counts.jsonl", 1, '"image"')
    ended = run(
        "sweep", "--dataset", "emoji-voc", "--out", out, "--batch-size", "4",
        "--grid", STEPS, "--grid", NUMBERS,
        log=tmp_path / "log", faults=[Fault("any", when=counted, then=interrupted)],
    )  # fmt: skip
    assert ended.code == 130, ended.said
    assert "the same command resumes" in ended.said
    assert "Traceback" not in ended.said
    assert 1 <= len(image_lines(out)) < 300
    assert not (out / ".iseg-lock").exists()
    result = sweep(out, STEPS, NUMBERS, format="csv")
    assert result.exit_code == 0
    assert "images are there already" in result.stderr
    assert result.stdout == (once / "sweep.csv").read_text()


def test_another_base_is_refused_unless_overwritten(swept, tmp_path):
    once, _ = swept
    out = tmp_path / "run"
    shutil.copytree(once, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    for change, named in (
        ({"set": "cat_cross.gamma=1.3"}, "cat_cross.gamma 1.0 -> 1.3"),
        ({"split": "style"}, 'split "val" -> "style"'),
    ):
        result = sweep(out, STEPS, **change)
        assert result.exit_code == 2
        assert "holds a sweep of another base" in result.stderr
        assert named in result.stderr
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    result = iseg(
        "sweep", "--dataset=emoji-voc", f"--out={out}", "--limit=1", "--grid=refine.iterations=1",
        "--set=cat_cross.gamma=1.3", "--overwrite",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert len(image_lines(out)) == 1


def test_seeds_give_a_capture_each_and_a_deviation(tmp_path, captured):
    out = tmp_path / "run"
    result = sweep(out, "refine.mode=single,iterative", limit=2, seeds=3)
    assert result.exit_code == 0, result.output
    assert captured == [2, 2, 2]
    assert "3 captures each" in result.stderr
    scores = [s["miou"] for s in results(out)["settings"]]
    assert len(set(scores)) > 2
    for index, cell in enumerate(results(out)["means"]):
        own = scores[3 * index : 3 * index + 3]
        assert cell["miou"] == pytest.approx(np.mean(own))
        assert cell["deviation"] == pytest.approx(np.std(own, ddof=1))
    assert result.stdout.count("±") == 3


def test_an_image_that_fails_is_in_no_setting(tmp_path):
    root = tmp_path / "emoji"
    shutil.copytree(open_dataset("emoji-voc").root, root)
    out = tmp_path / "run"
    first = sweep(out, "refine.iterations=1", limit=3, root=root)
    assert first.exit_code == 0, first.output
    broken = open_dataset("emoji-voc", root=root).image_ids[1]
    (image,) = (root / "JPEGImages").glob(f"{broken}.*")
    image.write_bytes(image.read_bytes()[:100])
    result = sweep(out, "refine.iterations=1,2", limit=3, root=root)
    assert result.exit_code == 1
    assert f"failed: {broken}:" in result.stderr
    contents = results(out)
    assert list(contents["failed"]) == [broken]
    assert contents["protocol"]["images"] == 2
    others = tmp_path / "others"
    listed = root / "ImageSets" / "Segmentation" / "val.txt"
    kept = [line for line in listed.read_text().split() if line != broken]
    listed.write_text("\n".join(kept) + "\n")
    assert sweep(others, "refine.iterations=1,2", limit=2, root=root).exit_code == 0
    assert (out / "sweep.csv").read_text() == (others / "sweep.csv").read_text()


def test_what_a_reader_raises_or_refuses_is_an_images_failure(tmp_path, monkeypatch):
    root = tmp_path / "emoji"
    shutil.copytree(open_dataset("emoji-voc").root, root)
    listed = root / "ImageSets" / "Segmentation" / "val.txt"
    first, second, *_ = listed.read_text().split()
    listed.write_text(f"{first}\n{second}\n../outside\n")
    read_truth = EmojiVocReader.ground_truth

    def odd(reader, image_id):
        if image_id == second:
            raise PermissionError(13, "Permission denied", "mask.png")
        return read_truth(reader, image_id)

    monkeypatch.setattr(EmojiVocReader, "ground_truth", odd)
    result = sweep(tmp_path / "run", "refine.iterations=1", root=root)
    assert result.exit_code == 1
    assert f"failed: {second}: mask.png cannot be read (Permission denied)" in result.stderr
    assert "failed: ../outside: " in result.stderr
    contents = results(tmp_path / "run")
    assert list(contents["failed"]) == [second, "../outside"]
    assert (contents["protocol"]["images"], contents["protocol"]["failed"]) == (1, 2)


def test_what_cannot_be_swept_is_said(tmp_path):
    out = tmp_path / "run"
    for options, message in (
        ({"set": "task=unsupervised"}, "the task unsupervised knows none; run iseg generate"),
        ({"set": "fusion=clip-entropy"}, "fusion is clip-entropy; pass --set fusion=none"),
        ({"labels": "clip"}, "write them once with iseg tag --dataset emoji-voc --out labels.json"),
        ({"seeds": 0}, "0 is not in the range"),
    ):
        result = sweep(out, "refine.iterations=1", **options)
        assert result.exit_code == 2, result.output
        assert message in result.stderr
    assert sweep(out).exit_code == 2
    assert not out.exists()


def test_only_folders_of_a_sweep_are_written_in(swept, tmp_path):
    once, _ = swept
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "notes.txt").write_text("mine")
    result = sweep(foreign, NUMBERS)
    assert result.exit_code == 2
    assert "holds notes.txt but no sweep.json" in result.stderr
    assert [path.name for path in foreign.iterdir()] == ["notes.txt"]
    out = tmp_path / "run"
    shutil.copytree(once, out)
    lines = (out / "counts.jsonl").read_text().splitlines(keepends=True)
    (out / "counts.jsonl").write_text("".join(["{}\n", *lines]))
    result = sweep(out, NUMBERS)
    assert result.exit_code == 2
    assert "counts.jsonl, line 1 is damaged" in result.stderr


def test_without_matplotlib_the_rest_is_done(swept, tmp_path, monkeypatch):
    once, _ = swept
    out = tmp_path / "run"
    shutil.copytree(once, out)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = sweep(out, STEPS, NUMBERS)
    assert result.exit_code == 0
    assert "sweep.png was not drawn: matplotlib is missing (pip install 'iseg-cli[plots]')" in (
        result.stderr
    )
    assert not (out / "sweep.png").exists()
    assert (out / "sweep.csv").read_bytes() == (once / "sweep.csv").read_bytes()


def test_a_model_that_gives_no_numbers_is_not_scored(tmp_path):
    model = Path(shutil.copytree(TINY_MODEL, tmp_path / "model"))
    path = next((model / "unet").glob("*.safetensors"))
    weights = load_file(path)
    save_file({**weights, "conv_in.bias": weights["conv_in.bias"] * np.nan}, path)
    result = sweep(tmp_path / "out", NUMBERS, limit=2, model=model)
    assert result.exit_code == 1
    assert result.stderr.count("values that are no numbers (NaN)") == 2
    assert not (tmp_path / "out" / "counts.jsonl").exists()
