import dataclasses

import cv2
import numpy as np
import pytest
import reference
import torch
from label_sets import NAMES, label_set
from PIL import Image

from iseg_cli import Segmenter
from iseg_cli.config import load_settings, to_dict, validate
from iseg_cli.errors import ImageError, ModelNotFoundError, SettingsError
from iseg_cli.segmentation.segmenter import fit_image, fit_input, label_values
from iseg_cli.types import Category

SIZE = (50, 75)


def picture(size=SIZE, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (*size, 3), dtype=np.uint8)


def build(model, batch_size=1, words=(), **sections):
    return Segmenter(model, validate(sections), background_words=words, batch_size=batch_size)


@pytest.fixture(scope="module")
def segmenter(random_model_folder):
    return Segmenter.from_pretrained(
        str(random_model_folder), settings=validate({}), device="cpu", dtype="float32"
    )


@pytest.mark.parametrize("size", [SIZE, SIZE[::-1], (64, 64), (1, 9), (200, 3)])
def test_a_mask_has_the_images_size(segmenter, size):
    mask = segmenter.segment(picture(size), categories=NAMES)
    assert mask.size == size
    assert mask.labels.dtype == np.uint8
    assert set(np.unique(mask.labels)) <= {0, 1, 2, 3}


def test_a_mask_is_what_the_maps_say(segmenter):
    """Return labels from attention by the reference, for an image that is not square."""
    image = picture()
    mask = segmenter.segment(image, categories=NAMES)
    made = [Category(i, name, name) for i, name in enumerate(NAMES, start=1)]
    resized = Image.fromarray(image).resize((64, 64), Image.Resampling.BILINEAR)
    attention = segmenter.extractor.extract(np.array(resized)[None], [made])
    reduced = reference.reduce_entropy(attention.self_attention[0].double().numpy(), 0.02)
    refined = reference.refine(attention.cross[0].double().numpy(), reduced, 8)
    grids = refined.T.reshape(3, 16, 16)
    scores = reference.min_max(np.stack([reference.bilinear(grid, *SIZE) for grid in grids]))
    expected = reference.assign(scores, "power")
    assert len(np.unique(expected)) > 2
    # Pixels between two labels may fall to either within rounding.
    assert (mask.labels == expected).mean() > 0.995


def test_files_and_arrays_are_alike(segmenter, tmp_path):
    image = picture()
    Image.fromarray(image).save(tmp_path / "image.png")
    expected = segmenter.segment(image, categories=NAMES).labels
    for path in (tmp_path / "image.png", str(tmp_path / "image.png")):
        labels = segmenter.segment(path, categories=NAMES).labels
        np.testing.assert_array_equal(labels, expected)


def test_a_file_is_turned_upright_first(segmenter, tmp_path):
    image = picture()
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = Image.fromarray(image).transpose(Image.Transpose.ROTATE_90)
    turned.save(tmp_path / "turned.png", exif=exif)
    mask = segmenter.segment(tmp_path / "turned.png", categories=["dog"])
    np.testing.assert_array_equal(mask.labels, segmenter.segment(image, categories=["dog"]).labels)


def test_categories_get_labels_in_their_order(segmenter):
    one = segmenter.segment(picture(), categories=["dog", "car"]).labels
    assert {1, 2} <= set(np.unique(one))
    alone = segmenter.segment(picture(), categories=["car"]).labels
    assert set(np.unique(alone)) == {0, 1}


def test_what_is_wrong_is_said(segmenter, tmp_path):
    with pytest.raises(ImageError, match="there is no image"):
        segmenter.segment(tmp_path / "none.png", categories=["dog"])
    with pytest.raises(SettingsError, match="named twice"):
        segmenter.segment(picture(), categories=["dog", "dog"])
    with pytest.raises(ModelNotFoundError):
        Segmenter.from_pretrained("nowhere")
    with pytest.raises(SettingsError, match="toaster"):
        Segmenter.from_pretrained("tiny", device="toaster")
    for array in (picture()[..., 0], np.zeros((8, 8, 4), np.uint8), picture() / 255.0):
        with pytest.raises(ImageError, match="RGB"):
            segmenter.segment(array, categories=["dog"])


def test_no_categories_are_background(segmenter):
    mask = segmenter.segment(picture(), categories=[])
    assert mask.size == SIZE
    assert not mask.labels.any()


def test_the_usual_preset_is_that_of_voc(random_model_folder):
    segmenter = Segmenter.from_pretrained(str(random_model_folder), device="cpu")
    voc = load_settings("voc")
    assert segmenter.settings.model == str(random_model_folder)
    # The lists of heads in the preset are those of SD 2.1, and this model has others.
    assert (segmenter.settings.capture.cross_heads, segmenter.settings.capture.self_heads) == (
        {},
        None,
    )
    all_heads = {"heads": None, "cross_heads": {}, "self_heads": None}
    usual = voc.capture.model_copy(update=all_heads)
    assert segmenter.settings == voc.model_copy(
        update={"model": str(random_model_folder), "capture": usual}
    )
    assert segmenter.model.dtype == torch.float32
    assert segmenter.segment(picture(), categories=["dog"]).labels.shape == picture().shape[:2]
    asked = Segmenter.from_pretrained(str(random_model_folder), settings=voc, device="cpu")
    with pytest.raises(SettingsError, match=r"capture\.self_heads is \[1, 2\], .* heads 0 to 1"):
        asked.segment(picture(), categories=["dog"])


def test_background_words_of_the_settings_come_before_the_label_sets(random_model):
    category = [Category(1, "dog", "dog")]

    def text(**sections):
        own = build(random_model, words=["sky"], **sections)
        return own.extractor.prompts(category)[0].text

    assert text().endswith("background, sky")
    assert text(prompt={"background_words": ["grass"]}).endswith("background, grass")
    assert text(prompt={"background_words": []}).endswith("background")


