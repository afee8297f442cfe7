"""`fusion: clip-entropy` from images to masks: segmenter, command line, refused settings."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import reference
import torch
from click.testing import CliRunner, Result
from clip_scenes import square_pictures
from emoji_runs import emoji_root, masks
from label_sets import label_set

from iseg_cli import Segmenter
from iseg_cli.attention.map_extractor import MapExtractor
from iseg_cli.cli import main
from iseg_cli.clip import loading
from iseg_cli.clip.dense_clip import DenseClip
from iseg_cli.config import validate
from iseg_cli.config.resources import embedded_dataset
from iseg_cli.errors import PromptError, SettingsError
from iseg_cli.segmentation.category_maps import category_maps
from iseg_cli.storage import read_mask, read_scores
from iseg_cli.sweep import score_settings

SIZES = [(40, 60), (64, 64), (30, 20)]
CLIP = {"templates": ["a photograph of {}"], "background_prompts": ["grass", "sky"]}


def settings(clip, /, **sections):
    own = {"model": clip.source, **CLIP, **sections.pop("clip", {})}
    return validate({"fusion": "clip-entropy", **sections, "clip": own})


def build(model, clip, batch_size=1, /, **sections):
    return Segmenter(model, settings(clip, **sections), batch_size=batch_size, clip=clip)


def by_hand(model, clip, chosen, image, categories, size):
    """Return labels and probabilities of one image, from both predictions, in float64."""
    attention = MapExtractor(model, chosen, batch_size=1).extract(image[None], [categories])
    grids = category_maps(attention, chosen).scores[0].double().numpy()
    own = reference.min_max(np.stack([reference.bilinear(grid, *size) for grid in grids]))
    rule = chosen.assign.background
    if rule == "power":
        own = np.concatenate([(1 - own.max(axis=0, keepdims=True)) ** 2, own])
    elif rule == "threshold":
        own = np.concatenate([np.full((1, *size), chosen.assign.threshold), own])
    surroundings = [] if rule == "none" else CLIP["background_prompts"]
    words = [[category.prompt for category in categories]]
    near = DenseClip(clip, chosen.clip).match(image[None], words, surroundings)
    near = near.cosines[0].double().numpy()
    side = round(len(near) ** 0.5)
    near = np.stack([reference.bilinear(one.reshape(side, side), *size) for one in near.T])
    fused = reference.fuse(
        reference.softmax(own, chosen.clip_entropy.diffusion_temperature),
        reference.softmax(near, chosen.clip_entropy.clip_temperature or 1 / clip.scale),
    )
    labels = fused.argmax(axis=0) + (rule == "none")
    return labels, fused if rule == "none" else fused[1:]


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"assign": {"background": "threshold", "threshold": 0.6}},
        {"assign": {"background": "none"}},
        {"clip_entropy": {"diffusion_temperature": 0.3, "clip_temperature": 0.02}},
        {"clip": {"side": 56}},
    ],
)
def test_masks_follow_from_both_views(random_model, random_clip, sections):
    own = build(random_model, random_clip, **sections)
    chosen, image = label_set(), square_pictures(1, side=64)[0]
    present = chosen.select([3, 200])
    [result] = own.segment_batch(image[None], [present], SIZES[:1], chosen)
    expected, _ = by_hand(random_model, random_clip, own.settings, image, present, SIZES[0])
    values = np.array([0, 3, 200])
    assert len(np.unique(expected)) > 1
    # Pixels between two labels may fall to either within rounding.
    assert (result.mask.labels == values[expected]).mean() > 0.995
    # The maps beside the mask are the probabilities on the attention's grid.
    _, scores = by_hand(random_model, random_clip, own.settings, image, present, (16, 16))
    np.testing.assert_allclose(result.scores, scores, atol=2e-3)
    assert result.scores.dtype == np.float16


def test_clip_changes_masks_unless_it_knows_nothing(random_model, random_clip):
    chosen, image = label_set(), square_pictures(1, side=64)[0]

    def labels(**sections):
        own = build(random_model, random_clip, **sections)
        [result] = own.segment_batch(image[None], [chosen.categories], SIZES[:1], chosen)
        return result.mask.labels

    plain = labels(fusion="none")
    assert (labels() != plain).mean() > 0.05
    flat = labels(clip_entropy={"clip_temperature": 1e5, "diffusion_temperature": 0.01})
    assert (flat == plain).mean() > 0.999


def test_neighbours_change_no_pixel(random_model, random_clip):
    own = build(random_model, random_clip, 4)
    chosen, images = label_set(), square_pictures(4, side=64)
    present = [chosen.select(ids) for ids in ([3], [7, 200], [3, 7, 200], [])]
    sizes = [*SIZES, (9, 9)]

    def segment(rows):
        return own.segment_batch(
            images[rows], [present[i] for i in rows], [sizes[i] for i in rows], chosen
        )

    alone = [segment([i])[0] for i in range(4)]
    assert not alone[3].mask.labels.any()
    for rows in ([0, 1, 2, 3], [3, 1, 0], [2, 0]):
        for i, result in zip(rows, segment(rows), strict=True):
            np.testing.assert_array_equal(result.mask.labels, alone[i].mask.labels)
            np.testing.assert_array_equal(result.scores, alone[i].scores)


def test_uncertain_pixels_keep_the_ignore_label(random_model, random_clip):
    band = {"ignore_low": 0.2, "ignore_high": 0.6}
    chosen, image = label_set(), square_pictures(1, side=64)
    present = chosen.select([7])
    own = build(random_model, random_clip, assign=band)
    [result] = own.segment_batch(image, [present], SIZES[:1], chosen)
    before, scores = by_hand(random_model, random_clip, own.settings, image[0], present, SIZES[0])
    background = (1 - scores.max(axis=0)) ** 2
    between = (background > 0.2) & (background < 0.6)
    assert 0 < between.mean() < 1
    expected = np.where(between, 255, np.array([0, 7])[before])
    assert (result.mask.labels == expected).mean() > 0.995


def test_from_python(random_model_folder, random_clip):
    chosen = settings(random_clip)
    segmenter = Segmenter.from_pretrained(str(random_model_folder), settings=chosen, device="cpu")
    image = square_pictures(1, side=50)[0]
    fused = segmenter.segment(image, categories=["dog", "cat"]).labels
    plain = Segmenter.from_pretrained(
        str(random_model_folder), settings=validate({}), device="cpu"
    ).segment(image, categories=["dog", "cat"])
    assert set(np.unique(fused)) <= {0, 1, 2}
    assert (fused != plain.labels).any()
    assert not segmenter.segment(image, categories=[]).labels.any()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_clip_has_a_type_of_its_own(random_model_folder, random_clip, dtype):
    chosen = settings(random_clip, clip={} if dtype == "float32" else {"dtype": dtype})
    segmenter = Segmenter.from_pretrained(
        str(random_model_folder), settings=chosen, device="cpu", dtype="bfloat16"
    )
    assert segmenter.model.dtype == torch.bfloat16
    assert segmenter._dense.clip.dtype == getattr(torch, dtype)
    assert segmenter.segment(square_pictures(1, side=50)[0], categories=["dog"]).labels.shape == (
        50,
        50,
    )


def test_what_cannot_be_done_is_said(random_model, random_clip):
    with pytest.raises(SettingsError, match="task unsupervised knows none; set fusion to none"):
        validate({"fusion": "clip-entropy", "task": "unsupervised"})
    chosen, image = label_set(), square_pictures(1, side=64)
    bare = build(random_model, random_clip, clip={"background_prompts": ["Dog", "car"]})
    with pytest.raises(SettingsError, match="words for the background"):
        bare.segment_batch(image, [chosen.select([3])], SIZES[:1], chosen)
    with pytest.raises(SettingsError, match="'fused' asks for fusion: clip-entropy"):
        score_settings(random_model, None, {"fused": settings(random_clip)})


def test_words_that_clip_cannot_hold_fail_before_the_batch(random_model, random_clip):
    """The words fit into the diffusion model's prompt; the sentences for CLIP are longer."""
    long = {"templates": ["a photograph of {}" + " and other object" * 30]}
    dog = label_set().categories[:1]
    build(random_model, random_clip).check(dog)
    build(random_model, random_clip, clip=long, fusion="none").check(dog)
    with pytest.raises(PromptError, match="'dog' are too long for this CLIP"):
        build(random_model, random_clip, clip=long).check(dog)


