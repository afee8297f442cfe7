import numpy as np
import pytest
import torch

from iseg_cli.clip.text_embedder import ENSEMBLE, ClipTextEmbedder
from iseg_cli.errors import PromptError


def test_a_class_is_the_mean_of_its_sentences(random_clip):
    templates = ("a photograph of {}", "{} and other object", "{}")
    ours = ClipTextEmbedder(random_clip, templates).embed(["dog", "potted plant"])
    for row, words in zip(ours, ("dog", "potted plant"), strict=True):
        units = []
        for template in templates:
            tokens = random_clip.tokenizer(template.replace("{}", words), return_tensors="pt")
            with torch.inference_mode():
                point = random_clip.model.get_text_features(**tokens).pooler_output[0].double()
            units.append(point / point.norm())
        mean = torch.stack(units).mean(dim=0)
        np.testing.assert_allclose(row, mean / mean.norm(), atol=1e-5)
    assert float(ours[0] @ ours[1]) < 0.99


def test_no_word_changes_another_ones_bits(random_clip):
    alone = ClipTextEmbedder(random_clip).embed(["cat"])
    among = ClipTextEmbedder(random_clip).embed(["a photograph of a dog and a bus", "cat", "dog"])
    assert torch.equal(alone[0], among[1])


def test_each_word_is_embedded_once(random_clip, monkeypatch):
    texts = ClipTextEmbedder(random_clip, ["{}"])
    first = texts.embed(["dog", "cat"])
    monkeypatch.setattr(random_clip.model, "get_text_features", None)
    assert torch.equal(texts.embed(["cat", "dog"]), first[[1, 0]])


def test_words_are_never_cut_short(random_clip):
    with pytest.raises(PromptError, match=r"'x{90}' are too long .* 77 tokens"):
        ClipTextEmbedder(random_clip, ["a {}"]).embed(["dog", "x" * 90])


def test_the_sentences_of_the_evaluation():
    assert len(set(ENSEMBLE)) == 85
    assert all(template.count("{}") == 1 for template in ENSEMBLE)
    for template in ("a photo of a {}.", "itap of my {}.", "this is one {} in the scene."):
        assert template in ENSEMBLE
