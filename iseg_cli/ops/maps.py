"""The values between an image and its mask: what attention said, and what it was made into."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class AttentionMaps:
    """Attention of a batch of images, brought to one square grid of `side` x `side` positions.

    Attributes:
        cross: each category's cross-attention map (heads averaged, resolutions fused,
            tokens averaged), not negative; columns of padding are zero.
        self_attention: how each position (query, rows) attends to all (keys); rows sum to 1.
        side: the grid's side, L or that of the layer whose self-attention this is; pixels = side *
            side, in row-major order.
        valid: which columns are categories of the image and which only fill up the batch.
    """

    cross: Float[Tensor, "batch pixels categories"]
    self_attention: Float[Tensor, "batch pixels pixels"]
    side: int
    valid: Bool[Tensor, "batch categories"]


@dataclass(frozen=True, eq=False)
class CategoryMaps:
    """How strongly every position of the grid belongs to each category, in [0, 1]."""

    scores: Float[Tensor, "batch categories height width"]


@dataclass(frozen=True, eq=False)
class ClipMaps:
    """How near the patches of a batch of images are to their classes, as CLIP sees them.

    Attributes:
        cosines: for each image, of each patch of its square grid (in row-major order) with the text
            of each class: the background first, where it is a class, then the image's categories.
        scale: what CLIP learned to multiply cosines by before their softmax (100 for OpenAI's).
    """

    cosines: tuple[Float[Tensor, "patches _"], ...]
    scale: float


@dataclass(frozen=True, eq=False)
class SelfMaps:
    """Self-attention of a batch of images, which segments are made from without any words.

    Attributes:
        merged: that of all layers on one grid, as `ops.diffseg.merge_resolutions` averages it: how
            each position (query, rows) attends to all (keys); rows sum to 1.
        refining: that of the one layer that segments are refined along, on the layer's own grid;
            None where they are not refined.
        side: the side L of the grid of `merged`; pixels = side * side, in row-major order.
    """

    merged: Float[Tensor, "batch pixels pixels"]
    refining: Float[Tensor, "batch refined refined"] | None
    side: int