# --- the command line ---


@pytest.fixture(scope="module")
def image_ids() -> list[str]:
    return (embedded_dataset() / "ImageSets/Segmentation/val.txt").read_text().split()[:5]


@pytest.fixture(scope="module")
def options(tmp_path_factory, image_ids: list[str], random_clip_folder: Path) -> list[str]:
    root = emoji_root(tmp_path_factory.mktemp("root"), image_ids)
    return [
        *("generate", "--dataset", "emoji-voc", "--root", str(root), "--batch-size", "2"),
        *("--set", "fusion=clip-entropy", "--set", f"clip.model={random_clip_folder}"),
        *("--set", 'clip.templates=["a photograph of {}"]'),
    ]


def run(options: list[str], *arguments: object) -> Result:
    return CliRunner().invoke(main, [*options, *map(str, arguments)])


@pytest.fixture(scope="module")
def once(tmp_path_factory, options: list[str]) -> Path:
    """Return masks of all images, with labels from ground truth."""
    out = tmp_path_factory.mktemp("once") / "run"
    result = run(options, "--out", out, "--scores")
    assert result.exit_code == 0, result.output
    return out


def test_a_run_says_that_clip_took_part(once: Path, random_clip, random_clip_folder: Path) -> None:
    info = json.loads((once / "run.json").read_text())
    assert info["settings"]["fusion"] == "clip-entropy"
    assert info["settings"]["clip_entropy"]["diffusion_temperature"] == 0.1
    assert info["label_source"] == "masks"
    assert info["model"]["clip"] == {
        "name": str(random_clip_folder),
        "revision": None,
        "fingerprint": random_clip.fingerprint(),
    }


