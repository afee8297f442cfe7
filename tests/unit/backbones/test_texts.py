from dataclasses import replace

import pytest
import torch

from iseg_cli.backbones import texts as embedding
from iseg_cli.backbones.texts import TextEmbedder


class Listening:
    """A text encoder that remembers how many texts it was given, and which."""

    def __init__(self, encoder):
        self.encoder, self.calls = encoder, []
        self.config = encoder.config

    def __call__(self, ids):
        self.calls.append(tuple(ids.shape))
        return self.encoder(ids)


@pytest.fixture
def listening(random_model):
    return replace(random_model, text_encoder=Listening(random_model.text_encoder))


def by_hand(model, text):
    ids = model.tokenizer(text)["input_ids"]
    padded = torch.tensor([ids + [0] * (77 - len(ids))])  # padded with "!"
    with torch.inference_mode():
        return model.text_encoder(padded).last_hidden_state[0]


@torch.inference_mode()
def test_rows_are_what_the_encoder_makes_of_each_text(random_model):
    rows = TextEmbedder(random_model)(["a dog", "a cat and a car", "a dog", ""])
    assert rows.shape == (4, 77, 32)
    for row, text in zip(rows, ["a dog", "a cat and a car", "a dog", ""], strict=True):
        assert torch.equal(row, by_hand(random_model, text))


@torch.inference_mode()
def test_announced_texts_are_embedded_when_the_first_text_is_missing(listening):
    embed = TextEmbedder(listening)
    embed.prefetch_texts(["a dog", "a cat", "a dog"])
    assert listening.text_encoder.calls == []
    embed(["a car"])
    assert listening.text_encoder.calls == [(1, 77)] * 3  # each alone
    embed(["a cat", "a dog", "a car"])
    embed.prefetch_texts(["a cat"])
    embed(["a dog"])
    assert len(listening.text_encoder.calls) == 3


@torch.inference_mode()
def test_what_was_asked_for_longest_ago_is_forgotten(listening, monkeypatch):
    monkeypatch.setattr(embedding, "TEXTS_KEPT", 2)
    embed = TextEmbedder(listening)
    embed(["a dog"])
    embed(["a cat"])
    embed(["a dog"])
    embed(["a car"])  # forgets the cat
    assert len(listening.text_encoder.calls) == 3
    embed(["a dog", "a car"])
    assert len(listening.text_encoder.calls) == 3
    rows = embed(["a cat", "a dog", "a car"])  # more than are kept, all in one call
    assert len(listening.text_encoder.calls) == 4
    assert torch.equal(
        rows[1], by_hand(replace(listening, text_encoder=listening.text_encoder.encoder), "a dog")
    )


@torch.inference_mode()
def test_weights_that_are_lent_for_the_work_give_the_same(random_model):
    """As on a GPU, where the encoder itself stays on the host."""
    embed = TextEmbedder(random_model)
    embed._is_away = True
    [row] = embed(["a cat and a car"])
    assert torch.equal(row, by_hand(random_model, "a cat and a car"))
