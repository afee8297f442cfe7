"""A COCO dataset of one's own with its own classes: generate, tag, evaluate, sweep, --rle."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from layouts import SIZE, box, coco_object, halves, write_image, write_mask
from pycocotools.coco import COCO

from iseg_cli.cli import main
from iseg_cli.storage import read_mask

TINY = ("--config=emoji-voc", "--model=tiny", "--batch-size=2")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two images whose numbers are not those of their names; classes 0 and "b"."""
    height, width = SIZE
    images = [
        {"id": 7, "file_name": "images/0002.jpg", "height": height, "width": width},
        {"id": "x-1", "file_name": "images/0007.jpg", "height": height, "width": width},
    ]
    objects = [
        coco_object(1, 7, 0, box(0, 0, 4, 6), area=24),
        {**coco_object(2, 0, 0, box(0, 0, 4, 6), area=24), "image_id": "x-1", "category_id": "b"},
        coco_object(3, 99, 0, box(0, 0, 4, 6), area=24),
    ]
    categories = [{"id": 0, "name": "red_panda"}, {"id": "b", "name": "dog"}]
    root = tmp_path / "own"
    for seed, name in enumerate(("0002", "0007")):
        write_image(root / "images" / f"{name}.jpg", seed=seed)
    (root / "annotations").mkdir()
    write_json(root, images=images, annotations=objects, categories=categories)
    return root


def write_json(root: Path, **content: Any) -> None:
    path = root / "annotations" / "instances_default.json"
    before = json.loads(path.read_text("utf-8")) if path.exists() else {}
    path.write_text(json.dumps({**before, **content}), "utf-8")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def own(root: Path) -> tuple[str, ...]:
    return ("--dataset=coco", f"--root={root}", "--split=default", "--label-set=from-json")


def test_generate_evaluate_and_rle(root: Path, tmp_path: Path) -> None:
    out, rle = tmp_path / "run", tmp_path / "rle.json"
    made = run(
        "generate", *own(root), *TINY, "--labels=annotations", f"--out={out}", f"--rle={rle}"
    )
    assert made.exit_code == 0, made.output
    assert "note: 1 of 3 annotations in" in made.output
    assert "it belongs to no image there (first image_id: 99)" in made.output
    info = json.loads((out / "run.json").read_text("utf-8"))
    assert info["categories"] == ["red_panda", "dog"]
    assert info["settings"]["label_set"] == "from-json"
    records = [json.loads(line) for line in (out / "images.jsonl").read_text("utf-8").splitlines()]
    assert {r["image_id"]: r["categories"] for r in records} == {
        "0002": ["red_panda"],
        "0007": ["dog"],
    }
    masks = {name: read_mask(out / f"{name}.png").labels for name in ("0002", "0007")}
    assert set(masks["0002"].flat) <= {0, 1}
    assert set(masks["0007"].flat) <= {0, 2}

    truth = COCO(str(root / "annotations" / "instances_default.json"))
    entries = json.loads(rle.read_text("utf-8"))
    pairs = {(entry["image_id"], entry["category_id"]) for entry in entries}
    there = {(7, 0): 1 in masks["0002"], ("x-1", "b"): 2 in masks["0007"]}
    assert pairs == {pair for pair, present in there.items() if present}
    if entries:
        assert len(truth.loadRes(str(rle)).anns) == len(entries)

    scored = run("evaluate", out, "--format=json")
    assert scored.exit_code == 0, scored.output
    report = json.loads((out / "report.json").read_text("utf-8"))
    assert list(report["classes"]) == ["background", "red_panda", "dog"]
    assert report["protocol"]["label_set"] == "from-json"
    assert "belongs to no image" in " ".join(report["protocol"]["notes"])


def test_masks_from_elsewhere_are_scored(root: Path, tmp_path: Path) -> None:
    write_mask(tmp_path / "masks" / "0002.png", halves(1, 0))
    write_mask(tmp_path / "masks" / "0007.png", halves(0, 2))
    scored = run("evaluate", tmp_path / "masks", *own(root), "--format=json")
    assert scored.exit_code == 0, scored.output
    report = json.loads((tmp_path / "masks" / "report.json").read_text("utf-8"))
    # Right on the first image; on the second, dog and background are the wrong way round.
    assert report["classes"]["red_panda"]["iou"] == 1.0
    assert report["classes"]["dog"]["iou"] == 0.0
    assert report["classes"]["background"]["iou"] == pytest.approx(24 / 72)


def test_classes_that_changed_since_the_run_are_refused(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ("generate", *own(root), *TINY, "--labels=annotations", f"--out={out}")
    assert run(*arguments).exit_code == 0
    others = [{"id": -1, "name": "cat"}, {"id": 0, "name": "red_panda"}, {"id": "b", "name": "dog"}]
    write_json(root, categories=others)
    scored = run("evaluate", out)
    assert scored.exit_code == 2
    assert "the masks have the classes red_panda, dog" in scored.output
    assert run(*arguments).exit_code == 2  # another run's masks are not resumed


def test_tag_and_sweep_know_the_own_classes(root: Path, tmp_path: Path) -> None:
    tags = tmp_path / "labels.json"
    done = run("tag", *own(root), "--config=emoji-voc", "--set=clip.model=tiny-clip",
               "--truth=annotations", f"--out={tags}")  # fmt: skip
    assert done.exit_code == 0, done.output
    found = json.loads(tags.read_text("utf-8"))
    assert set(found) == {"0002", "0007"}
    assert {name for names in found.values() for name in names} <= {"red_panda", "dog"}
    swept = run("sweep", *own(root), "--config=emoji-voc", "--model=tiny", "--labels=annotations",
                "--grid=assign.threshold=0.3,0.5", f"--out={tmp_path / 'sweep'}")  # fmt: skip
    assert swept.exit_code == 0, swept.output


def test_without_from_json_the_class_is_refused(root: Path, tmp_path: Path) -> None:
    made = run("generate", *own(root)[:3], *TINY, f"--out={tmp_path / 'run'}")
    assert made.exit_code == 2
    assert "'red_panda', which label set coco lacks" in made.output
    assert "--label-set from-json" in made.output
    assert not (tmp_path / "run").exists()