def test_masks_hold_the_labels_of_the_image(once: Path, image_ids: list[str]) -> None:
    assert set(masks(once)) == set(image_ids)
    for image_id in image_ids:
        truth = read_mask(embedded_dataset() / "SegmentationClass" / f"{image_id}.png").labels
        named = set(np.unique(truth)) - {0, 255}
        assert set(np.unique(read_mask(once / f"{image_id}.png").labels)) <= {0, *named}
        scores, labels = read_scores(once / "scores" / f"{image_id}.npz")
        assert set(labels.tolist()) == named
        total = scores.astype(np.float64).sum(axis=0)
        assert ((total > 0) & (total < 1.002)).all()


def test_a_run_that_was_stopped_resumes(
    once: Path, options: list[str], image_ids: list[str], tmp_path: Path
) -> None:
    out = Path(shutil.copytree(once, tmp_path / "run"))
    for image_id in (image_ids[0], image_ids[3], image_ids[4]):
        (out / f"{image_id}.png").unlink()
    result = run(options, "--out", out)
    assert result.exit_code == 0, result.output
    assert "3 masks written" in result.output
    assert masks(out) == masks(once)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--set", "fusion=none"), 'fusion "clip-entropy" -> "none"'),
        (
            ("--set", "clip_entropy.clip_temperature=0.1"),
            "clip_entropy.clip_temperature null -> 0.1",
        ),
    ],
)
def test_another_fusion_is_another_run(
    once: Path, options: list[str], tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    out = Path(shutil.copytree(once, tmp_path / "run"))
    result = run(options, "--out", out, *arguments)
    assert result.exit_code == 2
    assert said in result.output


def test_one_clip_finds_the_labels_and_is_fused(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []
    load = loading._load

    def counting(*arguments):
        loaded.append(arguments[0])
        return load(*arguments)

    monkeypatch.setattr(loading, "_load", counting)
    out = tmp_path / "run"
    result = run(options, "--out", out, "--labels", "clip", "--set", "clip.side=64", "--limit", 2)
    assert result.exit_code == 0, result.output
    assert len(loaded) == 1
    assert json.loads((out / "run.json").read_text())["label_source"] == "clip"


def test_the_unsupervised_task_is_refused(options: list[str], tmp_path: Path) -> None:
    result = run(options, "--out", tmp_path / "run", "--task", "unsupervised")
    assert result.exit_code == 2
    assert "the task unsupervised knows none" in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "run").exists()
