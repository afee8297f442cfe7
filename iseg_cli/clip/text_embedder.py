"""Classes' words as points in CLIP's space: the mean over many sentences that name them."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from iseg_cli.clip.loading import ClipModel
from iseg_cli.errors import PromptError

WORDS_KEPT = 4096
"""Distinct words whose embeddings stay in memory (4096 of ViT-B/16 take 8 MiB)."""

_PICTURES = (
    "bad photo", "low resolution photo", "rendering", "cropped photo", "bright photo", "dark photo",
    "drawing", "close-up photo", "black and white photo", "painting", "pixelated photo",
    "sculpture", "jpeg corrupted photo", "blurry photo", "good photo", "rendition", "doodle",
    "sketch", "tattoo", "photo",
)  # fmt: skip
_ARTS = ("graffiti", "art", "itap")
_LOOKS = ("hard to see", "clean", "dirty", "cool", "nice", "weird", "small", "large")
_MADE_AS = ("embroidered", "plastic", "origami", "toy", "plushie", "cartoon")

ENSEMBLE = (
    *(f"a {picture} of {article} {{}}." for picture in _PICTURES for article in ("a", "the")),
    *(f"{art} of {article} {{}}." for art in _ARTS for article in ("a", "the")),
    *(f"a photo of {article} {look} {{}}." for look in _LOOKS for article in ("a", "the")),
    *(f"{article} {kind} {{}}." for kind in _MADE_AS for article in ("a", "the")),
    *(f"{article} {{}} in a video game." for article in ("a", "the")),
    *(f"a photo of {which} {{}}." for which in ("many", "my", "one")),
    "itap of my {}.",
    *(f"there is {article} {{}} in the scene." for article in ("a", "the")),
    *(f"this is {which} {{}} in the scene." for which in ("a", "the", "one")),
)
"""The 80 sentences that CLIP was evaluated with on ImageNet, and the five that TagCLIP adds."""

BACKGROUND = (
    "ground", "land", "grass", "tree", "building", "wall", "sky", "lake", "water", "river", "sea",
    "railway", "railroad", "keyboard", "helmet", "cloud", "house", "mountain", "ocean", "road",
    "rock", "street", "valley", "bridge", "sign",
)  # fmt: skip
"""What usually surrounds things: TagCLIP's words for VOC, for label sets that have none."""


class ClipTextEmbedder:
    """Embeds words, each of them once, with one CLIP and one set of sentences.

    A word's embedding depends on no other word.
    """

    def __init__(self, clip: ClipModel, templates: Sequence[str] | None = None) -> None:
        """Choose the sentences: each with `{}` where the words go; None for `ENSEMBLE`."""
        self.clip = clip
        self.templates = ENSEMBLE if templates is None else tuple(templates)
        self._embed = lru_cache(maxsize=WORDS_KEPT)(self._embed_words)

    @torch.inference_mode()
    def embed(self, words: Sequence[str]) -> Float[Tensor, "classes channels"]:
        """Return the direction of each class's words: unit length, float32, on CLIP's device.

        It is the mean over the sentences of their unit embeddings, scaled to unit length.

        Raises:
            PromptError: words with which a sentence is longer than the text encoder's input.
        """
        if not words:
            return torch.zeros(0, self.clip.model.config.projection_dim, device=self.clip.device)
        return torch.stack([self._embed(one) for one in words])

    def _embed_words(self, words: str) -> Float[Tensor, " channels"]:
        tokens = self.clip.tokenizer(
            [template.replace("{}", words) for template in self.templates],
            padding=True,
            return_tensors="pt",
            truncation=False,
            verbose=False,
        )
        if tokens.input_ids.shape[1] > self.clip.max_tokens:
            raise PromptError(
                f"category words {words!r} are too long for this CLIP's text encoder, which takes "
                f"{self.clip.max_tokens} tokens; shorten them or the sentences of clip.templates"
            )
        features = self.clip.model.get_text_features(
            input_ids=tokens.input_ids.to(self.clip.device),
            attention_mask=tokens.attention_mask.to(self.clip.device),
        ).pooler_output
        mean: Tensor = normalize(features.float(), dim=-1).mean(dim=0)
        return normalize(mean, dim=-1)
