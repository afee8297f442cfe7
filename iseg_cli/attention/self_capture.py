"""Processors that read the self-attention of every layer, averaged as it goes.

Of each resolution only a running sum over layers is kept, in which every layer counts as the mean
of its heads; of one layer, if asked, the mean over chosen heads as well.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from iseg_cli.attention.processors import (
    Processor,
    attached,
    attention_layer,
    attention_layers,
    choose_heads,
    mean_attention,
    require_self_heads,
)


@dataclass(frozen=True)
class RefiningLayer:
    """The layer whose self-attention segments are refined along.

    Attributes:
        name: its transformer block, such as `up_blocks.3.attentions.1`.
        heads: its heads to average; None for all.
    """

    name: str
    heads: tuple[int, ...] | None = None


@dataclass(eq=False)
class CapturedSelf:
    """What a forward leaves behind, in float32.

    Attributes:
        sums: side of the grid -> sum over its layers of the mean over their heads of the softmax
            over keys, Float[batch pixels pixels].
        layers: side of the grid -> how many layers went into that sum.
        refining: mean over the chosen heads of the refining layer, Float[batch pixels pixels].
    """

    sums: dict[int, Tensor] = field(default_factory=dict)
    layers: dict[int, int] = field(default_factory=dict)
    refining: Tensor | None = None

    def finest_first(self) -> list[Tensor]:
        """Return the sums, those of the finest grid first."""
        return [self.sums[side] for side in sorted(self.sums, reverse=True)]


@contextmanager
def capture_self(
    unet: Any, *, side: int, every_layer: bool, refining: RefiningLayer | None
) -> Iterator[CapturedSelf]:
    """Attach processors to a UNet; whatever happens, its own are back afterwards.

    Args:
        unet: a UNet2DConditionModel.
        side: L, the side of the latents that will go through it.
        every_layer: whether to sum up the self-attention of all layers.
        refining: the layer to read by itself as well, or None.

    Raises:
        SettingsError: a refining layer or head that this model does not have.
    """
    captured = CapturedSelf()
    layers = attention_layers(unet, "attn1") if every_layer else []
    chosen = attention_layer(unet, refining.name, "attn1", "self_layer") if refining else None
    if chosen is not None and not every_layer:
        layers = [chosen]
    processors: list[tuple[Any, Processor]] = []
    for layer in layers:
        own = refining if layer is chosen else None
        processors.append((layer, _LayerSumProcessor(captured, side, every_layer, own)))
    with attached(processors):
        yield captured


class _LayerSumProcessor(Processor):
    def __init__(
        self, captured: CapturedSelf, side: int, is_summed: bool, refining: RefiningLayer | None
    ) -> None:
        super().__init__()
        self.captured, self.side, self.is_summed = captured, side, is_summed
        self.refining = refining

    def keep(self, query: Tensor, key: Tensor, attn: Any) -> None:
        # As many matrices at a time as take no more memory than one at the full grid.
        at_once = max(1, self.side**4 // query.shape[2] ** 2)
        if self.refining is not None:
            heads = require_self_heads(self.refining.heads, attn)
            chosen = choose_heads(query, heads), choose_heads(key, heads)
            self.captured.refining = mean_attention(*chosen, attn, at_once=at_once)
        if self.is_summed:
            self._add(mean_attention(query, key, attn, at_once=at_once))

    def _add(self, mean: Tensor) -> None:
        grid = math.isqrt(mean.shape[1])
        if grid in self.captured.sums:
            self.captured.sums[grid] += mean
        else:
            self.captured.sums[grid] = mean
        self.captured.layers[grid] = self.captured.layers.get(grid, 0) + 1
