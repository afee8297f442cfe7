"""`capture_self`: processors that keep the self-attention of all layers of one forward.

For each resolution only the sum over layers of the mean over heads is kept. For one chosen layer
the mean over chosen heads can be kept, too.
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
    """The layer whose self-attention refines segments.

    Attributes:
        name: its transformer block, such as `up_blocks.3.attentions.1`.
        heads: the heads to average; None for all.
    """

    name: str
    heads: tuple[int, ...] | None = None


@dataclass(eq=False)
class CapturedSelf:
    """The self-attention kept of one forward, in float32.

    Attributes:
        sums: side of the grid -> sum over its layers of the mean over their heads of the softmax
            over keys, Float[batch pixels pixels].
        layers: side of the grid -> the number of layers in that sum.
        refining: mean over the chosen heads of the refining layer, Float[batch pixels pixels].
    """

    sums: dict[int, Tensor] = field(default_factory=dict)
    layers: dict[int, int] = field(default_factory=dict)
    refining: Tensor | None = None

    def finest_first(self) -> list[Tensor]:
        """Return the sums, that of the finest grid first."""
        return [self.sums[side] for side in sorted(self.sums, reverse=True)]


@contextmanager
def capture_self(
    unet: Any, *, side: int, every_layer: bool, refining: RefiningLayer | None
) -> Iterator[CapturedSelf]:
    """Attach processors to a UNet for a block; then it has its own again, even after errors.

    Args:
        unet: a UNet2DConditionModel.
        side: L, the side of the latents of the forward.
        every_layer: whether to sum the self-attention of all layers.
        refining: the layer to keep separately, or None.

    Raises:
        SettingsError: this model lacks the refining layer or one of its heads.
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
    """Adds a layer's mean over heads to the sum of its resolution; keeps the refining layer."""

    def __init__(
        self, captured: CapturedSelf, side: int, is_summed: bool, refining: RefiningLayer | None
    ) -> None:
        super().__init__()
        self.captured, self.side, self.is_summed = captured, side, is_summed
        self.refining = refining

    def keep(self, query: Tensor, key: Tensor, attn: Any) -> None:
        # Together these matrices take no more memory than one matrix of the full grid.
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