def test_masks_hold_the_labels_of_their_label_set(random_model):
    own = build(random_model, 2)
    prepared = np.stack([fit_image(picture(seed=i), 64) for i in range(2)])
    chosen = label_set()
    present = [chosen.select([200, 3]), chosen.select([7])]
    one, other = own.segment_batch(prepared, present, [SIZE, (20, 30)], chosen)
    assert set(np.unique(one.mask.labels)) == {0, 3, 200}
    assert set(np.unique(other.mask.labels)) == {0, 7}
    assert (one.mask.size, other.mask.size) == (SIZE, (20, 30))
    assert (one.scores.shape, other.scores.shape) == ((2, 16, 16), (1, 16, 16))
    for scores in (one.scores, other.scores):
        assert scores.dtype == np.float16
        np.testing.assert_array_equal(scores.max(axis=(1, 2)), 1)
        np.testing.assert_array_equal(scores.min(axis=(1, 2)), 0)


def test_where_nothing_is_background_every_pixel_is_a_category(random_model):
    own = build(random_model, assign={"background": "none"})
    chosen = label_set(background=None, ids=(0, 7, 200))
    [result] = own.segment_batch(
        fit_image(picture(), 64)[None], [chosen.categories], [SIZE], chosen
    )
    assert set(np.unique(result.mask.labels)) == {0, 7, 200}


def test_uncertain_pixels_keep_the_ignore_label(random_model):
    own = build(random_model, assign={"ignore_low": 0.1, "ignore_high": 0.6})
    chosen = label_set()
    [result] = own.segment_batch(
        fit_image(picture(), 64)[None], [chosen.select([7])], [SIZE], chosen
    )
    assert set(np.unique(result.mask.labels)) == {0, 7, 255}


def test_neighbours_change_no_pixel(random_model):
    own = build(random_model, 4, cluster={"enabled": True, "rounds": 3})
    chosen = label_set()
    pictures = [picture(seed=i) for i in range(4)]
    present = [chosen.select(ids) for ids in ([3], [7, 200], [3, 7, 200], [])]
    sizes = [SIZE, (20, 30), (64, 10), SIZE]
    prepared = [fit_image(image, 64) for image in pictures]

    def segment(rows):
        return own.segment_batch(
            np.stack([prepared[i] for i in rows]),
            [present[i] for i in rows],
            [sizes[i] for i in rows],
            chosen,
        )

    alone = [segment([i])[0] for i in range(4)]
    for rows in ([0, 1, 2, 3], [3, 1, 0], [2, 0]):
        for i, result in zip(rows, segment(rows), strict=True):
            np.testing.assert_array_equal(result.mask.labels, alone[i].mask.labels)
            np.testing.assert_array_equal(result.scores, alone[i].scores)


def test_label_values():
    chosen = label_set()
    table = label_values(chosen.select([200, 3]), chosen)
    assert table[:3].tolist() == [0, 3, 200]
    assert table[255] == 255
    open_ended = label_values(chosen.select([7]), dataclasses.replace(chosen, background=None))
    assert open_ended[:2].tolist() == [255, 7]


def test_images_are_shrunk_by_averaging():
    stripes = np.zeros((128, 256, 3), dtype=np.uint8)
    stripes[:, ::2] = 200
    fitted = fit_image(stripes, 64)
    assert fitted.shape == (64, 64, 3)
    # Away from the border, where the filter is cut off.
    np.testing.assert_allclose(fitted[8:-8, 8:-8], 100, atol=3)
    assert (fit_image(np.full((3, 5, 3), 7, np.uint8), 64) == 7).all()


@pytest.mark.parametrize("size", [(375, 500), (480, 640), (64, 64), (1, 1), (7, 301), (1300, 33)])
def test_opencvs_resize_is_opencvs(size):
    image = np.random.default_rng(3).integers(0, 256, (*size, 3), dtype=np.uint8)
    for side in (64, 512):
        fitted = fit_image(image, side, resize="opencv")
        assert np.array_equal(fitted, cv2.resize(image, (side, side)))
        # What the released code does: floats in [0, 1], which here are rounded to 256 levels.
        floats = 255 * cv2.resize(image.astype(np.float32) / 255, (side, side))
        np.testing.assert_allclose(fitted, floats, atol=1)


def test_opencvs_resize_does_not_average():
    """Four columns become one: OpenCV reads the two in the middle and never the first."""
    columns = np.zeros((64, 256, 3), dtype=np.uint8)
    columns[:, ::4] = 200
    assert (fit_image(columns, 64, resize="opencv") == 0).all()
    assert fit_image(columns, 64)[:, 8:-8].min() > 25
    large = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    apart = np.abs(fit_image(large, 512).astype(int) - fit_image(large, 512, resize="opencv"))
    assert apart.max() > 30


def test_the_settings_choose_the_resize():
    columns = np.zeros((100, 160, 3), dtype=np.uint8)
    columns[:, ::5] = 250
    for whole, crop in ((columns, "none"), (columns[:, 30:130], "center")):
        for resize in ("pillow", "opencv"):
            chosen = validate({"resize": resize, "crop": crop})
            fitted, _ = fit_input(columns, chosen, 32)
            assert np.array_equal(fitted, fit_image(whole, 32, resize=resize))
    assert validate({}).resize == "pillow"
    assert to_dict(validate({"resize": "opencv"}))["resize"] == "opencv"
    with pytest.raises(SettingsError, match="resize"):
        validate({"resize": "bicubic"})
