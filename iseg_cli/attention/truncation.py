"""A UNet that ends at the last attention that is read: what lies behind it is not run.

At 512 px Stable Diffusion 2.1's UNet takes 804 GFLOP an image, and 710 of them up to the queries
and keys of `up_blocks.3.attentions.1`, the last that the method reads.
"""

import copy
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from torch import Tensor, nn

Kind = Literal["attn1", "attn2"]
"""Self-attention and cross-attention, as diffusers names them within a transformer block."""

UNET_STAGES = ("down_blocks", "mid_block", "up_blocks")


class AttentionSite(NamedTuple):
    """Where an attention stands: the transformer block, `up_blocks.3.attentions.1`, and its kind.

    Attributes:
        layer: the transformer block by name.
        kind: its self-attention or its cross-attention, which comes after it.
    """

    layer: str
    kind: Kind

    def order(self) -> tuple[int, int, int, str]:
        """Return what sorts places as a forward passes them."""
        room, *parts = self.layer.split(".")
        numbers = [int(part) for part in parts if part.isdecimal()]
        block, position = numbers if len(numbers) == 2 else (0, *numbers)
        return UNET_STAGES.index(room), block, position, self.kind


def last_site(places: Iterable[AttentionSite]) -> AttentionSite:
    """Return the place that a forward passes last."""
    return max(places, key=AttentionSite.order)


def truncate(unet: Any, last: AttentionSite) -> Any:
    """Return a UNet whose forward ends at an attention; its weights are those of `unet`.

    The forward is diffusers' own, over shorter lists of the same modules, so processors attached to
    one are attached to both. What it returns means nothing.

    Args:
        unet: a UNet2DConditionModel; it is not changed.
        last: the attention to end at: its queries and keys are the last that is computed, if its
            processor asks for no more.
    """
    room, block, position, _ = last.order()
    short = _twin(unet)
    short.conv_norm_out, short.conv_out = None, nn.Identity()
    if UNET_STAGES[room] == "up_blocks":
        ending = _shorten(unet.up_blocks[block], position, last.kind)
        short.up_blocks = nn.ModuleList([*unet.up_blocks[:block], ending])
        return short
    short.up_blocks = nn.ModuleList()
    if UNET_STAGES[room] == "down_blocks":
        short.down_blocks = unet.down_blocks[: block + 1]
        short.mid_block = None
    return short


def _shorten(block: Any, position: int, kind: Kind) -> Any:
    """Return an up block that ends in its transformer at `position`."""
    short = _twin(block)
    short.resnets = block.resnets[: position + 1]
    ending = _Ending(block.attentions[position], kind)
    short.attentions = nn.ModuleList([*block.attentions[:position], ending])
    short.upsamplers = None
    return short


def _twin(module: Any) -> Any:
    """Return a module with the same parts; another list of them, so that parts can be exchanged."""
    twin = copy.copy(module)
    twin._modules = dict(module._modules)
    return twin


class _Ending(nn.Module):
    """A transformer up to one of its attentions, called as diffusers' blocks call theirs."""

    def __init__(self, transformer: Any, kind: Kind) -> None:
        super().__init__()
        self.norm, self.proj_in = transformer.norm, transformer.proj_in
        self.is_linear = transformer.use_linear_projection
        self.block = transformer.transformer_blocks[0]
        self.kind = kind

    def forward(
        self, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **_: Any
    ) -> tuple[Tensor]:
        """Run the attention for its processor's sake; return what came in."""
        tokens = self.norm(hidden_states)
        if not self.is_linear:
            tokens = self.proj_in(tokens)
        tokens = tokens.permute(0, 2, 3, 1).flatten(1, 2)
        if self.is_linear:
            tokens = self.proj_in(tokens)
        attended = self.block.attn1(self.block.norm1(tokens))
        if self.kind == "attn2":
            normed = self.block.norm2(attended + tokens)
            self.block.attn2(normed, encoder_hidden_states=encoder_hidden_states)
        return (hidden_states,)
