"""Attention of tokens to those that are like them: CLIP's last block, read for dense maps.

A CLIP is trained to gather an image into its class token, so its last attention mixes what lies far
apart. Queries compared with queries, keys with keys and values with values keep each token with its
like (GEM, arXiv 2312.00878; SCLIP, arXiv 2312.01597).
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
    """Return the values mixed by the mean of three attentions: QQ, KK and VV.

    Each is softmax(scale X Xᵀ), in float32 or better whatever the type of the values.

    Args:
        query: of one block, as it projects them; likewise `key` and `value`.
        key: see there.
        value: see there.
        scale: of the products, that of the block (1 / √channels).
    """
    dtype = torch.promote_types(value.dtype, torch.float32)
    # One softmax after the other: for 1025 tokens and 12 heads each takes 50 MB an image.
    weights = _similar(query, scale, dtype)
    weights = weights.add_(_similar(key, scale, dtype)).add_(_similar(value, scale, dtype)).div_(3)
    return weights.to(value.dtype) @ value


def _similar(x: Tensor, scale: float, dtype: torch.dtype) -> Tensor:
    return ((x * scale) @ x.transpose(-1, -2)).softmax(dim=-1, dtype=dtype)
