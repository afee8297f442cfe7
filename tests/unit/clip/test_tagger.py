"""`Tagger` against its steps, one image and one class at a time, with reference maths."""

import math

import numpy as np
import pytest
import reference
import torch
from clip_scenes import LABELS, TEMPLATES, tagger, unequal_pictures
from PIL import Image

from iseg_cli.clip.tagger import background_prompts
from iseg_cli.clip.text_embedder import BACKGROUND, ClipTextEmbedder
from iseg_cli.clip.vision import read_patches, read_whole, to_pixels
from iseg_cli.config import load_settings, validate
from iseg_cli.config.schema import ClipSettings
from iseg_cli.errors import SettingsError
from iseg_cli.execution.clip import open_clip
from iseg_cli.readers.folder import label_set_of
from iseg_cli.readers.label_tables import load_label_set
from iseg_cli.types import LabelSet


def expected_scores(
    clip,
    picture,
    *,
    refine,
    reidentify,
    likely=0.5,
    blocks=(4,),
    min_agreeing=2,
    weights=(0.5, 0.5),
):
    """Return the scores of one picture of whole patches, step by step."""
    rows = picture.shape[0] // 8
    pixels = to_pixels(clip, picture[None])
    words = ["dog", "cat", "bus", "potted plant", "grass", "sky"]  # a class is no background
    texts = ClipTextEmbedder(clip, TEMPLATES).embed(words).double().numpy()
    reading = read_patches(clip, pixels)
    features = reading.features[0].double().numpy()
    maps = reference.class_probabilities(features, texts, clip.scale)
    if refine:
        attention = reading.attention[:, 0].double().numpy()
        trusted = reference.trusted_attention(attention, list(blocks), min_agreeing)
        maps = reference.refine_scores(maps, trusted, rows)
    scores = maps[:, :4].max(axis=0)
    middle = maps.min() + likely * (maps.max() - maps.min())
    looked = np.flatnonzero(scores > middle) if reidentify else []
    for c in looked:
        responds, (top, left, bottom, right) = reference.response_box(maps[:, c], rows)
        responds = responds.reshape(rows, -1)[top:bottom, left:right]
        crop = pixels[0, :, top * 8 : bottom * 8, left * 8 : right * 8].double().numpy()
        crop = np.stack([reference.bilinear(channel, 32, 32) for channel in crop])
        height, width = responds.shape
        visible = [
            responds[math.floor(y * height / 4), math.floor(x * width / 4)]
            for y in range(4)
            for x in range(4)
        ]
        point = read_whole(clip, torch.tensor(crop[None]).float(), torch.tensor([visible]))
        again = reference.class_probabilities(point.double().numpy(), texts, clip.scale)
        scores[c] = weights[0] * scores[c] + weights[1] * again[0, c]
    return scores, len(looked)


@pytest.mark.parametrize("refine", [True, False])
@pytest.mark.parametrize("reidentify", [True, False])
def test_scores_step_by_step(random_clip, refine, reidentify):
    ours = tagger(random_clip, refine=refine, reidentify=reidentify, candidate_threshold=0.3)
    pictures = [ours.fit(picture) for picture in unequal_pictures()]
    scores = ours.score(pictures)
    assert scores.shape == (3, 4)
    crops = 0
    for row, (picture,) in zip(scores, pictures, strict=True):
        expected, looked = expected_scores(
            random_clip, picture, refine=refine, reidentify=reidentify, likely=0.3
        )
        np.testing.assert_allclose(row, expected, atol=2e-5)
        crops += looked
    assert (crops > 3) == reidentify


@pytest.mark.parametrize("weights", [(0.4, 0.8), (0.8, 0.2)])
def test_the_second_look_has_weights(random_clip, weights):
    """The defaults are those of the authors' released code, for VOC and for COCO-Object."""
    own = {"patch_weight": weights[0], "crop_weight": weights[1]}
    ours = tagger(random_clip, candidate_threshold=0.3, **own)
    for scene in unequal_pictures():
        (picture,) = ours.fit(scene)
        expected, looked = expected_scores(
            random_clip, picture, refine=True, reidentify=True, likely=0.3, weights=weights
        )
        assert looked
        np.testing.assert_allclose(ours.score([(picture,)])[0], expected, atol=2e-5)


