"""From an image's categories to prompts, and to the tokens that carry each category's map."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from iseg_cli.errors import PromptError
from iseg_cli.types import Category

Span = tuple[int, int]
"""Characters of a text, from the first to the one behind the last."""

OPENING = "a photograph of "
AND = " and "
CLOSING = " and other object and background"
COMMA = ", "
PLACE = "{}"
"""Where a template's categories go."""


@dataclass(frozen=True)
class Prompt:
    """A text that fits the text encoder.

    Attributes:
        text: what the text encoder reads.
        columns: which of the image's categories it names, by their place among them.
        tokens: for each of these, the positions of its tokens in the padded text.
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
    """Write the prompts of one image: one, or several where its categories do not fit into one.

    The template is `a photograph of {A} and {B} and other object and background, {words}`. Where
    the text is too long, background words are dropped from the end; if it still is, the categories
    are split over several prompts, as many into each as fit. No category is ever cut short.

    Args:
        categories: those of the image; none gives one empty prompt.
        tokenizer: a fast tokenizer, which knows the characters of each token.
        background_words: what surrounds the categories; those that name one are left out.
        background_prefix: what stands between the template and the first of these words.
        background_suffix: what stands behind the last of them, where all of them have room.
        max_tokens: the length of the text encoder's input, start and end among them.

    Raises:
        PromptError: a category that does not fit even alone, or whose words get no token.
    """
    if not categories:
        return (Prompt("", (), ()),)
    words = _surroundings(categories, background_words)
    endings = _endings(words, background_prefix, background_suffix)
    chunks = list(_chunks(categories, tokenizer, max_tokens))
    prompts = []
    for chunk in chunks:
        named = [categories[column] for column in chunk]
        # Where the categories needed splitting there was no room for background words.
        room = endings if len(chunks) == 1 else ("",)
        text = _longest_text(named, room, tokenizer, max_tokens)
        prompts.append(_locate(text, chunk, named, tokenizer, len(OPENING)))
    return tuple(prompts)


def fill_template(
    template: str, categories: Sequence[Category], tokenizer: Any, *, max_tokens: int
) -> Prompt:
    """Write one prompt that names all of the categories, `A and B`, where a template has `{}`.

    Args:
        template: a text with one `{}`.
        categories: one or more.
        tokenizer: a fast tokenizer, which knows the characters of each token.
        max_tokens: the length of the text encoder's input, start and end among them.

    Raises:
        PromptError: a text that is too long, or a category whose words get no token.
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
    """Yield the places of the categories that share a prompt, greedily, in their order."""
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
    """Return what may follow the template: all words first, then ever fewer, none at last."""
    fewer = [prefix + COMMA.join(words[:count]) for count in range(len(words), 0, -1)]
    whole = [fewer[0] + suffix] if fewer and suffix else []
    return (*whole, *fewer, "")


def _longest_text(
    categories: Sequence[Category], endings: Sequence[str], tokenizer: Any, max_tokens: int
) -> str:
    """Return the text with the first of the endings with which it fits, or without any."""
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
    """Find the tokens of the categories, whose list begins at a position in the text."""
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
    """Return the characters of a category's prompt words that carry its map.

    Raises:
        PromptError: the words to focus on are not among the prompt words.
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
