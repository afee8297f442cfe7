"""Self-self attention: CLIP's last block for dense maps, with attention to similar tokens.

CLIP is trained to collect an image in its class token, so its last attention mixes distant patches.
Here queries are compared with queries, keys with keys and values with values: each token attends to
similar tokens (GEM, arXiv 2312.00878; SCLIP, arXiv 2312.01597).
"""

import torch
from jaxtyping import Float
from torch import Tensor


def self_self_attention(
    query: Float[Tensor, "batch heads tokens channels"],
    key: Float[Tensor, "batch heads tokens channels"],
    value: Float[Tensor, "batch heads tokens channels"],
    *,
    scale: float,
) -> Float[Tensor, "batch heads tokens channels"]:
    """Return the values, mixed by the mean of three attentions: QQ, KK and VV.

    Each attention is softmax(scale X Xᵀ), in float32 or better.

    Args:
        query: the projected queries of one block.
        key: its projected keys.
        value: its projected values.
        scale: the factor of the products, as in the block (1 / √channels).
    """
    dtype = torch.promote_types(value.dtype, torch.float32)
    # One softmax after the other: with 1025 tokens and 12 heads each takes 50 MB an image.
    weights = _similar(query, scale, dtype)
    weights = weights.add_(_similar(key, scale, dtype)).add_(_similar(value, scale, dtype)).div_(3)
    return weights.to(value.dtype) @ value


def _similar(x: Tensor, scale: float, dtype: torch.dtype) -> Tensor:
    return ((x * scale) @ x.transpose(-1, -2)).softmax(dim=-1, dtype=dtype)