@pytest.mark.parametrize(("blocks", "min_agreeing"), [((0, 1), 5), ((3,), 0)])
def test_blocks_and_their_agreement_are_settings(random_clip, blocks, min_agreeing):
    ours = tagger(
        random_clip, reidentify=False, attention_blocks=blocks, min_agreeing_blocks=min_agreeing
    )
    (picture,) = ours.fit(unequal_pictures(1)[0])
    expected, _ = expected_scores(
        random_clip,
        picture,
        refine=True,
        reidentify=False,
        blocks=blocks,
        min_agreeing=min_agreeing,
    )
    np.testing.assert_allclose(ours.score([(picture,)])[0], expected, atol=2e-6)


@pytest.mark.parametrize("side", [None, 48])
def test_neighbours_change_nothing(random_clip, side):
    ours = tagger(random_clip, side=side, candidate_threshold=0.2)
    pictures = [ours.fit(picture) for picture in unequal_pictures(7)]
    together = ours.score(pictures)
    alone = np.concatenate([ours.score([picture]) for picture in pictures])
    backwards = ours.score(pictures[::-1])[::-1]
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(together, backwards)
    assert len(np.unique(together)) == together.size


@pytest.mark.parametrize("side", [None, 40])
def test_batches_only_round(random_clip, side):
    """As on a GPU: full batches, the last one filled up."""
    ours = tagger(random_clip, side=side, candidate_threshold=0.2)
    pictures = [ours.fit(picture) for picture in unequal_pictures(5)]
    alone = ours.score(pictures)
    ours._together = 3
    np.testing.assert_allclose(ours.score(pictures), alone, atol=2e-6)
    monotone = ours.score(pictures[:1] * 4)
    np.testing.assert_allclose(monotone, alone[[0] * 4], atol=2e-6)


@pytest.mark.parametrize("side", [None, 40])
def test_scales_are_averaged(random_clip, side):
    def scores(*scales):
        ours = tagger(random_clip, side=side, scales=scales, candidate_threshold=0.3)
        return ours.score([ours.fit(picture) for picture in unequal_pictures()])

    one, two, three = scores(1), scores(1.5), scores(2)
    np.testing.assert_allclose(scores(1, 1.5, 2), (one + two + three) / 3, atol=1.1e-6)
    assert np.abs(one - two).max() > 0.01


def test_images_are_shown_in_whole_patches(random_clip):
    own, square = tagger(random_clip), tagger(random_clip, side=50)
    small = tagger(random_clip, max_side=40)

    def shapes(height, width):
        picture = np.zeros((height, width, 3), dtype=np.uint8)
        return [t.fit(picture)[0].shape[:2] for t in (own, square, small)]

    assert shapes(64, 56) == [(64, 56), (56, 56), (40, 40)]
    assert shapes(33, 90) == [(40, 96), (56, 56), (16, 40)]
    assert shapes(1300, 650) == [(640, 320), (56, 56), (40, 24)]
    assert shapes(1, 1) == [(8, 8), (56, 56), (8, 8)]
    noise = np.random.default_rng(0).integers(0, 256, (33, 90, 3), dtype=np.uint8)
    resized = np.array(Image.fromarray(noise).resize((96, 40), Image.Resampling.BICUBIC))
    assert np.array_equal(own.fit(noise)[0], resized)
    larger = tagger(random_clip, scales=(1, 0.5, 1.5)).fit(noise)
    assert [picture.shape[:2] for picture in larger] == [(40, 96), (16, 48), (56, 136)]


