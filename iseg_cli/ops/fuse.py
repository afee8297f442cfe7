"""Fusion of two predictions for each pixel, weighted by their entropy (ComCD).

Diffusion and CLIP both give every pixel a distribution over the same classes: first the background,
where it is a class, then the image's categories. The less entropy, the more weight.
"""

from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import normalize

from iseg_cli.ops.assign import background_score


def with_background(
    scores: Float[Tensor, "batch categories height width"],
    *,
    background: Literal["power", "threshold", "none"] = "power",
    threshold: float = 0.0,
) -> Float[Tensor, "batch classes height width"]:
    """Return the scores with the background's in front, by the rules of `assign.assign`.

    The class with the greatest score is then the label that `assign` gives. So a fusion that gives
    diffusion all the weight changes no label.

    Args:
        scores: of at least one category, in [0, 1].
        background: its score is (1 - max)^2 for `power` and the threshold for `threshold`; for
            `none` it is no class.
        threshold: 0 to 1; only the rule `threshold` reads it.
    """
    if background == "none":
        return scores
    if background == "power":
        surroundings = background_score(scores)[:, None]
    else:
        surroundings = torch.full_like(scores[:, :1], threshold)
    return torch.cat([surroundings, scores], dim=1)


def cosines(
    features: Float[Tensor, "patches channels"],
    categories: Float[Tensor, "categories channels"],
    surroundings: Float[Tensor, "prompts channels"],
) -> Float[Tensor, "patches classes"]:
    """Return the cosine of each patch with each class's text.

    The background's cosine is that of its nearest prompt. It is one class, whatever the number of
    its prompts: a sum over prompts would favour the background, and entropies over unequal numbers
    of classes could not be compared.

    Args:
        features: of any length but zero.
        categories: embeddings of their texts, of unit length.
        surroundings: embeddings of the background prompts, of unit length; none where the
            background is no class.
    """
    directions = normalize(features, dim=-1)
    near = directions @ categories.T
    if not len(surroundings):
        return near
    return torch.cat([(directions @ surroundings.T).amax(dim=-1, keepdim=True), near], dim=-1)


def distribution(
    scores: Float[Tensor, "batch classes height width"], *, temperature: float
) -> Float[Tensor, "batch classes height width"]:
    """Return the softmax over classes of scores divided by `temperature`."""
    return (scores / temperature).softmax(dim=1)


def entropy(
    distribution: Float[Tensor, "batch classes height width"],
) -> Float[Tensor, "batch height width"]:
    """Return H = -Σ p log p of each pixel in nats, 0 to the logarithm of the number of classes."""
    terms: Tensor = torch.special.entr(distribution)
    return terms.sum(dim=1)


def diffusion_weight(
    diffusion: Float[Tensor, "batch classes height width"],
    clip: Float[Tensor, "batch classes height width"],
) -> Float[Tensor, "batch height width"]:
    """Return W = sigmoid(H(clip) - H(diffusion)): over 1/2 where diffusion has less entropy.

    The entropy of n classes is at most log n, so W lies between 1/(n + 1) and n/(n + 1).
    """
    return (entropy(clip) - entropy(diffusion)).sigmoid()


def fuse(
    diffusion: Float[Tensor, "batch classes height width"],
    clip: Float[Tensor, "batch classes height width"],
) -> Float[Tensor, "batch classes height width"]:
    """Return W P_diffusion + (1 - W) P_clip, a distribution over the classes."""
    weight = diffusion_weight(diffusion, clip)[:, None]
    return weight * diffusion + (1 - weight) * clip


def decide(
    fused: Float[Tensor, "batch classes height width"], *, has_background: bool
) -> Int64[Tensor, "batch height width"]:
    """Return the label of every pixel: its most probable class, the first among equals.

    Returns:
        0 for background, c + 1 for the c-th category, as `assign.assign`.
    """
    return fused.argmax(dim=1) + (0 if has_background else 1)
