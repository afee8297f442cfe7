import numpy as np
import pytest
from sd21_layers import SELF_LAYER

from iseg_cli.backbones.loading import load_model
from iseg_cli.benchmark.plain_segmenter import PlainSegmenter
from iseg_cli.config import load_settings
from iseg_cli.errors import SettingsError
from iseg_cli.readers.decoding import load_image
from iseg_cli.readers.registry import open_dataset
from iseg_cli.segmentation.segmenter import Segmenter, fit_input


def agreement(settings, *, model, images, batch_size):
    """Return the share of pixels with equal labels, and the numbers of categories in the images."""
    reader = open_dataset("emoji-voc", split="val")
    plain = PlainSegmenter(load_model(model), settings, reader.label_set)
    fast = Segmenter(
        load_model(model),
        settings,
        background_words=reader.label_set.background_words,
        batch_size=batch_size,
    )
    chosen = reader.image_ids[:images]
    truths = [reader.ground_truth(image_id).labels for image_id in chosen]
    named = [reader.label_set.select(np.unique(truth).tolist()) for truth in truths]
    sizes = [(90, 120)] * len(truths)
    rng = np.random.default_rng(0)
    side = fast.model.image_size
    if model == "tiny":
        pictures = [load_image(reader.sample(image_id).image_path) for image_id in chosen]
        pictures = [fit_input(picture, settings, side)[0] for picture in pictures]
    else:
        coarse = rng.integers(0, 256, (len(chosen), 8, 8, 3), dtype=np.uint8)
        pictures = list(coarse.repeat(side // 8, 1).repeat(side // 8, 2))
    labelled = []
    for start in range(0, len(chosen), batch_size):
        part = slice(start, start + batch_size)
        labelled += fast.segment_batch(
            np.stack(pictures[part]), named[part], sizes[part], reader.label_set
        )
    masks = [
        plain.segment(picture, own, size)
        for picture, own, size in zip(pictures, named, sizes, strict=True)
    ]
    same = [
        (one.mask.labels == mask.labels).mean() for one, mask in zip(labelled, masks, strict=True)
    ]
    found = [len(np.unique(mask.labels)) > 1 for mask in masks]
    assert sum(found) >= len(found) / 2  # there was something to agree on
    return float(np.mean(same)), {len(own) for own in named}


def test_the_plain_path_labels_as_the_fast_one():
    settings = load_settings("emoji-voc")
    share, counts = agreement(settings, model="tiny", images=12, batch_size=4)
    assert counts == {1, 2, 3}
    assert share >= 0.9999


@pytest.mark.parametrize(
    "changes",
    [
        {"cluster.enabled": True, "capture.self_heads": (1,), "cat_cross.gamma": 1.6},
        {"refine.mode": "adaptive", "assign.background": "threshold"},
        {"refine.mode": "single", "assign.background": "none"},
        {"refine.mode": "none", "assign.ignore_low": 0.2, "assign.ignore_high": 0.6},
        {"capture.cross_weights": {1: 0.5, 2: 0.5}, "capture.cross_heads": {1: (0, 3), 2: (1,)}},
        {"capture.self_layer": "up_blocks.2.attentions.1"},
        {"capture.self_layer": "down_blocks.2.attentions.0"},
    ],
    ids=["clustered", "adaptive", "single", "band", "resolutions", "half grid", "quarter grid"],
)
def test_the_plain_path_knows_the_settings(changes):
    layers = ("down_blocks.1.attentions.1", "up_blocks.2.attentions.0", "up_blocks.3.attentions.0")
    settings = load_settings(
        "emoji-voc",
        overrides={"capture.cross_layers": (*layers, "up_blocks.3.attentions.1"), **changes},
    )
    share, _ = agreement(settings, model="tiny", images=4, batch_size=2)
    # A position between two clusters goes to either by rounding, and moves their means. On a grid
    # of half the side a tie that rounding decides is four times as many pixels.
    is_coarse = settings.capture.self_layer != SELF_LAYER
    assert share >= (0.999 if settings.cluster.enabled or is_coarse else 0.9999)


def test_the_plain_path_splits_prompts_and_reads_coarser_maps(random_model_folder):
    # 77 tokens hold two or three of these categories, spelled letter by letter.
    settings = load_settings("paper/voc")
    share, counts = agreement(settings, model=str(random_model_folder), images=6, batch_size=2)
    assert max(counts) == 3
    assert share >= 0.9999


def test_the_plain_path_notices_another_head():
    settings = load_settings("emoji-voc")
    other = load_settings("emoji-voc", overrides={"capture.self_heads": (0,)})
    reader = open_dataset("emoji-voc", split="val")
    sample = reader.sample(reader.image_ids[0])
    named = reader.label_set.select(np.unique(reader.ground_truth(sample.image_id).labels).tolist())
    pixels, size = fit_input(load_image(sample.image_path), settings, 128)
    masks = [
        PlainSegmenter(load_model("tiny"), own, reader.label_set).segment(pixels, named, size)
        for own in (settings, other)
    ]
    assert (masks[0].labels != masks[1].labels).any()


def test_an_image_without_categories_is_all_background():
    reader = open_dataset("emoji-voc", split="val")
    plain = PlainSegmenter(load_model("tiny"), load_settings("emoji-voc"), reader.label_set)
    mask = plain.segment(np.zeros((128, 128, 3), np.uint8), (), (4, 6))
    assert mask.labels.shape == (4, 6)
    assert not mask.labels.any()


def test_the_plain_path_refuses_what_it_does_not_know():
    settings = load_settings("emoji-voc", overrides={"cat_cross.apply": "keys"})
    label_set = open_dataset("emoji-voc", split="val").label_set
    with pytest.raises(SettingsError, match="--skip-reference"):
        PlainSegmenter(load_model("tiny"), settings, label_set)
