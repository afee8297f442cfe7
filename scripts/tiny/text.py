"""Tokenizer and text encoder: one token a word, and an embedding that stays with its word."""

import shutil
from collections import Counter
from itertools import pairwise
from pathlib import Path

import torch
from tokenizers import pre_tokenizers
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from tiny.catalog import caption, load_catalog

LENGTH = 32  # tokens of a prompt, start and end included
WIDTH = 64  # of a text embedding
EMBEDDING_SPREAD = 0.3  # start of token embeddings: wide enough that one step does not turn them
MORE_WORDS = ("aeroplane", "dining", "table", "objects", "image")
START, END = "<|startoftext|>", "<|endoftext|>"


def learn_merges(words: list[str]) -> list[tuple[str, str]]:
    """Byte-pair merges after which each of `words` is a single token.

    Each merges the most frequent pair of neighbours; of several, the first of the alphabet.
    """
    spelled = [[*word[:-1], f"{word[-1]}</w>"] for word in words]
    merges: list[tuple[str, str]] = []
    while pairs := Counter(pair for pieces in spelled for pair in pairwise(pieces)):
        merges.append(min(pairs, key=lambda pair: (-pairs[pair], pair)))
        spelled = [_merge(pieces, merges[-1]) for pieces in spelled]
    return merges


def _merge(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    """The pieces of a word with every such pair in one, from the left."""
    merged: list[str] = []
    for piece in pieces:
        if merged and (merged[-1], piece) == pair:
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged


def build_tokenizer(more: tuple[str, ...] = MORE_WORDS) -> CLIPTokenizer:
    """A CLIP tokenizer that knows the captions' words and `more`, and spells others by bytes."""
    prompts = [category.prompt for category in load_catalog().categories]
    words = sorted({*caption(prompts).split(), *more})
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = learn_merges(words)
    pieces = [*alphabet, *(f"{letter}</w>" for letter in alphabet)]
    pieces += ["".join(pair) for pair in merges] + [START, END]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=LENGTH)


def make_tokenizer(work: Path, *, start: Path | None = None) -> CLIPTokenizer:
    """The tokenizer of `work/tokenizer`, written there unless it is there.

    A training that goes on from the model folder `start` goes on with its tokenizer: embeddings
    belong to the tokens' numbers.
    """
    folder = work / "tokenizer"
    if not folder.exists():
        partial = work / "tokenizer.part"
        shutil.rmtree(partial, ignore_errors=True)
        if start is None:
            build_tokenizer().save_pretrained(partial)
        else:
            shutil.copytree(start / "tokenizer", partial)
        partial.rename(folder)
    tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(folder)
    return tokenizer


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """A CLIPTextModel whose transformer layers and positions are zero and frozen.

    Only the token embeddings and the last norm train, so a class keeps its meaning at its token.
    """
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        hidden_act="quick_gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    encoder = CLIPTextModel(config)
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            trained = "token_embedding" in name or "final_layer_norm" in name
            parameter.requires_grad_(trained)
            if "token_embedding" in name:
                parameter.normal_(0, EMBEDDING_SPREAD)
            elif "position_embedding" in name or "out_proj" in name or "fc2" in name:
                parameter.zero_()
    return encoder


def encode_captions(tokenizer: CLIPTokenizer, rows: list[list[int]]) -> Tensor:
    """Token ids [n, LENGTH] of the captions that name each row's class ids."""
    prompts = {category.id: category.prompt for category in load_catalog().categories}
    texts = [caption([prompts[number] for number in row if number]) for row in rows]
    ids: Tensor = tokenizer(
        texts, padding="max_length", max_length=LENGTH, return_tensors="pt"
    ).input_ids
    return ids


@torch.no_grad()
def settle_unseen_words(encoder: CLIPTextModel, tokenizer: CLIPTokenizer) -> None:
    """Give tokens that no caption holds the mean embedding of the captions' ending.

    They never trained; left at random they would draw attention. So an unknown word reads as
    "and other object and background".
    """
    numbers = [category.id for category in load_catalog().categories]
    seen = torch.unique(encode_captions(tokenizer, [[number] for number in numbers]))
    ending = tokenizer("other object background", add_special_tokens=False).input_ids
    table = encoder.get_input_embeddings().weight
    unseen = torch.ones(len(table), dtype=torch.bool)
    unseen[seen] = False
    table[unseen] = table[ending].mean(dim=0)
