"""What the embedded CLIP reads: single-class captions, captions of scenes, words of no class.

A caption is true of an image if everything that it names is in it; that is all the supervision.
"""

import random
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor
from transformers import CLIPTokenizer

from tiny.catalog import load_catalog
from tiny.text import END, LENGTH, MORE_WORDS, build_tokenizer

TEMPLATES = (
    "a photograph of {}",
    "a photograph of {} and other object and background",
    "a photo of a {}.",
    "a photo of the {}.",
    "an image of a {}",
    "a picture of a {}.",
    "a clean origami {}.",
    "there is a {} in the scene.",
    "a {}",
    "{}",
)
NOWHERE = "dining table"
"""VOC's class that no scene shows: a caption that is always false."""

SURROUNDINGS = (
    *("background", "ground", "land", "grass", "tree", "building", "wall"),
    *("floor", "sky", "lake", "water", "river", "sea", "railway"),
    *("railroad", "keyboard", "helmet", "cloud", "house", "mountain", "ocean"),
    *("road", "rock", "street", "valley", "bridge", "sign", "pattern"),
    *("texture", "nothing"),
)
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def class_words() -> dict[int, str]:
    """Prompt words by VOC's class id; 11 is the class that no scene shows."""
    words = {category.id: category.prompt for category in load_catalog().categories}
    return {number: words.get(number, NOWHERE) for number in sorted({*words, 11})}


def build_clip_tokenizer() -> CLIPTokenizer:
    """The UNet's tokenizer with the words of the templates and of the surroundings as well."""
    frames = {word.strip(".") for template in TEMPLATES for word in template.split()}
    return build_tokenizer(more=(*MORE_WORDS, *sorted(frames - {"{}"}), *SURROUNDINGS))


def make_clip_tokenizer(work: Path, *, start: Path | None = None) -> CLIPTokenizer:
    """The tokenizer of `work/clip-tokenizer`, written there unless it is there.

    Training, its resumption and the export must share one, whatever words are added later; so a
    training that goes on from the CLIP in the folder `start` goes on with its tokenizer.
    """
    folder = work / "clip-tokenizer"
    if not folder.exists():
        partial = work / "clip-tokenizer.part"
        tokenizer = (
            build_clip_tokenizer() if start is None else CLIPTokenizer.from_pretrained(start)
        )
        tokenizer.save_pretrained(partial)
        partial.rename(folder)
    kept: CLIPTokenizer = CLIPTokenizer.from_pretrained(folder)
    return kept


class Captions:
    """Draws the captions of a training step and says which image each is true of."""

    def __init__(self, tokenizer: CLIPTokenizer, seed: int) -> None:
        self.tokenizer = tokenizer
        self.words = class_words()
        self.seed = seed

    def draw(self, step: int, rows: npt.NDArray[Any], scenes: int) -> tuple[Tensor, Tensor]:
        """Captions of a step.

        Args:
            step: the optimiser step, which with the seed settles every draw.
            rows: class ids of some images [n, 3], 0 for none.
            scenes: how many of them have their own caption among those drawn.

        Returns:
            Token ids [1 + classes + n, tokens]: of a caption that names no class, one caption for
            each class and one for each of the first `scenes` images; truth [n, classes + scenes]
            of all but the first.
        """
        draw = random.Random(self.seed * 1_000_003 + step)
        sets = [frozenset(int(number) for number in row if number) for row in rows]
        named = [frozenset((number,)) for number in self.words] + sets[:scenes]
        texts = [draw.choice(TEMPLATES).format(self._surroundings(draw))]
        texts += [self._caption(draw, numbers) for numbers in named]
        truth = [[bool(numbers) and numbers <= present for numbers in named] for present in sets]
        return encode_texts(self.tokenizer, texts), torch.tensor(truth, dtype=torch.float32)

    def _caption(self, draw: random.Random, numbers: frozenset[int]) -> str:
        """A template filled with class words in random order, or with surroundings for none."""
        words = [self.words[number] for number in sorted(numbers)]
        draw.shuffle(words)
        return draw.choice(TEMPLATES).format(" and ".join(words) or self._surroundings(draw))

    def _surroundings(self, draw: random.Random) -> str:
        """One to three words that name no class; one in five is made up."""
        return " ".join(
            "".join(draw.choices(LETTERS, k=draw.randint(3, 7)))
            if draw.random() < 0.2
            else draw.choice(SURROUNDINGS)
            for _ in range(draw.randint(1, 3))
        )


def encode_texts(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Token ids [n, tokens], padded to the longest and cut at LENGTH with the end kept."""
    ids: Tensor = tokenizer(
        texts, padding=True, truncation=True, max_length=LENGTH, return_tensors="pt"
    ).input_ids
    ends = tokenizer.convert_tokens_to_ids(END)
    if not bool((ids == ends).any(dim=1).all()):
        raise ValueError("a caption lost its end token, at which the text encoder is read")
    return ids
