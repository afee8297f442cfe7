"""Cat-Cross: makes the attention favour the words of the categories to segment (section 3.3)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def enhance(
    embeddings: Float[Tensor, "batch tokens channels"],
    tokens_mask: Bool[Tensor, "batch tokens"],
    *,
    gamma: float,
) -> Float[Tensor, "batch tokens channels"]:
    """Multiply the embeddings of the categories' tokens by gamma (eq. 7).

    Given text embeddings, keys and values grow (algorithm 1, line 8); given a layer's keys, only
    these do (eq. 8). Other tokens are returned bit for bit.

    Args:
        embeddings: one vector per token, before heads are split.
        tokens_mask: which tokens belong to a category.
        gamma: the weighting factor, 1.6 in the paper; 1 changes nothing.
    """
    return torch.where(tokens_mask[..., None], embeddings * gamma, embeddings)