def test_labels_are_chosen_by_their_scores(random_clip):
    scores = np.array([[0.1, 0.9, 0.55, 0.2], [0.3, 0.31, 0.3, 0.3]], dtype=np.float32)

    def names(**changes):
        found = tagger(random_clip, **changes).choose(scores)
        return [[category.name for category in own] for own in found]

    assert names() == [["cat", "bus"], ["cat"]]
    assert names(threshold=0.6) == [["cat"], ["cat"]]
    assert names(threshold=0.05, min_score=0.4) == [["cat", "bus"], []]
    ours = tagger(random_clip)
    pictures = [ours.fit(picture) for picture in unequal_pictures()]
    assert ours.tag(pictures) == ours.choose(ours.score(pictures))
    assert ours.score([]).shape == (0, 4)
    assert ours.tag([]) == []


def test_scores_are_what_six_decimals_say(random_clip):
    ours = tagger(random_clip)
    scores = ours.score([ours.fit(picture) for picture in unequal_pictures()])
    written = [[round(value, 6) for value in row] for row in scores.tolist()]
    assert np.array_equal(np.array(written, dtype=np.float32), scores)


def test_background_prompts_come_from_the_nearest_place():
    plain = ClipSettings()
    voc = load_label_set("voc")
    assert background_prompts(plain, voc) == voc.background_words
    assert background_prompts(plain, LABELS) == BACKGROUND
    named = ClipSettings(background_prompts=("Cat", "snow"))
    assert background_prompts(named, LABELS) == ("snow",)
    assert background_prompts(plain, label_set_of(["road", "sign"])) == tuple(
        word for word in BACKGROUND if word not in ("road", "sign")
    )


def test_background_prompts_that_name_a_class_may_be_kept():
    """The released code keeps all 13 for PASCAL-Context, three of which are classes."""
    context = load_label_set("context-60")
    released = background_prompts(load_settings("released/context").clip, context)
    assert released == (
        *("land", "tree", "lake", "railway", "railroad", "helmet", "cloud", "house"),
        *("road", "rock", "street", "valley", "bridge"),
    )
    left = background_prompts(load_settings("context").clip, context)
    assert set(released) - set(left) == {"tree", "road", "rock"}


def test_a_class_that_is_a_background_prompt_shares_its_probability(random_clip):
    """Each of two equal texts has half the odds of one text."""

    def scores(**changes):
        ours = tagger(random_clip, refine=False, reidentify=False, **changes)
        return ours.score([ours.fit(unequal_pictures(1)[0])])[0].astype(float)

    cat = LABELS.categories[1].prompt
    one, two = (scores(background_prompts=["sky", cat], keep_named=keep) for keep in (False, True))
    # p = c / (c + rest) becomes c / (2 c + rest) = p / (1 + p), patch by patch, so at the greatest.
    np.testing.assert_allclose(two[1], one[1] / (1 + one[1]), atol=2e-6)


@pytest.mark.parametrize("dtype", ["auto", "float16", "bfloat16"])
def test_clip_computes_in_float32_whatever_the_model_does(random_clip_folder, dtype):
    model = str(random_clip_folder)
    runtime = {"dtype": dtype, "device": "cpu"}
    assert (
        open_clip(validate({"runtime": runtime, "clip": {"model": model}})).dtype == torch.float32
    )
    clip = {"model": model, "dtype": "bfloat16"}
    opened = open_clip(validate({"runtime": runtime, "clip": clip}))
    assert opened.dtype == next(opened.model.parameters()).dtype == torch.bfloat16


def test_what_cannot_be_done_is_said(random_clip):
    with pytest.raises(SettingsError, match="categories to look for"):
        tagger(random_clip, label_set=LabelSet("none", ()))
    with pytest.raises(SettingsError, match=r"attention_blocks is \[2, 6\], .* blocks 0 to 5"):
        tagger(random_clip, attention_blocks=(2, 6))
    with pytest.raises(ValueError, match="must have one"):
        ClipSettings(templates=("a photo",))


def test_memory_that_is_short_is_named(random_clip, monkeypatch):
    ours = tagger(random_clip)

    def full(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(ours, "_score_batch", full)
    with pytest.raises(SettingsError, match="smaller --batch-size"):
        ours.score([ours.fit(unequal_pictures(1)[0])])
