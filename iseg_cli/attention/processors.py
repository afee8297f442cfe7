"""`Processor`, the base of all attention processors here, and functions on attention layers.

A processor computes the same output as diffusers and sees queries and keys on the way. Processors
are attached for a `with` block; afterwards the model has its own again, even after an error.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from iseg_cli.errors import SettingsError, suggestion


class Processor:
    """Attention as diffusers computes it for Stable Diffusion, with optional factors of the keys.

    Attributes:
        key_scale: Float[batch tokens], factors of the keys (eq. 8), or None.
        is_last: whether the forward ends here. Then no value is computed and the input is returned.
    """

    def __init__(self, key_scale: Tensor | None = None, *, is_last: bool = False) -> None:
        self.key_scale = key_scale
        self.is_last = is_last

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **_: Any,
    ) -> Tensor:
        """Return the layer's output; diffusers calls this."""
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        heads = self.needed_heads(attn) if self.is_last else None
        query = _project(attn.to_q, hidden_states, heads, attn)
        key = _project(attn.to_k, context, heads, attn)
        if self.key_scale is not None:
            key = key * self.key_scale[:, None, :, None].to(key)  # eq. 8; to_k has no bias
        self.keep(query, key, attn)
        if self.is_last:
            return hidden_states
        value = _project(attn.to_v, context, None, attn)
        hidden_states = scaled_dot_product_attention(query, key, value, scale=attn.scale)
        hidden_states = hidden_states.transpose(1, 2).flatten(2)
        output: Tensor = attn.to_out[1](attn.to_out[0](hidden_states))
        return output

    def keep(self, query: Tensor, key: Tensor, attn: Any) -> None:
        """Keep what is wanted of queries and keys, Float[batch heads positions channels]."""

    def needed_heads(self, attn: Any) -> Sequence[int] | None:
        """Return the heads that `keep` needs if the layer `is_last`; None for all."""
        return None


@contextmanager
def attached(processors: Sequence[tuple[Any, Processor]]) -> Iterator[None]:
    """Attach processors to layers for a block; then the layers have their own again."""
    before = [(layer, layer.processor) for layer, _ in processors]
    try:
        for layer, processor in processors:
            layer.set_processor(processor)
        yield
    finally:
        for layer, processor in before:
            layer.set_processor(processor)


def probabilities(query: Tensor, key: Tensor, attn: Any) -> Tensor:
    """Return the softmax over keys, in float32 for every type of the model."""
    if attn.upcast_attention:
        query, key = query.float(), key.float()
    scores = torch.matmul(query * attn.scale, key.transpose(-1, -2))
    return scores.softmax(dim=-1, dtype=torch.float32)


def mean_attention(query: Tensor, key: Tensor, attn: Any, *, at_once: int = 1) -> Tensor:
    """Return the mean over heads of a layer's attention, Float[batch queries keys] in float32.

    Besides the result, little more than `at_once` matrices are in memory at a time. If `at_once` is
    at least the number of heads, whole images are taken together; else heads of one image.

    Args:
        query: Float[batch heads queries channels], with at least one head.
        key: Float[batch heads keys channels].
        attn: the attention layer.
        at_once: how many matrices Float[queries keys] to compute together; at L = 64 one takes
            64 MiB.
    """
    images, heads = query.shape[:2]
    mean = query.new_empty(images, query.shape[2], key.shape[2], dtype=torch.float32)
    share = max(1, at_once // heads)
    for start in range(0, images, share):
        own = slice(start, start + share)
        for head in range(0, heads, at_once):
            chosen = slice(head, head + at_once)
            some = probabilities(query[own, chosen], key[own, chosen], attn)
            total = some[:, 0] if some.shape[1] == 1 else some.sum(dim=1)
            if head:
                mean[own] += total
            else:
                mean[own] = total
    return mean.div_(heads) if heads > 1 else mean


def choose_heads(values: Tensor, heads: Sequence[int]) -> Tensor:
    """Return some heads of Float[batch heads ...], without copying an index to the device."""
    first, count = heads[0], len(heads)
    if list(heads) == list(range(first, first + count)):
        return values[:, first : first + count]
    return torch.stack([values[:, head] for head in heads], dim=1)


def require_self_heads(heads: Sequence[int] | None, attn: Any) -> Sequence[int]:
    """Return the heads of a layer that `capture.self_heads` names; None names all.

    Raises:
        SettingsError: the layer lacks one of the heads, or none is named.
    """
    chosen = range(attn.heads) if heads is None else heads
    if not chosen or max(chosen) >= attn.heads:
        raise SettingsError(
            f"capture.self_heads is {list(chosen)}, but this model has heads 0 to "
            f"{attn.heads - 1} there; name some of these, or null for all of them"
        )
    return chosen


def attention_layer(unet: Any, layer: str, kind: str, setting: str) -> Any:
    """Return an attention layer of a transformer block, given the block's name.

    Args:
        unet: the model.
        layer: the transformer block, such as `up_blocks.1.attentions.0`.
        kind: `attn1` for self-attention, `attn2` for cross-attention.
        setting: the setting that names the block, for the error message.

    Raises:
        SettingsError: the model has no such block; the message has the nearest name and all names.
    """
    name = f"{layer}.transformer_blocks.0.{kind}"
    try:
        return unet.get_submodule(name)
    except AttributeError:
        known = [
            n.removesuffix(f".transformer_blocks.0.{kind}")
            for n, _ in unet.named_modules()
            if n.endswith(f".transformer_blocks.0.{kind}")
        ]
        raise SettingsError(
            f"capture.{setting} asks for {layer}, but this model has no such attention"
            f"{suggestion(layer, known)}; it has {', '.join(known)}"
        ) from None


def attention_layers(unet: Any, kind: str) -> list[Any]:
    """Return all attention layers of a kind, `attn1` or `attn2`, as the modules are sorted."""
    return [module for name, module in unet.named_modules() if name.endswith(f".{kind}")]


def _project(linear: Any, hidden: Tensor, heads: Sequence[int] | None, attn: Any) -> Tensor:
    """Return queries, keys or values of some heads, Float[batch heads positions channels].

    None stands for all heads.
    """
    count = attn.heads if heads is None else len(heads)
    if heads is None:
        projected = linear(hidden)
    else:
        of_heads = linear.weight.unflatten(0, (1, attn.heads, -1))
        weight = choose_heads(of_heads, heads).flatten(0, 2)
        projected = hidden @ weight.t()  # Stable Diffusion's projections have no bias
    split: Tensor = projected.unflatten(2, (count, -1)).transpose(1, 2)
    return split
