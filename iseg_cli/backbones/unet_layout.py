"""The attention layers of a UNet of Stable Diffusion's classes, from its configuration alone.

Settings are fitted to a model, and its memory is estimated, before any weights are loaded.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CROSS_ATTENTION = "CrossAttn"
"""Part of the names of the blocks that have attention layers."""

DEFAULTS: Mapping[str, Any] = {
    "down_block_types": (
        "CrossAttnDownBlock2D",
        "CrossAttnDownBlock2D",
        "CrossAttnDownBlock2D",
        "DownBlock2D",
    ),
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "up_block_types": (
        "UpBlock2D",
        "CrossAttnUpBlock2D",
        "CrossAttnUpBlock2D",
        "CrossAttnUpBlock2D",
    ),
    "layers_per_block": 2,
    "attention_head_dim": 8,
    "num_attention_heads": None,
}
"""The defaults of diffusers' UNet2DConditionModel that decide its layers and heads."""


@dataclass(frozen=True)
class AttentionBlock:
    """One transformer block of a UNet.

    Attributes:
        heads: how many heads its attentions have.
        level: how often the latent grid was halved before it: its side is about L / 2^level.
    """

    heads: int
    level: int

    @property
    def divisor(self) -> int:
        """L divided by the side of its grid: 1, 2, 4 ..."""
        return int(2**self.level)


Layout = Mapping[str, AttentionBlock]
"""The transformer blocks of a UNet by name, such as `up_blocks.1.attentions.0`, as they run."""


def attention_layout(config: Mapping[str, Any]) -> dict[str, AttentionBlock]:
    """Return the transformer blocks of a UNet2DConditionModel in the order in which they run.

    Args:
        config: its config.json; a value that the file lacks is the default of diffusers.

    Raises:
        ValueError: values that make no UNet.
    """
    try:
        return _blocks({**DEFAULTS, **config})
    except (TypeError, IndexError, KeyError, AttributeError) as error:
        raise ValueError(f"the configuration of the UNet makes no model ({error})") from None


def attended_side(config: Mapping[str, Any], layer: str, *, side: int) -> int:
    """Return the side of the grid that a transformer block attends on; L where it is unknown.

    Args:
        config: of the UNet.
        layer: the block by name.
        side: L, the side of the latent grid.
    """
    block = attention_layout(config).get(layer)
    for _ in range(0 if block is None else block.level):
        side = (side + 1) // 2  # as a convolution of stride 2 leaves it
    return side


def _blocks(values: Mapping[str, Any]) -> dict[str, AttentionBlock]:
    down, up = tuple(values["down_block_types"]), tuple(values["up_block_types"])
    count = len(down)
    heads = _each(values["num_attention_heads"] or values["attention_head_dim"], count)
    layers = _each(values["layers_per_block"], count)
    found: dict[str, AttentionBlock] = {}
    for index, kind in enumerate(down):
        if CROSS_ATTENTION in kind:
            _add(found, f"down_blocks.{index}", layers[index], heads[index], index)
    if values["mid_block_type"] and CROSS_ATTENTION in values["mid_block_type"]:
        _add(found, "mid_block", 1, heads[-1], count - 1)
    for index, kind in enumerate(up):
        own = count - 1 - index
        if CROSS_ATTENTION in kind:
            _add(found, f"up_blocks.{index}", layers[own] + 1, heads[own], own)
    return found


def _add(
    found: dict[str, AttentionBlock], block: str, attentions: int, heads: int, level: int
) -> None:
    for position in range(attentions):
        found[f"{block}.attentions.{position}"] = AttentionBlock(heads, level)


def _each(value: Any, count: int) -> tuple[int, ...]:
    """Return a value for each block, from one value for all blocks or a list."""
    if isinstance(value, int):
        return (value,) * count
    values = tuple(int(one) for one in value)
    if len(values) != count:
        raise IndexError(f"{len(values)} values for {count} blocks")
    return values
