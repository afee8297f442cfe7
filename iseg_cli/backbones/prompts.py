"""From an image's categories to prompts, and to the tokens of each category."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from iseg_cli.errors import PromptError
from iseg_cli.types import Category

Span = tuple[int, int]
"""Positions in a text: the first character, and the one after the last."""

OPENING = "a photograph of "
AND = " and "
CLOSING = " and other object and background"
COMMA = ", "
PLACE = "{}"
"""Stands for the categories in a template."""


@dataclass(frozen=True)
class Prompt:
    """A text that fits the text encoder.

    Attributes:
        text: the input of the text encoder.
        columns: the indices, among the image's categories, of those that the text names.
        tokens: for each named category, the positions of its tokens in the padded text.
    """

    text: str
    columns: tuple[int, ...]
    tokens: tuple[tuple[int, ...], ...]


def build_prompts(
    categories: Sequence[Category],
    tokenizer: Any,
    *,
    background_words: Sequence[str] = (),
    background_prefix: str = COMMA,
    background_suffix: str = "",
    max_tokens: int,
) -> tuple[Prompt, ...]:
    """Return the prompts of one image: one, or several where its categories do not fit into one.

    The template is `a photograph of {A} and {B} and other object and background, {words}`. Where
    the text is too long, background words are dropped from the end. If it is still too long, the
    categories are split over several prompts, with as many categories in each as fit. No category
    is cut short.

    Args:
        categories: those of the image; an image without categories gets one empty prompt.
        tokenizer: a fast tokenizer, which knows the characters of each token.
        background_words: words for the surroundings; those that name a category are left out.
        background_prefix: the text between the template and the first background word.
        background_suffix: the text after the last background word, where all of them fit.
        max_tokens: the length of the text encoder's input, start and end among them.

    Raises:
        PromptError: a category does not fit even alone, or its words get no token.
    """
    if not categories:
        return (Prompt("", (), ()),)
    words = _surroundings(categories, background_words)
    endings = _endings(words, background_prefix, background_suffix)
    chunks = list(_chunks(categories, tokenizer, max_tokens))
    prompts = []
    for chunk in chunks:
        named = [categories[column] for column in chunk]
        # Where the categories are split, no background word fits.
        possible = endings if len(chunks) == 1 else ("",)
        text = _longest_text(named, possible, tokenizer, max_tokens)
        prompts.append(_locate(text, chunk, named, tokenizer, len(OPENING)))
    return tuple(prompts)


def fill_template(
    template: str, categories: Sequence[Category], tokenizer: Any, *, max_tokens: int
) -> Prompt:
    """Return one prompt with all categories, `A and B`, in place of the `{}` of a template.

    Args:
        template: a text with one `{}`.
        categories: one or more.
        tokenizer: a fast tokenizer, which knows the characters of each token.
        max_tokens: the length of the text encoder's input, start and end among them.

    Raises:
        PromptError: the text is too long, or the words of a category get no token.
    """
    opening, _, closing = template.partition(PLACE)
    text = opening + _listed(categories) + closing
    if not _fits(text, tokenizer, max_tokens):
        raise PromptError(
            f"the prompt {text!r} is too long for this model's text encoder, which takes "
            f"{max_tokens} tokens; shorten its template or name fewer categories"
        )
    return _locate(text, tuple(range(len(categories))), categories, tokenizer, len(opening))


def _surroundings(categories: Sequence[Category], words: Sequence[str]) -> tuple[str, ...]:
    """Return the background words that name none of the image's categories."""
    named = {name.lower() for c in categories for name in (c.name, c.prompt, c.focus)}
    return tuple(word for word in words if word.lower() not in named)


def _chunks(
    categories: Sequence[Category], tokenizer: Any, max_tokens: int
) -> Iterator[tuple[int, ...]]:
    """Yield the indices of the categories of each prompt, in order, as many as fit."""
    chunk: tuple[int, ...] = ()
    for column, category in enumerate(categories):
        grown = (*chunk, column)
        if _fits(_text([categories[c] for c in grown]), tokenizer, max_tokens):
            chunk = grown
            continue
        if chunk:
            yield chunk
        chunk = (column,)
        if not _fits(_text([category]), tokenizer, max_tokens):
            raise PromptError(
                f"category {category.name!r} is too long for this model's text encoder, which "
                f"takes {max_tokens} tokens; shorten its prompt words"
            )
    yield chunk


def _endings(words: Sequence[str], prefix: str, suffix: str) -> tuple[str, ...]:
    """Return the possible ends of the text: with all words, then with fewer, at last with none."""
    fewer = [prefix + COMMA.join(words[:count]) for count in range(len(words), 0, -1)]
    whole = [fewer[0] + suffix] if fewer and suffix else []
    return (*whole, *fewer, "")


def _longest_text(
    categories: Sequence[Category], endings: Sequence[str], tokenizer: Any, max_tokens: int
) -> str:
    """Return the text with the first ending that fits, or without an ending."""
    text = _text(categories)
    fitting = (text + ending for ending in endings if _fits(text + ending, tokenizer, max_tokens))
    return next(fitting, text)


def _text(categories: Sequence[Category]) -> str:
    return OPENING + _listed(categories) + CLOSING


def _listed(categories: Sequence[Category]) -> str:
    return AND.join(category.prompt for category in categories)


def _fits(text: str, tokenizer: Any, max_tokens: int) -> bool:
    return len(tokenizer(text, truncation=False, verbose=False)["input_ids"]) <= max_tokens


def _locate(
    text: str,
    columns: tuple[int, ...],
    categories: Sequence[Category],
    tokenizer: Any,
    position: int,
) -> Prompt:
    """Return the prompt of a text in which the list of the categories begins at a position."""
    offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    tokens = []
    for category, start in zip(categories, _starts(categories, position), strict=True):
        spans = [(start + a, start + b) for a, b in focus_spans(category)]
        chosen = tuple(i for i, offset in enumerate(offsets) if _overlaps(offset, spans))
        if not chosen:
            raise PromptError(
                f"the tokenizer gives no token to category {category.name!r} (prompt words "
                f"{category.prompt!r}); choose other words for it"
            )
        tokens.append(chosen)
    return Prompt(text, columns, tuple(tokens))


def _starts(categories: Sequence[Category], position: int) -> Iterator[int]:
    """Yield the character at which each category's words begin in the text."""
    for category in categories:
        yield position
        position += len(category.prompt) + len(AND)


def focus_spans(category: Category) -> list[Span]:
    """Return the positions of the prompt words whose tokens give a category its map.

    Raises:
        PromptError: a word to focus on is not among the prompt words.
    """
    if not category.focus:
        return [(0, len(category.prompt))]
    spans = []
    position = 0
    words = category.prompt.split(" ")
    wanted = set(category.focus.split())
    for word in words:
        if word in wanted:
            spans.append((position, position + len(word)))
        position += len(word) + 1
    if not wanted <= set(words):
        raise PromptError(
            f"category {category.name!r} focuses on {category.focus!r}, "
            f"which is not among its prompt words {category.prompt!r}"
        )
    return spans


def _overlaps(offset: Span, spans: Sequence[Span]) -> bool:
    """Tell whether a token covers a character of the spans; start and end tokens cover none."""
    return any(max(offset[0], a) < min(offset[1], b) for a, b in spans)
