"""Label sets with ids of their own, for the tests of segmenters."""

from iseg_cli.types import Category, LabelSet

NAMES = ["dog", "potted plant", "car"]


def label_set(background=0, ids=(3, 7, 200)):
    made = tuple(Category(i, name, name) for i, name in zip(ids, NAMES, strict=True))
    return LabelSet("mine", made, background)
