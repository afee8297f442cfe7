"""Overlays: panels, colours, contours and legend, by looking at pixels."""

import numpy as np
import pytest

from iseg_cli.storage.overlay_drawing import draw_overlay
from iseg_cli.types import Category, LabelSet, Mask

COLORS = {1: (200, 0, 0), 2: (0, 180, 0), 3: (0, 0, 220)}
PETS = LabelSet(
    "pets", tuple(Category(i, f"pet {i}", "pet", color=color) for i, color in COLORS.items())
)
GREY = 100


def grey(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), GREY, dtype=np.uint8)


def square(height: int, width: int, label: int = 1) -> Mask:
    labels = np.zeros((height, width), np.uint8)
    labels[height // 4 : -height // 4, width // 4 : -width // 4] = label
    return Mask(labels)


def has_color(picture: np.ndarray, color: tuple[int, ...]) -> bool:
    return bool((picture == color).all(axis=-1).any())


def test_image_and_mask_stand_side_by_side_above_a_legend():
    picture = draw_overlay(grey(400, 500), square(400, 500), PETS)
    assert picture.dtype == np.uint8
    gap = picture.shape[1] - 1000
    assert 0 < gap < 50
    assert 20 < picture.shape[0] - 400 < 60
    left, right = picture[:400, :500], picture[:400, 500 + gap :]
    assert (left == GREY).all()
    assert (right[5, 5] == GREY).all()  # the background stays as it is
    np.testing.assert_array_equal(right[200, 250], (150, 50, 50))  # half image, half colour
    edge = right[200, 120:130].max(axis=0)
    assert (edge > (200, 120, 120)).all()  # a line lighter than both
    assert has_color(picture[400:], COLORS[1])
    assert not has_color(picture[400:], COLORS[2])


def test_a_small_image_is_enlarged_with_hard_edges_in_the_mask():
    picture = draw_overlay(grey(128, 128), square(128, 128), PETS)
    assert picture.shape[0] > 384
    assert picture.shape[1] > 2 * 384
    colors = np.unique(picture[:384, -384:].reshape(-1, 3)[:, 0])
    assert set(colors.tolist()) >= {GREY, 150}
    legend = draw_overlay(grey(128, 128), square(128, 128, label=3), PETS)[384:]
    assert has_color(legend, COLORS[3])
    assert not has_color(legend, COLORS[1])  # between labels 0 and 3 there is nothing


def test_a_wide_image_stands_above_its_mask():
    picture = draw_overlay(grey(400, 900), square(400, 900), PETS)
    assert picture.shape[1] == 900
    assert picture.shape[0] > 800


def test_an_empty_mask_says_so():
    picture = draw_overlay(grey(400, 400), Mask(np.zeros((400, 400), np.uint8)), PETS)
    assert (picture[:400, :400] == picture[:400, -400:]).all()
    assert (picture[400:] < 100).any()  # words


def test_a_long_legend_takes_more_rows_and_leaves_nothing_out():
    categories = tuple(
        Category(i, f"a rather long name {i}", "x", color=(i * 6, 255 - i * 6, 77))
        for i in range(40)
    )
    table = LabelSet("long", categories, background=None)
    labels = np.repeat(np.arange(40, dtype=np.uint8), 10)[:, None].repeat(400, axis=1)
    labels[0] = 255
    picture = draw_overlay(grey(400, 400), Mask(labels), table)
    legend = picture[400:]
    assert len(legend) > 8 * 16
    for category in categories:
        assert has_color(legend, category.color)
    assert has_color(legend, (224, 224, 192))  # ignored pixels are named as well
    assert (legend[:, -4:] == 250).all()  # no word is cut off


def test_a_label_without_a_name_is_drawn_all_the_same():
    picture = draw_overlay(grey(400, 400), square(400, 400, label=77), PETS)
    assert (picture[400:] < 100).any()


def test_nothing_that_comes_in_is_changed():
    image, mask = grey(400, 400), square(400, 400)
    before = image.copy(), mask.labels.copy()
    first = draw_overlay(image, mask, PETS)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(mask.labels, before[1])
    np.testing.assert_array_equal(first, draw_overlay(image, mask, PETS))


def test_image_and_mask_must_be_of_one_size():
    with pytest.raises(ValueError, match="under a mask"):
        draw_overlay(grey(4, 5), square(5, 4), PETS)
