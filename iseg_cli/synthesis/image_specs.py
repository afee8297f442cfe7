"""The images of a synthetic dataset: their names, categories, templates and seeds."""

import hashlib
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from iseg_cli.config.schema import SynthesisSettings
from iseg_cli.errors import SettingsError
from iseg_cli.label_images.palette import voc_color
from iseg_cli.readers.folder import label_set_of
from iseg_cli.types import Category, LabelSet, name_key


@dataclass(frozen=True)
class ImageSpec:
    """One image to generate.

    Attributes:
        image_id: `<category>_<number>`.
        categories: its categories; the first one is in its name.
        template: the prompt, with a gap for the categories.
        seed: the seed of its noise, 0 to 2^32 - 1.
    """

    image_id: str
    categories: tuple[Category, ...]
    template: str
    seed: int


def plan_images(
    label_set: LabelSet, synthesis: SynthesisSettings, *, per_category: int, seed: int
) -> tuple[ImageSpec, ...]:
    """Return the images of a dataset, category by category.

    An image depends on its name, the categories and the settings, not on the number of images: a
    larger dataset begins with the images of a smaller one. Each category gets all templates in
    turn. The seed of an image decides its other categories.

    Args:
        label_set: the categories.
        synthesis: the templates and the number of categories in an image.
        per_category: how many images each category gets.
        seed: the seed of the dataset.

    Raises:
        SettingsError: an image needs more categories than there are, or the files of two
            categories have the same names.
    """
    least, greatest = synthesis.objects
    if greatest > len(label_set.categories):
        raise SettingsError(
            f"synthesis.objects asks for {greatest} categories in an image, but only "
            f"{len(label_set.categories)} were named; name more with --categories"
        )
    stems = [_stem(category) for category in label_set.categories]
    if len(set(stems)) != len(stems):
        twice = next(stem for stem in stems if stems.count(stem) > 1)
        raise SettingsError(f"two categories would both have images {twice}_0000; rename one")
    specs = []
    for category, stem in zip(label_set.categories, stems, strict=True):
        others = [other for other in label_set.categories if other != category]
        for number in range(per_category):
            image_id = f"{stem}_{number:04}"
            own_seed = _seed(seed, image_id)
            choice = random.Random(own_seed)
            more = choice.sample(others, choice.randint(least, greatest) - 1)
            template = synthesis.templates[number % len(synthesis.templates)]
            specs.append(ImageSpec(image_id, (category, *more), template, own_seed))
    return tuple(specs)


def label_set_for(names: Sequence[str], known: LabelSet) -> LabelSet:
    """Return the label set of a synthetic dataset.

    A name, or prompt words, of `known` gets the words of `known`. If `known` has all names and a
    background, the categories keep its ids and colours: the masks are masks of that dataset.
    Otherwise they have the numbers from 1 on in the given order, and VOC's colours.

    Args:
        names: the categories.
        known: the label set that names are looked up in.

    Raises:
        SettingsError: an empty name, `background`, or a category named twice.
    """
    named = label_set_of(names).categories
    by_words = {name_key(w): c for c in known.categories for w in (c.prompt, c.name)}
    found = [by_words.get(name_key(category.name)) for category in named]
    kept = [category for category in found if category is not None]
    if len(set(kept)) != len(kept):
        twice = next(category for category in kept if kept.count(category) > 1)
        raise SettingsError(f"the category {twice.name!r} was named twice")
    if len(kept) == len(found) and known.background is not None:
        by_id = tuple(sorted(kept, key=lambda category: category.id))
        return LabelSet("synthetic", by_id, background=known.background)
    return LabelSet(
        "synthetic",
        tuple(
            plain
            if category is None
            else replace(category, id=plain.id, color=voc_color(plain.id), source_ids=())
            for plain, category in zip(named, found, strict=True)
        ),
    )


def _stem(category: Category) -> str:
    """Return the first part of the names of a category's images, without blanks and slashes."""
    return re.sub(r"\W+", "-", category.name).strip("-") or f"category-{category.id}"


def _seed(base: int, image_id: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{base}/{image_id}".encode()).digest()[:4], "big")
