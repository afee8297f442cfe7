"""CLIP's tokenizer from its files; it is refused unless it is whole and fits its text encoder."""

from pathlib import Path
from typing import Any

from transformers import CLIPTokenizer

from iseg_cli.backbones.weight_files import read_object

FILES = ("tokenizer.json", "vocab.json", "merges.txt")
"""The file of a fast tokenizer, and the two files of a slow one."""

SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
"""Further files, which may be absent."""

LEGACY_END = 2
"""The end token of configurations written before transformers 4.31; it means the greatest id."""

PROBE = "a photograph of a dog"


def load_tokenizer(folder: Path, text_config: Any, *, check_end: bool = False) -> Any:
    """Return the CLIP tokenizer of a folder, after a check that it fits its text encoder.

    Args:
        folder: it holds tokenizer.json, or vocab.json and merges.txt.
        text_config: the configuration of the text encoder: its vocabulary size and end token.
        check_end: whether the text encoder looks for its end token. CLIP does so to embed a whole
            text; Stable Diffusion does not.

    Returns:
        A tokenizer that adds a start and an end token, and knows the characters of each token.

    Raises:
        OSError: a file is missing or broken, or the vocabulary is that of another text encoder.
    """
    _check_files(folder)
    try:
        tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        vocabulary = tokenizer.get_vocab()
        empty = list(tokenizer("").input_ids)
        probe = tokenizer(PROBE, padding="max_length", max_length=77, return_offsets_mapping=True)
    except MemoryError:
        raise
    # Where contents have other types than expected, the libraries raise errors of any class.
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise OSError(f"the tokenizer in {folder} cannot be read ({reason[:200]})") from None
    _check_size(folder, vocabulary, int(text_config.vocab_size))
    if not (folder / FILES[0]).is_file():
        _check_merges(folder, vocabulary)
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    if start is None or end is None or empty != [start, end]:
        raise OSError(
            f"the tokenizer in {folder} puts {empty} around a text and not its start token {start} "
            f"and its end token {end}; it is not a tokenizer of CLIP's kind"
        )
    if "offset_mapping" not in probe or len(probe.input_ids) != 77:
        raise OSError(f"the tokenizer in {folder} does not say which characters its tokens have")
    if check_end:
        _check_end(folder, end, max(vocabulary.values()), text_config.eos_token_id)
    return tokenizer


def _check_files(folder: Path) -> None:
    """Raise OSError for a file that is missing or is no JSON; it is named."""
    whole, vocabulary, merges = (folder / name for name in FILES)
    if whole.is_file():
        model = read_object(whole).get("model")
        if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict):
            raise OSError(f"{whole} holds no vocabulary (model.vocab)")
    else:
        if not vocabulary.is_file() and not merges.is_file():
            raise OSError(f"{whole} is missing, and so are {FILES[1]} and {FILES[2]} beside it")
        read_object(vocabulary)
        if not merges.is_file():
            raise OSError(f"{merges} is missing")
    for name in SETTINGS:
        if (folder / name).exists():
            read_object(folder / name)


def _check_size(folder: Path, vocabulary: dict[str, int], size: int) -> None:
    """Raise OSError for a vocabulary that cannot be that of a text encoder of this size.

    A text encoder may know more tokens than there are, since training rounds their number up. An
    encoder that knows twice as many belongs to another tokenizer.
    """
    greatest = max(vocabulary.values(), default=-1)
    if greatest >= size or 2 * len(vocabulary) < size:
        raise OSError(
            f"the vocabulary in {folder} has {len(vocabulary)} tokens, up to number {greatest}, "
            f"but the text encoder knows {size}; take the tokenizer that belongs to it"
        )


def _check_merges(folder: Path, vocabulary: dict[str, int]) -> None:
    """Raise OSError where merges.txt cannot build the words of the vocabulary."""
    path = folder / FILES[2]
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, ValueError):
        raise OSError(f"{path} cannot be read as text in UTF-8") from None
    merges = sum(1 for line in lines if line.strip() and not line.startswith("#version"))
    words = sum(1 for piece in vocabulary if _is_word(piece))
    if merges < words:
        raise OSError(
            f"{path} has {merges} merges, but {FILES[1]} beside it has {words} words that take one "
            "each; the file is cut short, or of another tokenizer"
        )


def _is_word(piece: str) -> bool:
    """Tell whether a piece of the vocabulary takes a merge: more than a byte, no special token."""
    return len(piece.removesuffix("</w>")) > 1 and not piece.startswith("<|")


def _check_end(folder: Path, end: int, greatest: int, wanted: int | None) -> None:
    """Raise OSError for an end token that the text encoder would not find."""
    if wanted is None or end == (greatest if wanted == LEGACY_END else wanted):
        return
    raise OSError(
        f"the tokenizer in {folder} ends a text with token {end}, but the text encoder looks for "
        f"{greatest if wanted == LEGACY_END else wanted}; take the tokenizer that belongs to it"
    )
