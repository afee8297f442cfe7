"""Image-level labels from the prompts that synthetic images were made from.

A category is in an image if its name, or its words in the table, stand in the image's prompt as
whole words, in the singular or the plural. JSON maps images to prompts, `{"0001": "two dogs"}`; a
file that ends in .csv has a line `0001.png,two dogs` per image, any other file one `0001 two dogs`.
Images go by their id or their file's name; empty lines and those that begin with `#` are passed
over.
"""

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path

from iseg_cli.errors import DataError
from iseg_cli.labels.source import LabelSource, listed
from iseg_cli.samples import Category, LabelSet

_PLURALS = {
    "person": "people",
    "man": "men",
    "woman": "women",
    "child": "children",
    "mouse": "mice",
}
"""Those of nouns that tables are likely to hold and the rules below do not make."""


def from_prompts(path: Path, label_set: LabelSet) -> LabelSource:
    """Return the categories that each image's prompt names.

    DataError, naming the file, if it cannot be read, a label set without categories and, when asked
    for it, an image that the file lacks. A prompt that names no category gives an empty tuple.
    """
    if not label_set.categories:
        raise DataError(f"{path} needs categories to look for; pass --categories or --label-set")
    find = _Finder(label_set)
    return listed(f"prompts:{path}", {image: find(text) for image, text in _read(path).items()})


class _Finder:
    """Finds a label set's categories in texts; where names overlap, the longest counts.

    So `hot dog` is no dog, and `dining table` not a table besides.
    """

    def __init__(self, label_set: LabelSet) -> None:
        self._categories: dict[str, Category] = {}
        for category in label_set.categories:
            for words in (category.name, category.prompt):
                for form in _forms(words.lower()):
                    self._categories.setdefault(form, category)
        longest_first = sorted(self._categories, key=len, reverse=True)
        any_form = "|".join(r"\s+".join(map(re.escape, form.split())) for form in longest_first)
        self._pattern = re.compile(rf"(?<!\w)(?:{any_form})(?!\w)")

    def __call__(self, text: str) -> tuple[Category, ...]:
        found = self._pattern.findall(text.lower())
        categories = {self._categories[" ".join(form.split())] for form in found}
        return tuple(sorted(categories, key=lambda category: category.id))


def _forms(words: str) -> set[str]:
    """Return words, in lower case, with their last noun in the singular and the plural."""
    *before, noun = words.split()
    forms = {noun, f"{noun}s", f"{noun}es", _PLURALS.get(noun, noun)}
    forms.add(re.sub(r"(?<![aeiou])y$", "ies", noun))
    forms.add(re.sub(r"fe?$", "ves", noun))
    return {" ".join((*before, form)) for form in forms}


def _read(path: Path) -> Mapping[str, str]:
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"there is no file of prompts {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no readable file of prompts: {error}") from error
    return _from_json(text, path) if path.suffix.lower() == ".json" else _from_lines(text, path)


def _from_json(text: str, path: Path) -> Mapping[str, str]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise DataError(f"{path} is no readable JSON file: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(v, str) for v in content.values()):
        raise DataError(f"{path} must map images to the prompts that they were made from")
    return content


def _from_lines(text: str, path: Path) -> Mapping[str, str]:
    prompts: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if path.suffix.lower() == ".csv":
            image, *rest = next(csv.reader([line], skipinitialspace=True))
            image, prompt = image.strip(), ", ".join(rest)
        else:
            image, _, prompt = line.strip().partition(" ")
        if not image or not prompt.strip():
            raise DataError(f"{path}, line {number}: write an image and its prompt")
        if image in prompts:
            raise DataError(f"{path}, line {number}: image {image} stands there twice")
        prompts[image] = prompt
    return prompts
