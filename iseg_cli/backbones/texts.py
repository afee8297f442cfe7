"""From texts to their embeddings; each text is embedded once."""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from iseg_cli.backbones.loading import DiffusionModel

TEXTS_KEPT = 4096
"""Distinct texts whose embeddings stay in memory (4096 of SD 2.1 take 600 MiB in float16)."""


class TextEmbedder:
    """Embeds texts with a model's text encoder; the texts that were used last stay in memory.

    The encoder's weights (0.65 GiB for SD 2.1 in float16) are on the GPU only while it works. Texts
    that were prefetched are embedded together, so that the weights are copied seldom. Each text
    goes through the encoder alone, so that no other text changes its bits.
    """

    def __init__(self, model: DiffusionModel) -> None:
        self.model = model
        self._kept: dict[str, Tensor] = {}
        self._prefetched: dict[str, None] = {}
        self._is_away = model.device.type == "cuda"
        if self._is_away:
            model.text_encoder.to("cpu")

    def prefetch_texts(self, texts: Iterable[str]) -> None:
        """Note texts that will be needed soon."""
        self._prefetched.update(dict.fromkeys(text for text in texts if text not in self._kept))

    def __call__(self, texts: Sequence[str]) -> Float[Tensor, "rows tokens channels"]:
        """Return the embeddings of texts, on the model's device and in its type."""
        missing = dict.fromkeys(text for text in texts if text not in self._kept)
        if missing:
            self._embed([*missing, *(text for text in self._prefetched if text not in missing)])
        found = []
        for text in texts:
            found.append(self._kept.pop(text))
            self._kept[text] = found[-1]  # moved to the end: the first text is forgotten first
        while len(self._kept) > max(TEXTS_KEPT, len(texts)):
            del self._kept[next(iter(self._kept))]
        return torch.stack(found)

    def _embed(self, texts: Sequence[str]) -> None:
        """Embed texts one by one."""
        encoder, device = self.model.text_encoder, self.model.device
        weights = {}
        if self._is_away:
            state = (*encoder.named_parameters(), *encoder.named_buffers())
            weights = {name: tensor.to(device) for name, tensor in state}
        for text in texts:
            tokens = self.model.tokenizer(
                text, padding="max_length", max_length=self.model.max_tokens, return_tensors="pt"
            )
            ids = (tokens.input_ids.to(device),)
            output = torch.func.functional_call(encoder, weights, ids) if weights else encoder(*ids)
            self._kept[text] = output.last_hidden_state[0]
            self._prefetched.pop(text, None)
