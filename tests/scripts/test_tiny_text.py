"""The tokenizer of the embedded models, as the scripts make it."""

import hashlib
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
PRINT = "from tiny.text import build_tokenizer as b; print(b().backend_tokenizer.to_str())"


@pytest.fixture
def text(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("tiny.text")


def test_every_process_makes_the_same_tokenizer(text) -> None:
    own = text.build_tokenizer().backend_tokenizer.to_str() + "\n"
    made = {hashlib.sha256(own.encode()).hexdigest()}
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(SCRIPTS)}
        done = subprocess.run(
            [sys.executable, "-c", PRINT], env=environment, capture_output=True, check=True
        )
        made.add(hashlib.sha256(done.stdout).hexdigest())
    assert len(made) == 1


def test_merges_by_hand(text) -> None:
    """b-a and a-b come twice each: the first of the alphabet is merged first, from the left."""
    assert text.learn_merges(["abab", "ba"]) == [
        ("a", "b"), ("a", "b</w>"), ("ab", "ab</w>"), ("b", "a</w>"),
    ]  # fmt: skip
    assert text.learn_merges(["aaab", "aa"]) == [
        ("a", "a"), ("a", "a</w>"), ("a", "b</w>"), ("aa", "ab</w>"),
    ]  # fmt: skip
    assert text.learn_merges(["a"]) == []


def test_every_word_of_a_caption_is_one_token(text) -> None:
    tokenizer = text.build_tokenizer()
    caption = "a photograph of dining table and aeroplane and other object and background"
    pieces = tokenizer.tokenize(caption)
    assert [piece.removesuffix("</w>") for piece in pieces] == caption.split()
    assert len(set(pieces)) == len(set(caption.split()))
    assert tokenizer.unk_token_id not in tokenizer("zebra", add_special_tokens=False).input_ids


def test_a_training_that_goes_on_keeps_its_tokens(text, tmp_path: Path) -> None:
    """Embeddings belong to the numbers that tokens had when they were learned."""
    start = tmp_path / "start"
    text.build_tokenizer(more=("zebra",)).save_pretrained(start / "tokenizer")
    went_on = text.make_tokenizer(tmp_path / "work", start=start)
    assert went_on.tokenize("zebra") == ["zebra</w>"]
    assert text.make_tokenizer(tmp_path / "work").get_vocab() == went_on.get_vocab()
    assert text.make_tokenizer(tmp_path / "fresh").get_vocab() == text.build_tokenizer().get_vocab()
