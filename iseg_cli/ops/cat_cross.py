"""Cat-Cross: raises the attention to the words of the categories to segment (section 3.3)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def enhance(
    embeddings: Float[Tensor, "batch tokens channels"],
    tokens_mask: Bool[Tensor, "batch tokens"],
    *,
    gamma: float,
) -> Float[Tensor, "batch tokens channels"]:
    """Return the embeddings, those of the categories' tokens multiplied by gamma (eq. 7).

    With text embeddings, keys and values grow (algorithm 1, line 8). With a layer's keys, only the
    keys grow (eq. 8). The other tokens keep every bit.

    Args:
        embeddings: one vector per token, before they are split into heads.
        tokens_mask: which tokens belong to a category.
        gamma: the weighting factor, 1.6 in the paper; 1 changes nothing.

    Example:
        >>> enhance(torch.ones(1, 2, 1), torch.tensor([[False, True]]), gamma=1.5).flatten()
        tensor([1.0000, 1.5000])
    """
    return torch.where(tokens_mask[..., None], embeddings * gamma, embeddings)
