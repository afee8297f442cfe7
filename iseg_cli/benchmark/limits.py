"""The limit of a device: the arithmetic of an image, and the device's speed of arithmetic.

A floating-point operation is an addition or a multiplication: a product of matrices m x k and k x n
takes 2 m k n operations. Only convolutions, matrix products and attention are counted. All other
work is small compared with them.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.attention_processor import AttnProcessor
from torch.utils.flop_counter import FlopCounterMode

from iseg_cli.backbones.loading import DiffusionModel
from iseg_cli.benchmark.timing import best_seconds
from iseg_cli.config import Settings


@dataclass(frozen=True)
class Arithmetic:
    """Floating-point operations for one image with one prompt.

    Attributes:
        vae: operations of the autoencoder's encoder.
        unet: operations of the whole UNet.
        unet_needed: operations of the UNet up to the scores of the last attention that is read.
    """

    vae: int
    unet: int
    unet_needed: int

    @property
    def needed(self) -> int:
        """The operations that every image needs; embeddings of prompts are kept between images."""
        return self.vae + self.unet_needed


def count_arithmetic(model: DiffusionModel, settings: Settings) -> Arithmetic:
    """Return the operations of a model for one image of the model's size; nothing is computed.

    Args:
        model: its configuration is read, its weights are not.
        settings: which attention is read.
    """
    with torch.device("meta"), torch.inference_mode():
        vae = type(model.vae).from_config(model.vae.config)
        pixels = torch.empty(1, vae.config.in_channels, model.image_size, model.image_size)
        with FlopCounterMode(display=False) as of_vae:
            vae.encode(pixels)
        unet = type(model.unet).from_config(model.unet.config)
        with FlopCounterMode(display=False) as of_unet:
            _forward(unet, model)
        return Arithmetic(
            vae=of_vae.get_total_flops(),
            unet=of_unet.get_total_flops(),
            unet_needed=_count_needed(unet, model, settings),
        )


def matrix_product_rate(device: torch.device, dtype: torch.dtype, *, side: int) -> float:
    """Return the greatest rate of a product of two large matrices, in operations a second.

    Args:
        device: the device to measure.
        dtype: the floating type of the matrices.
        side: the side of the square matrices, large enough to use the device fully.
    """
    left = torch.randn(side, side, device=device, dtype=dtype)
    right = torch.randn(side, side, device=device, dtype=dtype)
    with torch.inference_mode():
        seconds = best_seconds(lambda: left @ right, device)
    return 2 * side**3 / seconds


def _forward(unet: Any, model: DiffusionModel) -> None:
    latents = torch.empty(1, unet.config.in_channels, model.latent_side, model.latent_side)
    text = torch.empty(1, model.max_tokens, unet.config.cross_attention_dim)
    unet(latents, torch.empty(1, dtype=torch.int64), encoder_hidden_states=text)


class _LastRead(Exception):  # noqa: N818 - this ends the count and is no error
    """The scores of the last attention that is read are computed."""


class _StopAtLast(AttnProcessor):  # type: ignore[misc]
    """Ends the forward at the scores of the last layer that is read."""

    def __init__(self, waiting: list[int], heads: int | None) -> None:
        super().__init__()
        self.waiting, self.heads = waiting, heads

    def __call__(self, attn: Any, hidden_states: Any, *args: Any, **kwargs: Any) -> Any:
        self.waiting[0] -= 1
        if self.waiting[0]:
            return super().__call__(attn, hidden_states, *args, **kwargs)
        context = args[0] if args else kwargs.get("encoder_hidden_states")
        query = attn.to_q(hidden_states)
        key = attn.to_k(hidden_states if context is None else context)
        heads = self.heads or attn.heads
        query, key = (x[..., : x.shape[-1] // attn.heads * heads] for x in (query, key))
        query, key = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key))
        torch.matmul(query, key.transpose(-1, -2))
        raise _LastRead


def _count_needed(unet: Any, model: DiffusionModel, settings: Settings) -> int:
    """Return the operations up to the scores of the last layer of the settings' `capture`."""
    capture = settings.capture
    names = [f"{layer}.transformer_blocks.0.attn2" for layer in capture.cross_layers]
    own = f"{capture.self_layer}.transformer_blocks.0.attn1"
    waiting = [len(names) + 1]
    for name in names:
        unet.get_submodule(name).set_processor(_StopAtLast(waiting, None))
    heads = None if capture.self_heads is None else len(capture.self_heads)
    unet.get_submodule(own).set_processor(_StopAtLast(waiting, heads))
    with FlopCounterMode(display=False) as counter, suppress(_LastRead):
        _forward(unet, model)
    return int(counter.get_total_flops())
