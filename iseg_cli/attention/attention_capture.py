"""Attention processors that keep what the method reads, attached for one forward at a time.

Only chosen layers and heads are kept, and reduced at once: cross-attention to the sum over heads of
each resolution, self-attention to the mean over its heads. What the layers compute is unchanged.
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
    """Which attention to keep.

    Attributes:
        cross_layers: the transformer blocks whose cross-attention is read, such as
            `up_blocks.1.attentions.0`, in the order in which the model runs them.
        cross_weights: divisor of L -> weight of the resolution; others are not kept.
        cross_heads: divisor of L -> the heads to average there, counted over its layers in their
            order; all where a divisor is absent.
        self_layer: the transformer block whose self-attention is read.
        self_heads: its heads to average; None for all.
    """

    cross_layers: tuple[str, ...]
    cross_weights: Mapping[int, float]
    self_layer: str
    cross_heads: Mapping[int, Heads] = field(default_factory=dict)
    self_heads: Heads | None = None

    @property
    def last(self) -> AttentionSite:
        """The attention that a forward passes last of those that are read."""
        crosses = (AttentionSite(layer, "attn2") for layer in self.cross_layers)
        return last_site((*crosses, AttentionSite(self.self_layer, "attn1")))


@dataclass(eq=False)
class CapturedAttention:
    """What a forward leaves behind.

    Attributes:
        cross: side of the grid -> sum over the kept heads of the softmax over tokens,
            Float[batch pixels tokens] in float32.
        heads: side of the grid -> how many heads went into that sum.
        seen: side of the grid -> how many heads the layers so far have had, kept or not.
        self_attention: softmax over keys, mean over heads, Float[batch pixels pixels] in float32.
    """

    cross: dict[int, Tensor] = field(default_factory=dict)
    heads: dict[int, int] = field(default_factory=dict)
    seen: dict[int, int] = field(default_factory=dict)
    self_attention: Tensor | None = None

    def mean_cross(self, side: int) -> Tensor:
        """Return the mean over heads of one resolution: Float[batch pixels tokens]."""
        return self.cross[side] / self.heads[side]


class AttentionCapture:
    """The processors that read a UNet by a plan: made once, attached for a forward at a time.

    Attributes:
        captured: what the forward of the last `attached` block left behind.
    """

    def __init__(self, unet: Any, plan: CapturePlan, *, side: int, to_end: bool = True) -> None:
        """Find the layers.

        Args:
            unet: a UNet2DConditionModel.
            plan: which attention to keep.
            side: L, the side of the latents that will go through it.
            to_end: False where `truncation.truncate` cuts the UNet off behind the last place of the
                plan, whose output nobody needs then.

        Raises:
            SettingsError: a layer of the plan that this model does not have.
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
        """Attach the processors; whatever happens, the UNet's own are back afterwards.

        Args:
            key_scale: Float[batch tokens] factors of the keys of every cross-attention layer
                (equation 8), or None.
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
    """Check after a forward that every head of the plan was there.

    Raises:
        SettingsError: a resolution or head of the plan that the model did not have.
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
