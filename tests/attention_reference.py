"""Attention from the outputs of a model's own projections, in float64 and without our processors.

PyTorch's forward hooks read the projections, so nothing of `iseg_cli` takes part.
"""

import numpy as np


def attention_module(unet, layer, kind):
    """The attention of a layer; `kind` is attn1 (self-attention) or attn2 (cross-attention)."""
    return unet.get_submodule(f"{layer}.transformer_blocks.0.{kind}")


def attention_logits(unet, run, layers, kind):
    """Each layer's logits [batch, heads, queries, keys] of the forward pass that `run()` does."""
    projected, handles = {}, []
    for layer in layers:
        attention = attention_module(unet, layer, kind)
        for name in ("to_q", "to_k"):

            def hook(module, args, output, key=(layer, name)):
                projected[key] = output.double().numpy()

            handles.append(getattr(attention, name).register_forward_hook(hook))
    run()
    for handle in handles:
        handle.remove()
    return {
        layer: scaled_products(
            projected[layer, "to_q"],
            projected[layer, "to_k"],
            heads=attention_module(unet, layer, kind).heads,
        )
        for layer in layers
    }


def scaled_products(query, key, *, heads):
    """The logits of each head, from queries and keys [batch, positions, heads x width]."""
    width = query.shape[2] // heads
    result = np.zeros((len(query), heads, query.shape[1], key.shape[1]))
    for image in range(len(query)):
        for head in range(heads):
            own = slice(head * width, (head + 1) * width)
            result[image, head] = query[image, :, own] @ key[image, :, own].T / width**0.5
    return result


def softmax(values):
    """Softmax over the last axis."""
    exponents = np.exp(values - values.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)
