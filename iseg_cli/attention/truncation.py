"""`truncate` returns a UNet that ends at the last attention that is read.

At 512 px Stable Diffusion 2.1's UNet takes 804 GFLOP an image. Up to the queries and keys of
`up_blocks.3.attentions.1`, the last layer that the method reads, it takes 710 GFLOP.
"""

import copy
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from torch import Tensor, nn

Kind = Literal["attn1", "attn2"]
"""Self-attention (attn1) or cross-attention (attn2), as diffusers names them."""

UNET_STAGES = ("down_blocks", "mid_block", "up_blocks")
"""The stages of a UNet, as a forward runs them."""


class AttentionSite(NamedTuple):
    """An attention layer of a UNet: its transformer block and its kind.

    Attributes:
        layer: the name of the transformer block, such as `up_blocks.3.attentions.1`.
        kind: self-attention or cross-attention; a block runs self-attention first.
    """

    layer: str
    kind: Kind

    def sort_key(self) -> tuple[int, int, int, str]:
        """Return a key that sorts attention sites as a forward runs them.

        It is the number of the stage, the block within it, the transformer within that, the kind.
        """
        stage, *parts = self.layer.split(".")
        numbers = [int(part) for part in parts if part.isdecimal()]
        block, position = numbers if len(numbers) == 2 else (0, *numbers)
        return UNET_STAGES.index(stage), block, position, self.kind


def last_site(sites: Iterable[AttentionSite]) -> AttentionSite:
    """Return the attention site that a forward runs last."""
    return max(sites, key=AttentionSite.sort_key)


def truncate(unet: Any, last: AttentionSite) -> Any:
    """Return a UNet whose forward ends at an attention site; it shares the weights of `unet`.

    The forward is diffusers' own over shorter lists of the same modules. So processors attached to
    one are attached to both. The output of the forward means nothing.

    Args:
        unet: a UNet2DConditionModel; it is not changed.
        last: the attention site to end at. Its queries and keys are computed last, unless its
            processor computes more.
    """
    stage, block, position, _ = last.sort_key()
    short = _twin(unet)
    short.conv_norm_out, short.conv_out = None, nn.Identity()
    if UNET_STAGES[stage] == "up_blocks":
        ending = _shorten(unet.up_blocks[block], position, last.kind)
        short.up_blocks = nn.ModuleList([*unet.up_blocks[:block], ending])
        return short
    short.up_blocks = nn.ModuleList()
    if UNET_STAGES[stage] == "down_blocks":
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
    """Return a copy of a module with the same parts, in which parts can be exchanged."""
    twin = copy.copy(module)
    twin._modules = dict(module._modules)
    return twin


class _Ending(nn.Module):
    """A transformer up to one of its attentions, with the interface of diffusers' transformer."""

    def __init__(self, transformer: Any, kind: Kind) -> None:
        super().__init__()
        self.norm, self.proj_in = transformer.norm, transformer.proj_in
        self.is_linear = transformer.use_linear_projection
        self.block = transformer.transformer_blocks[0]
        self.kind = kind

    def forward(
        self, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **_: Any
    ) -> tuple[Tensor]:
        """Run the attention, because its processor reads it; return the input."""
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
