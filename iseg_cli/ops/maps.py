"""The values between an image and its mask: attention maps, category maps, CLIP's maps."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class AttentionMaps:
    """Attention of a batch of images, on one square grid of `side` x `side` positions.

    Attributes:
        cross: each category's cross-attention map (heads averaged, resolutions fused,
            tokens averaged), not negative; columns of padding are zero.
        self_attention: how each position (query, rows) attends to all (keys); rows sum to 1.
        side: the grid's side: L, or less where the self-attention layer has a coarser grid.
            pixels = side * side, in row-major order.
        valid: which columns are categories of the image; the others are padding.
    """

    cross: Float[Tensor, "batch pixels categories"]
    self_attention: Float[Tensor, "batch pixels pixels"]
    side: int
    valid: Bool[Tensor, "batch categories"]


@dataclass(frozen=True, eq=False)
class CategoryMaps:
    """The score of each category at every position of the grid, in [0, 1]."""

    scores: Float[Tensor, "batch categories height width"]


@dataclass(frozen=True, eq=False)
class ClipMaps:
    """Cosines between the patches of a batch of images and the texts of their classes (CLIP).

    Attributes:
        cosines: one tensor per image. Patches are those of a square grid, in row-major order.
            Classes are the background, where it is a class, then the image's categories.
        scale: the factor that CLIP learned for cosines before their softmax (100 for OpenAI's).
    """

    cosines: tuple[Float[Tensor, "patches _"], ...]
    scale: float


@dataclass(frozen=True, eq=False)
class SelfMaps:
    """Self-attention of a batch of images, from which segments are made without a prompt.

    Attributes:
        merged: the mean over all layers on one grid, as `ops.diffseg.merge_resolutions` returns
            it: how each position (query, rows) attends to all (keys); rows sum to 1.
        refining: the self-attention of the layer that refines segments, on the layer's own grid;
            None where segments are not refined.
        side: the side L of the grid of `merged`; pixels = side * side, in row-major order.
    """

    merged: Float[Tensor, "batch pixels pixels"]
    refining: Float[Tensor, "batch refined refined"] | None
    side: int
