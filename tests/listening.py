"""Attention of a model without our processors: from what its projections put out, in float64."""

import numpy as np


def attention_of(unet, layer, kind):
    return unet.get_submodule(f"{layer}.transformer_blocks.0.{kind}")


def listen(unet, run, layers, kind):
    """Each layer's logits [batch, heads, queries, keys] while `run()` goes through the model."""
    heard, handles = {}, []
    for layer in layers:
        attention = attention_of(unet, layer, kind)
        for name in ("to_q", "to_k"):

            def hook(module, args, output, key=(layer, name)):
                heard[key] = output.double().numpy()

            handles.append(getattr(attention, name).register_forward_hook(hook))
    run()
    for handle in handles:
        handle.remove()
    return {layer: logits(unet, heard, layer, kind) for layer in layers}


def logits(unet, heard, layer, kind):
    heads = attention_of(unet, layer, kind).heads
    query, key = heard[layer, "to_q"], heard[layer, "to_k"]
    width = query.shape[2] // heads
    result = np.zeros((len(query), heads, query.shape[1], key.shape[1]))
    for image in range(len(query)):
        for head in range(heads):
            own = slice(head * width, (head + 1) * width)
            result[image, head] = query[image, :, own] @ key[image, :, own].T / width**0.5
    return result


def softmax(values):
    exponents = np.exp(values - values.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)
