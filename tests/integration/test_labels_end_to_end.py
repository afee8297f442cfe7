"""Labels, lists and names in `iseg generate`: images are done, noted or failed."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from layouts import make_folder, make_voc

from iseg_cli import image_labels as labels
from iseg_cli.cli import main
from iseg_cli.config.resolve import resolve_settings
from iseg_cli.errors import SettingsError
from iseg_cli.execution.run_setup import open_reader

TINY = ("--config", "emoji-voc", "--model", "tiny")


def generate(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["generate", *map(str, arguments), *TINY])


def records(out: Path) -> dict[str, list[str]]:
    lines = (out / "images.jsonl").read_text("utf-8").splitlines()
    return {line["image_id"]: line["categories"] for line in map(json.loads, lines)}


def test_a_heading_is_noted_and_no_class_moves(tmp_path: Path) -> None:
    root = make_folder(tmp_path, ["x.jpg", "y.jpg", "zoo/z.jpg"])
    path, out = tmp_path / "l.csv", tmp_path / "o"
    path.write_text("image,class\nx.jpg,cat\ny.jpg,dog\nzoo\\z.JPG,dog\nelse.jpg,cat\n", "utf-8")
    done = generate("--dataset", "folder", "--root", root, "--labels", f"file:{path}", "--out", out)
    assert done.exit_code == 0, done.output
    assert json.loads((out / "run.json").read_text("utf-8"))["categories"] == ["cat", "dog"]
    assert records(out) == {"x": ["cat"], "y": ["dog"], "zoo/z": ["dog"]}
    assert f"note: the first line of {path} (image, class) is a heading" in done.output
    assert f"note: {path} has 1 name of no image of split all" in done.output


def test_a_listed_image_that_is_missing_fails_and_the_rest_is_done(tmp_path: Path) -> None:
    root, out = make_voc(tmp_path), tmp_path / "o"
    listing = root / "ImageSets" / "Segmentation" / "train.txt"
    listing.write_text("2007_000032.jpg\ngone.jpg\n", "utf-8")
    done = generate("--dataset", "voc", "--root", root, "--out", out)
    assert done.exit_code == 1, done.output
    assert f"failed: gone: {listing} lists gone, but {root / 'JPEGImages'} has no" in done.output
    assert (out / "2007_000032.png").is_file()
    assert "1 of 2 images failed" in done.output


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ("2007_000032 0\n2007_000039 19\n", "if this list counts from 0, add 1 to every number"),
        ("frog\n", "names no image of split train"),
    ],
)
def test_a_file_that_means_something_else_ends_the_run(tmp_path: Path, labels, sentence) -> None:
    path = tmp_path / "l.txt"
    path.write_text(labels, "utf-8")
    root, out = make_voc(tmp_path), tmp_path / "o"
    done = generate("--dataset", "voc", "--root", root, "--labels", f"file:{path}", "--out", out)
    assert done.exit_code == 2, done.output
    assert sentence in done.output
    assert not out.exists()


def test_a_folder_whose_file_names_no_class_is_said(tmp_path: Path) -> None:
    path = tmp_path / "l.json"
    path.write_text('{"a": []}', "utf-8")
    named = {"dataset": "folder", "root": make_folder(tmp_path, ["a.jpg"])}
    settings = resolve_settings([], [], {**named, "labels": f"file:{path}"})
    with pytest.raises(SettingsError, match=r"l\.json names no category; pass --categories"):
        open_reader(settings)


def test_a_file_of_labels_is_read_once_a_run(tmp_path: Path, monkeypatch) -> None:
    asked: list[str] = []
    choose = labels.choose_labeler
    monkeypatch.setattr(
        labels, "choose_labeler", lambda spec, **given: asked.append(spec) or choose(spec, **given)
    )
    path, root = tmp_path / "l.txt", make_voc(tmp_path)
    for number, name in enumerate(("cat", "dog")):  # another run reads what the file has then
        path.write_text(f"2007_000032.jpg {name}\n2007_000039.jpg {name}\n", "utf-8")
        out = tmp_path / str(number)
        done = generate(
            "--dataset", "voc", "--root", root, "--labels", f"file:{path}", "--out", out
        )
        assert done.exit_code == 0, done.output
        assert records(out) == {"2007_000032": [name], "2007_000039": [name]}
    assert asked == [f"file:{path}"] * 2


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("2007_000032\n2007_000039\n", "none of the 2 images has a category by its labels"),
        ("2007_000032\n2007_000039 dog\n", None),
    ],
)
def test_a_run_without_any_category_says_so(tmp_path: Path, content: str, sentence) -> None:
    path, out = tmp_path / "l.txt", tmp_path / "o"
    path.write_text(content, "utf-8")
    root = make_voc(tmp_path)
    done = generate("--dataset", "voc", "--root", root, "--labels", f"file:{path}", "--out", out)
    assert done.exit_code == 0, done.output
    notes = [line for line in done.output.splitlines() if line.startswith("note: ")]
    assert notes == ([] if sentence is None else [
        f"note: {sentence}; their masks are background alone"
    ])  # fmt: skip
