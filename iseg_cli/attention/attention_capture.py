"""`AttentionCapture`: processors that keep the attention a plan names, one forward at a time.

Only chosen layers and heads are kept. They are reduced at once: cross-attention to a sum over heads
for each resolution, self-attention to a mean over heads. The layers compute what they always do.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
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
    probabilities,
    require_self_heads,
)
from iseg_cli.attention.truncation import AttentionSite, last_site
from iseg_cli.errors import SettingsError

Heads = tuple[int, ...]


@dataclass(frozen=True)
class CapturePlan:
    """The attention to keep.

    Attributes:
        cross_layers: the transformer blocks whose cross-attention is read, such as
            `up_blocks.1.attentions.0`, in the order in which the model runs them.
        cross_weights: divisor of L -> weight of that resolution; other resolutions are not kept.
        cross_heads: divisor of L -> the heads to average there, counted through the layers of that
            resolution; all heads where a divisor is absent.
        self_layer: the transformer block whose self-attention is read.
        self_heads: the heads to average there; None for all.
    """

    cross_layers: tuple[str, ...]
    cross_weights: Mapping[int, float]
    self_layer: str
    cross_heads: Mapping[int, Heads] = field(default_factory=dict)
    self_heads: Heads | None = None

    @property
    def last(self) -> AttentionSite:
        """The last attention of the plan in a forward."""
        crosses = (AttentionSite(layer, "attn2") for layer in self.cross_layers)
        return last_site((*crosses, AttentionSite(self.self_layer, "attn1")))


@dataclass(eq=False)
class CapturedAttention:
    """The attention kept of one forward.

    Attributes:
        cross: side of the grid -> sum over the kept heads of the softmax over tokens,
            Float[batch pixels tokens] in float32.
        heads: side of the grid -> the number of heads in that sum.
        seen: side of the grid -> the number of heads of all layers so far, kept or not.
        self_attention: softmax over keys, mean over heads, Float[batch pixels pixels] in float32.
    """

    cross: dict[int, Tensor] = field(default_factory=dict)
    heads: dict[int, int] = field(default_factory=dict)
    seen: dict[int, int] = field(default_factory=dict)
    self_attention: Tensor | None = None

    def mean_cross(self, side: int) -> Tensor:
        """Return the mean over heads of one resolution, Float[batch pixels tokens]."""
        return self.cross[side] / self.heads[side]


class AttentionCapture:
    """The processors that read a UNet by a plan.

    They are made once, and attached for one forward at a time.

    Attributes:
        captured: the attention kept of the last forward.
    """

    def __init__(self, unet: Any, plan: CapturePlan, *, side: int, to_end: bool = True) -> None:
        """Find the layers of the plan in the UNet.

        Args:
            unet: a UNet2DConditionModel.
            plan: which attention to keep.
            side: L, the side of the latents of every forward.
            to_end: False where `truncation.truncate` ends the UNet at the last attention of the
                plan; nothing needs the output of that layer then.

        Raises:
            SettingsError: this model lacks a layer of the plan.
        """
        self.captured = CapturedAttention()
        cross = {
            name: attention_layer(unet, name, "attn2", "cross_layers") for name in plan.cross_layers
        }
        own = attention_layer(unet, plan.self_layer, "attn1", "self_layer")
        last = None if to_end else plan.last
        self._cross: dict[int, tuple[Any, Processor]] = {}
        for name, layer in cross.items():
            is_last = last == AttentionSite(name, "attn2")
            self._cross[id(layer)] = (layer, _CrossProcessor(self, plan, side, is_last=is_last))
        is_last = last == AttentionSite(plan.self_layer, "attn1")
        self._self = (own, _SelfProcessor(self, plan.self_heads, is_last=is_last))
        self._others = [
            (layer, Processor())
            for layer in attention_layers(unet, "attn2")
            if id(layer) not in self._cross
        ]

    @contextmanager
    def attached(self, key_scale: Tensor | None = None) -> Iterator[CapturedAttention]:
        """Attach the processors for a block; then the UNet has its own again, even after errors.

        Args:
            key_scale: Float[batch tokens], the factors of the keys of every cross-attention layer
                (eq. 8), or None.
        """
        self.captured = CapturedAttention()
        processors = [*self._cross.values(), self._self]
        if key_scale is not None:
            processors += self._others
        for _, processor in (*self._cross.values(), *self._others):
            processor.key_scale = key_scale
        with attached(processors):
            yield self.captured


def check_captured(captured: CapturedAttention, plan: CapturePlan, *, side: int) -> None:
    """Check after a forward that the model had every resolution and head of the plan.

    Raises:
        SettingsError: the model lacks a resolution or head of the plan.
    """
    for divisor, weight in plan.cross_weights.items():
        if not weight:
            continue
        count = captured.seen.get(side // divisor, 0)
        if not count:
            raise SettingsError(
                f"capture.cross_weights asks for maps of side L/{divisor}, but none of "
                f"capture.cross_layers has them; their sides are "
                f"{', '.join(map(str, sorted(captured.seen)))} and L is {side}"
            )
        chosen = plan.cross_heads.get(divisor)
        if chosen is not None and not all(head < count for head in chosen):
            raise SettingsError(
                f"capture.cross_heads asks for head {max(chosen)} at L/{divisor}, but this model "
                f"has heads 0 to {count - 1} there; name some of these, or leave {divisor} out of "
                "it for all of them"
            )
        if chosen is not None and not chosen:
            raise SettingsError(
                f"capture.cross_heads leaves no head at L/{divisor}; name some, or leave "
                f"{divisor} out of it for all of them"
            )


class _CrossProcessor(Processor):
    """Adds the chosen heads of a cross-attention layer to the sum of its resolution."""

    def __init__(
        self, capture: AttentionCapture, plan: CapturePlan, side: int, *, is_last: bool
    ) -> None:
        super().__init__(is_last=is_last)
        self.capture, self.plan, self.side = capture, plan, side

    def keep(self, query: Tensor, key: Tensor, attn: Any) -> None:
        captured = self.capture.captured
        grid = math.isqrt(query.shape[2])
        first = captured.seen.get(grid, 0)
        captured.seen[grid] = first + attn.heads
        divisor = self.side // grid
        if not self.plan.cross_weights.get(divisor):
            return
        chosen = self.plan.cross_heads.get(divisor)
        heads = [h for h in range(attn.heads) if chosen is None or first + h in chosen]
        if not heads:
            return
        if len(heads) < attn.heads:
            query, key = choose_heads(query, heads), choose_heads(key, heads)
        total = probabilities(query, key, attn).sum(dim=1)
        if grid in captured.cross:
            captured.cross[grid] += total
        else:
            captured.cross[grid] = total
        captured.heads[grid] = captured.heads.get(grid, 0) + len(heads)


class _SelfProcessor(Processor):
    """Keeps the mean over the chosen heads of the self-attention layer."""

    def __init__(
        self, capture: AttentionCapture, heads: Sequence[int] | None, *, is_last: bool
    ) -> None:
        super().__init__(is_last=is_last)
        self.capture, self.heads = capture, heads

    def needed_heads(self, attn: Any) -> Sequence[int] | None:
        require_self_heads(self.heads, attn)
        return self.heads

    def keep(self, query: Tensor, key: Tensor, attn: Any) -> None:
        if not self.is_last and self.heads is not None:
            chosen = require_self_heads(self.heads, attn)
            query, key = choose_heads(query, chosen), choose_heads(key, chosen)
        self.capture.captured.self_attention = mean_attention(query, key, attn)
