"""Which images a synthetic dataset gets: their names, categories, templates and seeds."""

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
    """One image to draw.

    Attributes:
        image_id: `<category>_<number>`.
        categories: what is to be in it, the one it is named for first.
        template: the text that they are written into.
        seed: of its noise, 0 to 2^32 - 1.
    """

    image_id: str
    categories: tuple[Category, ...]
    template: str
    seed: int


def plan(
    label_set: LabelSet, synthesis: SynthesisSettings, *, per_category: int, seed: int
) -> tuple[ImageSpec, ...]:
    """Return the orders of a dataset, category by category.

    An order depends on its name, the categories and the settings, not on how many there are: a
    larger dataset begins with the images of a smaller one. Templates are taken in turn, so each
    category gets all of them; what else is in an image is drawn from its seed.

    Raises:
        SettingsError: more categories an image than there are, or two whose files would have the
            same names.
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
            company = choice.sample(others, choice.randint(least, greatest) - 1)
            template = synthesis.templates[number % len(synthesis.templates)]
            specs.append(ImageSpec(image_id, (category, *company), template, own_seed))
    return tuple(specs)


def label_set_for(names: Sequence[str], known: LabelSet) -> LabelSet:
    """Return the label set of a synthetic dataset.

    Names, or prompt words, of `known` bring its words. Where all are of `known`, they keep its ids
    and colours, so that the masks are masks of that dataset; else, or where it has no background,
    they are numbered from 1 in the order given, in VOC's colours.

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
    """Return what the names of a category's images begin with: no blanks, no slashes."""
    return re.sub(r"\W+", "-", category.name).strip("-") or f"category-{category.id}"


def _seed(base: int, image_id: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{base}/{image_id}".encode()).digest()[:4], "big")
