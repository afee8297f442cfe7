"""Two views of an image made one: each pixel trusts the view that is surer of it (ComCD).

Both views, diffusion's and CLIP's, give every pixel a distribution over the same classes: the
background first, where there is such a class, then the image's categories.
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
    """Put the background's score before those of the categories, by the rules of `assign.assign`.

    The greatest of a pixel's scores then says what `assign` does, so that a fusion which trusts
    diffusion alone changes no label.

    Args:
        scores: at least one category's, in [0, 1].
        background: its score is (1 - max)^2, the threshold, or none, for there is no such class.
        threshold: 0 to 1; only the rule of that name looks at it.
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

    The background is what its nearest prompt is. It stays one class however many prompts describe
    it: their sum would outweigh the categories by its number, and entropies of the two views could
    not be compared over unequal numbers of classes.

    Args:
        features: of any length but zero.
        categories: texts of unit length.
        surroundings: prompts for the background, of unit length; none where it is no class.
    """
    directions = normalize(features, dim=-1)
    near = directions @ categories.T
    if not len(surroundings):
        return near
    return torch.cat([(directions @ surroundings.T).amax(dim=-1, keepdim=True), near], dim=-1)


def distribution(
    scores: Float[Tensor, "batch classes height width"], *, temperature: float
) -> Float[Tensor, "batch classes height width"]:
    """Return the softmax over classes: a difference of one `temperature` is a factor of e."""
    return (scores / temperature).softmax(dim=1)


def entropy(
    distribution: Float[Tensor, "batch classes height width"],
) -> Float[Tensor, "batch height width"]:
    """Return H = -Σ p log p of each pixel in nats: 0 where it is sure, log n where n are even."""
    terms: Tensor = torch.special.entr(distribution)
    return terms.sum(dim=1)


def diffusion_weight(
    diffusion: Float[Tensor, "batch classes height width"],
    clip: Float[Tensor, "batch classes height width"],
) -> Float[Tensor, "batch height width"]:
    """Return W = sigmoid(H(clip) - H(diffusion)): over 1/2 where diffusion is the surer one.

    The entropy of n classes is at most log n, so W lies between 1/(n + 1) and n/(n + 1).
    """
    return (entropy(clip) - entropy(diffusion)).sigmoid()


def fuse(
    diffusion: Float[Tensor, "batch classes height width"],
    clip: Float[Tensor, "batch classes height width"],
) -> Float[Tensor, "batch classes height width"]:
    """Return W P_diffusion + (1 - W) P_clip, which is a distribution over the classes as well."""
    weight = diffusion_weight(diffusion, clip)[:, None]
    return weight * diffusion + (1 - weight) * clip


def decide(
    fused: Float[Tensor, "batch classes height width"], *, has_background: bool
) -> Int64[Tensor, "batch height width"]:
    """Label every pixel with its likeliest class, the first among equals.

    Returns:
        As `assign.assign`: 0 for background, c + 1 for the c-th category.
    """
    return fused.argmax(dim=1) + (0 if has_background else 1)
