"""Image-level labels from the prompts of synthetic images.

A category is in an image if the image's prompt holds its name, or its words in the table, as whole
words in the singular or the plural. JSON maps images to prompts, `{"0001": "two dogs"}`, or has
records. A .csv or .tsv file has a line `0001.png,two dogs` per image. Other files have a line
`0001 two dogs` per image. `ImageFinder` finds the images by their names. Empty lines and lines that
begin with `#` are ignored.
"""

import re
from pathlib import Path

from iseg_cli.errors import DataError
from iseg_cli.files.text import numbered_lines, read_text
from iseg_cli.image_labels.entries import PROMPT_WORDS, Entry
from iseg_cli.image_labels.finder import ImageFinder, Images
from iseg_cli.image_labels.lines import separator, split_line
from iseg_cli.image_labels.listed import ListedLabeler
from iseg_cli.image_labels.mappings import is_json, no_list, pairs, path_and_list
from iseg_cli.image_labels.split_labels import SplitLabels
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
"""Irregular plurals of nouns that tables are likely to hold."""


def open_prompts(path: str, split: SplitLabels) -> ListedLabeler:
    """Return the labeler of `--labels prompts:PATH` or `prompts:PATH#LIST`."""
    file, chosen = path_and_list(path)
    return read_prompts_file(file, split.label_set, split.images, chosen=chosen)


def read_prompts_file(
    path: Path, label_set: LabelSet, images: Images, *, chosen: str | None = None
) -> ListedLabeler:
    """Return the categories that each image's prompt names; a prompt may name none.

    Args:
        path: the file.
        label_set: the categories to look for.
        images: the split's images.
        chosen: the key of the list to read, in a JSON that holds several.

    Raises:
        DataError: the file cannot be read or has no image of the split, or the label set has no
            categories.
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
    return ListedLabeler(name, by_image, images=images, others=others, heading=heading)


class _Finder:
    """Finds a label set's categories in texts; of overlapping names, the longest counts.

    `hot dog` names no dog, and `dining table` names no table.
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
    """Return the prompts, each as the only label of its image, and the file's heading."""
    text = read_text(path, "file of prompts")
    if not is_json(path, text):
        if chosen is not None:
            raise no_list(path, chosen)
        return _from_lines(text, path, find)
    entries = []
    for image, prompt in pairs(text, path, find, PROMPT_WORDS, chosen=chosen):
        if not isinstance(prompt, str):
            raise DataError(f"{path} must map images to their prompts")
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
