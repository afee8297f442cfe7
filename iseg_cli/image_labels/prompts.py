"""Image-level labels from the prompts that synthetic images were made from.

A category is in an image if its name, or its words in the table, stand in the image's prompt as
whole words, in the singular or the plural. JSON maps images to prompts, `{"0001": "two dogs"}`, or
has records; a file that ends in .csv or .tsv has a line `0001.png,two dogs` per image, any other
file one `0001 two dogs`. Images go by whatever name `ImageFinder` understands; empty lines and
those that begin with `#` are passed over.
"""

import re
from pathlib import Path

from iseg_cli.errors import DataError
from iseg_cli.files.text import numbered_lines, read_text
from iseg_cli.image_labels.entries import PROMPT_WORDS, Entry
from iseg_cli.image_labels.finder import ImageFinder, Images
from iseg_cli.image_labels.lines import separator, split_line
from iseg_cli.image_labels.mappings import is_json, no_list, pairs
from iseg_cli.image_labels.source import LabelSource, listed
from iseg_cli.types import Category, LabelSet, nfc

COLUMNS = (".csv", ".tsv")
"""Endings of files whose first cell is the image."""

_PLURALS = {
    "person": "people",
    "man": "men",
    "woman": "women",
    "child": "children",
    "mouse": "mice",
}
"""Those of nouns that tables are likely to hold and the rules below do not make."""


def from_prompts(
    path: Path, label_set: LabelSet, images: Images, *, chosen: str | None = None
) -> LabelSource:
    """Return the categories that each image's prompt names.

    `chosen` is the key of the list to take, of a JSON that holds several.

    DataError, naming the file, if it cannot be read or has no image of the split, a label set
    without categories and, when asked for it, an image that the file lacks. A prompt that names no
    category gives an empty tuple.
    """
    if not label_set.categories:
        raise DataError(f"{path} needs categories to look for; pass --categories or --label-set")
    find, find_image = _Finder(label_set), ImageFinder(images)
    name = f"prompts:{path}" if chosen is None else f"prompts:{path}#{chosen}"
    entries, heading = _read(path, find_image, chosen)
    by_image: dict[str, tuple[Category, ...]] = {}
    others: list[str] = []
    for entry in entries:
        try:
            image_id = find_image(entry.image)
        except DataError as error:
            raise DataError(f"{entry.where}: {error}") from error
        if image_id is None:
            others.append(entry.image)
        elif image_id in by_image:
            raise DataError(f"{entry.where}: image {entry.image} stands there twice")
        else:
            by_image[image_id] = find(str(entry.labels[0]))
    return listed(name, by_image, images=images, others=others, heading=heading)


class _Finder:
    """Finds a label set's categories in texts; where names overlap, the longest counts.

    So `hot dog` is no dog, and `dining table` not a table besides.
    """

    def __init__(self, label_set: LabelSet) -> None:
        self._categories: dict[str, Category] = {}
        for category in label_set.categories:
            for words in (category.name, category.prompt):
                for form in _forms(nfc(words).lower()):
                    self._categories.setdefault(form, category)
        longest_first = sorted(self._categories, key=len, reverse=True)
        any_form = "|".join(r"\s+".join(map(re.escape, form.split())) for form in longest_first)
        self._pattern = re.compile(rf"(?<!\w)(?:{any_form})(?!\w)")

    def __call__(self, text: str) -> tuple[Category, ...]:
        found = self._pattern.findall(nfc(text).lower())
        categories = {self._categories[" ".join(form.split())] for form in found}
        return tuple(sorted(categories, key=lambda category: category.id))


def _forms(words: str) -> set[str]:
    """Return words, in lower case, with their last noun in the singular and the plural."""
    *before, noun = words.split()
    forms = {noun, f"{noun}s", f"{noun}es", _PLURALS.get(noun, noun)}
    forms.add(re.sub(r"(?<![aeiou])y$", "ies", noun))
    forms.add(re.sub(r"fe?$", "ves", noun))
    return {" ".join((*before, form)) for form in forms}


def _read(path: Path, find: ImageFinder, chosen: str | None) -> tuple[list[Entry], str | None]:
    """Return the prompts, each as the one label of its image, and the file's heading."""
    text = read_text(path, "file of prompts")
    if not is_json(path, text):
        if chosen is not None:
            raise no_list(path, chosen)
        return _from_lines(text, path, find)
    entries = []
    for image, prompt in pairs(text, path, find, PROMPT_WORDS, chosen=chosen):
        if not isinstance(prompt, str):
            raise DataError(f"{path} must map images to the prompts that they were made from")
        entries.append(Entry(f"{path}, image {image}", image, (prompt,)))
    return entries, None


def _from_lines(text: str, path: Path, find: ImageFinder) -> tuple[list[Entry], str | None]:
    entries: list[Entry] = []
    for number, line in numbered_lines(text):
        where = f"{path}, line {number}"
        image, prompt = _split(line, path, where, find)
        if line.startswith("#") and not find.every(image):
            continue
        if not image or not prompt.strip():
            raise DataError(f"{where}: write an image and its prompt")
        entries.append(Entry(where, image, (prompt.strip(),)))
    known = [bool(find.every(entry.image)) for entry in entries]
    if path.suffix.lower() in COLUMNS and known[:1] == [False] and any(known):
        first = entries.pop(0)
        return entries, f"{first.image}, {first.labels[0]}"
    return entries, None


def _split(line: str, path: Path, where: str, find: ImageFinder) -> tuple[str, str]:
    """Return the image and the prompt of a line."""
    if path.suffix.lower() in COLUMNS:
        delimiter = separator(line) or ","
        image, *rest = split_line(line, delimiter, where)
        return image, ", ".join(rest) if delimiter == "," else " ".join(rest)
    if line.startswith('"'):
        image, *rest = split_line(line, " ", where)
        return image, " ".join(rest)
    if "\t" in line:
        image, _, prompt = line.partition("\t")
        return image.strip(), prompt
    beginning = None if line.startswith("#") else find.first_words(line)
    image, _, prompt = line.partition(" ")
    return beginning or (image, prompt)
