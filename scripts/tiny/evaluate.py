"""A quick score for choosing checkpoints: mIoU of raw cross-attention at t = 100."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor
from torch.nn import functional
from transformers import CLIPTextModel, CLIPTokenizer

from tiny.catalog import load_catalog
from tiny.text import encode_captions

TIMESTEP = 100
SEED = 1101
FULL_LAYERS = ("up_blocks.3.attentions.",)  # maps of side L
HALF_LAYERS = ("down_blocks.1.attentions.1.", "up_blocks.2.attentions.")  # of side L/2


class KeepingProcessor:
    """Plain attention that leaves its probabilities, averaged over heads, in `kept`."""

    def __init__(self, kept: list[Tensor]) -> None:
        self.kept = kept

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **_: Any,
    ) -> Tensor:
        """Attend, and keep the probabilities [batch, positions, tokens]."""
        text = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query = attn.head_to_batch_dim(attn.to_q(hidden_states))
        key = attn.head_to_batch_dim(attn.to_k(text))
        value = attn.head_to_batch_dim(attn.to_v(text))
        weights = attn.get_attention_scores(query, key, attention_mask)
        by_head = weights.reshape(-1, attn.heads, *weights.shape[1:])
        self.kept.append(by_head.mean(dim=1))
        output: Tensor = attn.to_out[0](attn.batch_to_head_dim(weights @ value))
        return output


@contextmanager
def keep_attention(unet: UNet2DConditionModel, layers: tuple[str, ...]) -> Iterator[list[Tensor]]:
    """Collect the cross-attention of layers whose names start so, while the context is open."""
    kept: list[Tensor] = []
    processors = unet.attn_processors
    keeping = KeepingProcessor(kept)
    unet.set_attn_processor(
        {
            name: keeping if name.startswith(layers) and ".attn2." in name else processor
            for name, processor in processors.items()
        }
    )
    try:
        yield kept
    finally:
        unet.set_attn_processor(processors)


def category_maps(kept: list[Tensor], side: int) -> Tensor:
    """Mean over layers of maps [batch, tokens, side, side], each with spatial sum 1 at first."""
    total = torch.stack([maps / maps.sum(dim=1, keepdim=True) for maps in kept]).mean(dim=0)
    grid = int(total.shape[1] ** 0.5)
    maps = total.transpose(1, 2).unflatten(2, (grid, grid))
    return functional.interpolate(maps, size=(side, side), mode="bilinear", align_corners=False)


def label(maps: Tensor, numbers: list[int]) -> npt.NDArray[Any]:
    """Class ids [side, side] from maps [classes, side, side]; background is (1 - max)^2."""
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    scores = (maps - low) / (high - low).clamp_min(1e-12)
    background = (1 - scores.amax(dim=0, keepdim=True)).square()
    winners = torch.cat([background, scores]).argmax(dim=0).numpy()
    return np.asarray(np.array([0, *numbers])[winners])


def mean_iou(confusion: npt.NDArray[Any]) -> float:
    """Mean IoU in percent over the classes that occur in truth or prediction."""
    hits = np.diag(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - hits
    return float(100 * (hits[union > 0] / union[union > 0]).mean())


@torch.no_grad()
def score(
    unet: UNet2DConditionModel,
    encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    scheduler: DDIMScheduler,
    latents: npt.NDArray[Any],
    masks: npt.NDArray[Any],
    categories: npt.NDArray[Any],
    *,
    layers: tuple[str, ...] = FULL_LAYERS,
    batch: int = 50,
) -> float:
    """Mean IoU of raw cross-attention on scenes given as latents, masks and class ids."""
    ids = encode_captions(tokenizer, categories.tolist())
    prompts = {category.id: category.prompt for category in load_catalog().categories}
    words = {
        number: tokenizer(prompt, add_special_tokens=False).input_ids
        for number, prompt in prompts.items()
    }
    noise = torch.randn((1, *latents.shape[1:]), generator=torch.Generator().manual_seed(SEED))
    confusion = np.zeros((21, 21), np.int64)
    for start in range(0, len(latents), batch):
        part = slice(start, start + batch)
        clean = torch.from_numpy(np.asarray(latents[part])).float()
        times = torch.full((len(clean),), TIMESTEP)
        noisy = scheduler.add_noise(clean, noise.expand_as(clean), times)
        with keep_attention(unet, layers) as kept:
            unet(noisy, times, encoder_hidden_states=encoder(ids[part]).last_hidden_state)
        maps = category_maps(kept, masks.shape[1])
        for image, tokens, row, mask in zip(
            maps, ids[part], categories[part].tolist(), masks[part], strict=True
        ):
            numbers = [number for number in row if number]
            spoken = [torch.isin(tokens, torch.tensor(words[number])) for number in numbers]
            chosen = torch.stack([image[where].mean(dim=0) for where in spoken])
            guess = label(chosen, numbers)
            confusion += np.bincount(
                21 * mask.astype(np.int64).ravel() + guess.ravel(), minlength=441
            ).reshape(21, 21)
    return mean_iou(confusion)
