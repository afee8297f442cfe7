"""`ClipTextEmbedder`: embeds words with CLIP, as the mean over many sentences with them."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from iseg_cli.clip.loading import ClipModel
from iseg_cli.errors import PromptError

WORDS_KEPT = 4096
"""The number of words whose embeddings stay in memory (4096 take 8 MiB for ViT-B/16)."""

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
"""The 80 sentences of CLIP's evaluation on ImageNet, and five more sentences of TagCLIP."""

BACKGROUND = (
    "ground", "land", "grass", "tree", "building", "wall", "sky", "lake", "water", "river", "sea",
    "railway", "railroad", "keyboard", "helmet", "cloud", "house", "mountain", "ocean", "road",
    "rock", "street", "valley", "bridge", "sign",
)  # fmt: skip
"""TagCLIP's background prompts for VOC, used for label sets without background words."""


class ClipTextEmbedder:
    """Embeds words with one CLIP and one set of sentences; each word is embedded once.

    The embedding of a word does not depend on other words.
    """

    def __init__(self, clip: ClipModel, templates: Sequence[str] | None = None) -> None:
        """Take sentences with `{}` in the position of the words; None stands for `ENSEMBLE`."""
        self.clip = clip
        self.templates = ENSEMBLE if templates is None else tuple(templates)
        self._embed = lru_cache(maxsize=WORDS_KEPT)(self._embed_words)

    @torch.inference_mode()
    def embed(self, words: Sequence[str]) -> Float[Tensor, "classes channels"]:
        """Return the embedding of each class's words: unit length, float32, on CLIP's device.

        It is the mean over sentences of their unit embeddings, scaled to unit length.

        Raises:
            PromptError: a sentence with the words is too long for the text encoder.
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
