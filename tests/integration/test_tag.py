"""`iseg tag` and `--labels clip` as a user runs them, with a random CLIP on real pictures."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from emoji_runs import emoji_root, masks
from PIL import Image
from sklearn.metrics import average_precision_score

from iseg_cli.cli import main
from iseg_cli.clip.tagger import Tagger
from iseg_cli.config.resources import embedded_dataset
from iseg_cli.readers.label_tables import load_label_set
from iseg_cli.readers.voc import EmojiVocReader
from iseg_cli.storage import read_mask

NAMES = [category.name for category in load_label_set("emoji-voc").categories]
BATCH = "4"


@pytest.fixture(scope="module")
def image_ids() -> list[str]:
    return (embedded_dataset() / "ImageSets/Segmentation/val.txt").read_text().split()[:10]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, image_ids: list[str]) -> Path:
    return emoji_root(tmp_path_factory.mktemp("root"), image_ids)


@pytest.fixture(scope="module")
def clip_options(random_clip_folder: Path) -> list[str]:
    """The random CLIP with few templates and small images, for speed."""
    return [
        *("--set", f"clip.model={random_clip_folder}", "--set", "clip.side=64"),
        *("--set", 'clip.templates=["a photograph of {}"]', "--batch-size", BATCH),
        # The defaults in place of what suits the embedded CLIP.
        *("--set", "clip.scales=[1.0]", "--set", "clip.last_block=whole"),
        *("--set", "clip.candidate_threshold=0.5", "--set", "clip.threshold=0.5"),
        *("--set", "clip.min_score=0"),
    ]


@pytest.fixture
def tag(clip_options: list[str]):
    """Runs `iseg tag` with that CLIP."""

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(main, ["tag", *clip_options, *map(str, arguments)])

    return run


@pytest.fixture(scope="module")
def once(tmp_path_factory, clip_options: list[str], root: Path) -> Path:
    """The labels of an uninterrupted run; other runs must write the same bytes."""
    out = tmp_path_factory.mktemp("once") / "labels.json"
    arguments = ["tag", *clip_options, "--dataset", "emoji-voc", "--root", root, "--out", out]
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return out


def scores_of(labels: Path) -> dict[str, list[float]]:
    _, *lines = labels.with_suffix(".scores.jsonl").read_text().splitlines()
    return {line["image_id"]: line["scores"] for line in map(json.loads, lines)}


def chosen(scores: list[float], threshold: float = 0.5) -> list[str]:
    middle = min(scores) + threshold * (max(scores) - min(scores))
    return [name for name, score in zip(NAMES, scores, strict=True) if score > middle]


def test_every_image_has_the_labels_of_its_scores(once: Path, image_ids: list[str]) -> None:
    labels, scores = json.loads(once.read_text()), scores_of(once)
    assert list(labels) == image_ids == list(scores)
    for image_id in image_ids:
        assert len(scores[image_id]) == 20
        assert labels[image_id] == chosen(scores[image_id])
    assert len({tuple(names) for names in labels.values()}) > 3


def test_the_scores_say_what_made_them(once: Path, random_clip_folder: Path, random_clip) -> None:
    head = json.loads(once.with_suffix(".scores.jsonl").read_text().splitlines()[0])
    assert head["settings"]["dataset"] == "emoji-voc"
    assert head["settings"]["classes"]["tvmonitor"] == "tv monitor"
    assert head["settings"]["model"]["fingerprint"] == random_clip.fingerprint()
    assert head["settings"]["clip.side"] == 64
    assert head["chosen_by"] == {"threshold": 0.5, "min_score": 0.0}
    assert head["versions"]["transformers"]


def test_the_type_of_the_command_line_is_clips(tag, root: Path, tmp_path: Path) -> None:
    for options, said in (((), "float32"), (("--dtype", "bfloat16"), "bfloat16")):
        out = tmp_path / said / "labels.json"
        result = tag("--dataset", "emoji-voc", "--root", root, "--limit", 1, "--out", out, *options)
        assert result.exit_code == 0, result.output
        head = json.loads(out.with_suffix(".scores.jsonl").read_text().splitlines()[0])
        assert head["settings"]["dtype"] == said


def test_labels_are_scored_against_the_masks(
    tag, once: Path, root: Path, image_ids: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "labels.json"
    result = tag("--dataset", "emoji-voc", "--root", root, "--out", out, "--format", "json")
    report = json.loads(result.stdout)
    labels, scores = json.loads(out.read_text()), scores_of(out)
    there = {}
    for image_id in image_ids:
        mask = read_mask(root / "SegmentationClass" / f"{image_id}.png").labels
        there[image_id] = {NAMES[label - 1] for label in np.unique(mask) if 0 < label < 255}
    right = sum(len(there[i] & set(labels[i])) for i in image_ids)
    assert report["micro"]["precision"] == right / sum(map(len, labels.values()))
    assert report["micro"]["recall"] == right / sum(map(len, there.values()))
    average = [
        average_precision_score(
            [name in there[i] for i in image_ids], [scores[i][c] for i in image_ids]
        )
        for c, name in enumerate(NAMES)
        if any(name in names for names in there.values())
    ]
    assert report["map"] == pytest.approx(np.mean(average))
    assert report["protocol"]["truth"] == "masks"
    assert report["protocol"]["images"] == 10
    assert report["classes"]["diningtable"]["recall"] is None


def test_other_truth(tag, once: Path, root: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.json"
    options = ("--dataset", "emoji-voc", "--root", root, "--out", out)
    result = tag(*options, "--truth", f"file:{once}", "--format", "json")
    report = json.loads(result.stdout)
    assert report["micro"] == {"precision": 1, "recall": 1, "f1": 1}
    assert report["protocol"]["truth"] == f"file:{once}"
    refused = tag(*options, "--truth", "clip")
    assert refused.exit_code == 2
    assert "no ground truth" in refused.output


def test_order_and_neighbours_change_no_byte(
    tag, once: Path, image_ids: list[str], tmp_path: Path
) -> None:
    shuffled = [image_ids[i] for i in np.random.default_rng(3).permutation(10)][2:]
    root = emoji_root(tmp_path / "root", shuffled)
    out = tmp_path / "labels.json"
    result = tag("--dataset", "emoji-voc", "--root", root, "--out", out, "--workers", 1)
    assert result.exit_code == 0, result.output
    expected = scores_of(once)
    assert scores_of(out) == {image_id: expected[image_id] for image_id in shuffled}


def test_a_run_that_was_stopped_resumes(tag, once: Path, root: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.json"
    journal = out.with_suffix(".scores.jsonl")
    options = ("--dataset", "emoji-voc", "--root", root, "--out", out)
    finished = once.with_suffix(".scores.jsonl").read_bytes()
    lines = finished.splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:5]) + lines[5][:30])  # four images and a torn fifth
    result = tag(*options)
    assert result.exit_code == 0, result.output
    assert "4 of them scored before" in result.output
    assert out.read_bytes() == once.read_bytes()
    assert journal.read_bytes() == finished
    assert set(tmp_path.iterdir()) == {out, journal}


def test_other_thresholds_choose_anew_without_clip(
    tag, once: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (once, once.with_suffix(".scores.jsonl")):
        shutil.copy(path, tmp_path)
    out = tmp_path / once.name
    options = ("--dataset", "emoji-voc", "--root", root, "--out", out)
    monkeypatch.setattr(Tagger, "score", None)
    result = tag(*options, "--set", "clip.threshold=0.8")
    assert result.exit_code == 0, result.output
    labels = json.loads(out.read_text())
    for image_id, scores in scores_of(once).items():
        assert labels[image_id] == chosen(scores, 0.8)
    assert labels != json.loads(once.read_text())


def test_other_settings_are_refused(tag, once: Path, root: Path, tmp_path: Path) -> None:
    for path in (once, once.with_suffix(".scores.jsonl")):
        shutil.copy(path, tmp_path)
    out = tmp_path / once.name
    options = ("--dataset", "emoji-voc", "--root", root, "--out", out, "--set", "clip.refine=false")
    result = tag(*options)
    assert result.exit_code == 2
    assert "clip.refine true -> false" in result.output
    assert out.read_bytes() == once.read_bytes()
    assert tag(*options, "--overwrite").exit_code == 0
    assert out.read_bytes() != once.read_bytes()


def test_a_file_of_somebody_elses_is_left_alone(tag, root: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.json"
    out.write_text("{}")
    result = tag("--dataset", "emoji-voc", "--root", root, "--out", out)
    assert result.exit_code == 2
    assert "was not written by iseg tag" in result.output
    assert out.read_text() == "{}"


@pytest.mark.parametrize(
    "content", ["", "no json\n", "[]\n", '{"settings": {}}\n{"image_id": 3}\n']
)
def test_damaged_scores_are_named(tag, root: Path, tmp_path: Path, content: str) -> None:
    out = tmp_path / "labels.json"
    out.with_suffix(".scores.jsonl").write_text(content)
    result = tag("--dataset", "emoji-voc", "--root", root, "--out", out)
    assert result.exit_code == 2
    assert "labels.scores.jsonl is damaged; pass --overwrite" in result.output


def test_broken_images_are_reported_and_the_rest_is_done(
    tag, once: Path, image_ids: list[str], tmp_path: Path
) -> None:
    root = emoji_root(tmp_path / "root", image_ids)
    picture = root / "JPEGImages" / f"{image_ids[3]}.jpg"
    whole = picture.read_bytes()
    picture.write_bytes(whole[:900])
    out = tmp_path / "labels.json"
    options = ("--dataset", "emoji-voc", "--root", root, "--out", out)
    result = tag(*options)
    assert result.exit_code == 1
    assert f"{image_ids[3]}.jpg" in result.output
    assert "1 of 10 images failed" in result.output
    assert "9 images labelled" in result.output
    expected = json.loads(once.read_text())
    del expected[image_ids[3]]
    assert json.loads(out.read_text()) == expected

    picture.write_bytes(whole)
    result = tag(*options)
    assert result.exit_code == 0, result.output
    assert "9 of them scored before" in result.output
    assert out.read_bytes() == once.read_bytes()


def test_truth_that_cannot_be_read_is_one_images_failure(
    tag, once: Path, image_ids: list[str], tmp_path: Path
) -> None:
    root = emoji_root(tmp_path / "root", image_ids)
    (root / "SegmentationClass" / f"{image_ids[3]}.png").unlink()
    out = tmp_path / "labels.json"
    result = tag("--dataset", "emoji-voc", "--root", root, "--out", out, "--format", "json")
    assert result.exit_code == 1
    assert f"failed: {image_ids[3]}: its labels cannot be scored: there is no mask" in result.output
    assert "10 images labelled" in result.output
    assert out.read_bytes() == once.read_bytes()  # CLIP needs no truth
    report = json.loads(result.stdout)
    assert report["protocol"]["images"] == 9
    others = [image_id for image_id in image_ids if image_id != image_ids[3]]
    nine = emoji_root(tmp_path / "nine", others)
    out = tmp_path / "nine.json"
    expected = tag("--dataset", "emoji-voc", "--root", nine, "--out", out, "--format", "json")
    assert report["micro"] == json.loads(expected.stdout)["micro"]


def test_what_a_reader_raises_is_one_images_failure(
    tag, image_ids: list[str], tmp_path: Path, monkeypatch
) -> None:
    root = emoji_root(tmp_path / "root", image_ids[:3])
    image_path = EmojiVocReader.image_path

    def odd(reader: EmojiVocReader, image_id: str) -> Path:
        if image_id == image_ids[1]:
            raise PermissionError(13, "Permission denied", "list.txt")
        return image_path(reader, image_id)

    monkeypatch.setattr(EmojiVocReader, "image_path", odd)
    out = tmp_path / "labels.json"
    result = tag("--dataset", "emoji-voc", "--root", root, "--out", out)
    assert result.exit_code == 1
    assert f"failed: {image_ids[1]}: list.txt cannot be read (Permission denied)" in result.output
    assert list(json.loads(out.read_text())) == [image_ids[0], image_ids[2]]


def test_a_folder_of_any_pictures(tag, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures" / "nested"
    pictures.mkdir(parents=True)
    scene = Image.open(embedded_dataset() / "JPEGImages" / "val_0001.jpg")
    scene.resize((190, 110)).save(pictures / "wide.png")
    scene.convert("L").save(pictures.parent / "grey.jpg")
    out = tmp_path / "labels.json"
    words = ("corgi", "surf board", "horse")
    result = tag(
        pictures.parent, "--categories", ", ".join(words), "--out", out, "--set", "clip.side=null"
    )
    assert result.exit_code == 0, result.output
    assert "precision" not in result.output  # no truth is known
    labels = json.loads(out.read_text())
    assert set(labels) == {"grey", "nested/wide"}
    assert all(set(names) <= set(words) and names for names in labels.values())


def test_generate_finds_the_labels_that_tag_writes(
    clip_options: list[str], once: Path, root: Path, image_ids: list[str], tmp_path: Path
) -> None:
    def generate(out: Path, *arguments: object) -> dict[str, object]:
        options = ["--dataset", "emoji-voc", "--root", root, "--out", out, *clip_options]
        command = ["generate", *map(str, options), *map(str, arguments)]
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 0, result.output
        return json.loads((out / "run.json").read_text())

    found = generate(tmp_path / "found", "--labels", "clip")
    given = generate(tmp_path / "given", "--labels", f"file:{once}")
    assert found["label_source"] == "clip"
    assert found["model"]["clip"]["fingerprint"]
    assert given["label_source"] == f"file:{once}"
    assert masks(tmp_path / "found") == masks(tmp_path / "given")
    lines = (tmp_path / "found" / "images.jsonl").read_text().splitlines()
    recorded = {line["image_id"]: line["categories"] for line in map(json.loads, lines)}
    assert recorded == json.loads(once.read_text())

    # Some of the masks lost, in whatever batches the rest now falls: the same bytes again.
    expected = masks(tmp_path / "found")
    for image_id in (image_ids[1], image_ids[4], image_ids[9]):
        (tmp_path / "found" / f"{image_id}.png").unlink()
    generate(tmp_path / "found", "--labels", "clip")
    assert masks(tmp_path / "found") == expected


def test_another_clip_is_another_run(
    clip_options: list[str], root: Path, tmp_path: Path, random_clip_folder: Path
) -> None:
    out = tmp_path / "run"
    command = ["generate", "--dataset", "emoji-voc", "--root", str(root), "--out", str(out)]
    command += ["--labels", "clip", "--limit", "1", *clip_options]
    assert CliRunner().invoke(main, command).exit_code == 0
    other = Path(shutil.copytree(random_clip_folder, tmp_path / "other"))
    result = CliRunner().invoke(main, [*command, "--set", f"clip.model={other}"])
    assert result.exit_code == 2
    assert "model.clip.name" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "no dataset was named"),
        (("--dataset", "vok"), "did you mean voc"),
        (("pictures", "--dataset", "voc"), "not both"),
        (("pictures", "--categories", "cat"), "there is no dataset folder at pictures"),
        ((".",), "--categories"),
        (("--dataset", "emoji-voc", "--set", "clip.model=nowhere"), "check the setting clip.model"),
        (("--dataset", "emoji-voc", "--truth", "guess"), "guess"),
        (("--dataset", "emoji-voc", "--set", "clip.threshhold=1"), "did you mean clip.threshold"),
        (("--dataset", "emoji-voc", "--set", "clip.templates=[dog]"), "must have one {}"),
        (("--dataset", "emoji-voc", "--set", "clip.attention_blocks=[9]"), "blocks 0 to 5"),
        (("--dataset", "emoji-voc", "--out", "labels.txt"), "must end in .json"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(
    tag, arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = tag(*arguments, "--limit", 1)
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert "Traceback" not in result.output
    assert not list(tmp_path.rglob("*.json*"))
