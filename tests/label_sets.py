"""A label set whose ids are not 1, 2, 3, for the tests of segmenters."""

from iseg_cli.types import Category, LabelSet

NAMES = ["dog", "potted plant", "car"]


def label_set(background=0, ids=(3, 7, 200)):
    """The label set of the categories NAMES with these ids."""
    made = tuple(Category(i, name, name) for i, name in zip(ids, NAMES, strict=True))
    return LabelSet("mine", made, background)
