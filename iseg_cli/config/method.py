"""The settings of the method, in the order in which an image passes them."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from iseg_cli.config.section import Section

Heads = tuple[Annotated[int, Field(ge=0)], ...]
Divisor = Annotated[int, Field(ge=1)]


class PromptSettings(Section):
    """How an image's categories become a text."""

    background_words: tuple[str, ...] | None = Field(
        None, description="words that end the prompt; null: those of the dataset's category table"
    )
    background_prefix: str = Field(
        ", ", description="text between `background` and the first of these words"
    )
    background_suffix: str = Field(
        "", description="text after the last of these words, if all of them fit"
    )


class CatCrossSettings(Section):
    """Cat-Cross: category-enhanced cross-attention (equations 7 and 8)."""

    gamma: float = Field(
        1.6, gt=0, description="factor of the categories' tokens; 1 changes nothing"
    )
    apply: Literal["embeddings", "keys"] = Field(
        "embeddings",
        description="what is scaled: the text embedding (algorithm 1) or the keys only (eq. 8)",
    )


class CaptureSettings(Section):
    """Which attention is read, and how it is averaged.

    A value that nobody gave is the backbone's: `Settings` completes the section.
    """

    timestep: int = Field(
        ge=0, description="the noise level of the one UNet forward; null: the backbone's"
    )
    cross_layers: tuple[str, ...] = Field(
        description="the transformer blocks whose cross-attention is read; null: the backbone's"
    )
    cross_weights: Mapping[Divisor, Annotated[float, Field(ge=0)]] = Field(
        description="weight of the maps of side L/4, L/2 ...; a weight of 0 leaves them out; null: "
        "the backbone's"
    )
    self_layer: str = Field(
        description="the transformer block of the self-attention; maps lie on its grid; null: the "
        "backbone's"
    )
    heads: str | None = Field(
        None,
        description="the list of heads, published for a dataset and the backbone, that is read; "
        "null: all heads",
    )
    cross_heads: Mapping[Divisor, Heads] = Field(
        description="heads averaged at L/4, L/2 ..., counted over the layers; a resolution without "
        "a list: all; not given: those of capture.heads"
    )
    self_heads: Heads | None = Field(
        description="heads averaged in the self-attention; null: all; not given: those of "
        "capture.heads"
    )

    @model_validator(mode="after")
    def _check_weights(self) -> "CaptureSettings":
        if not any(self.cross_weights.values()):
            raise ValueError("capture.cross_weights leaves no resolution; give one a weight over 0")
        return self


class ClusterSettings(Section):
    """Clustering of the fused cross-attention before tokens are selected."""

    enabled: bool = Field(False, description="replace each position's map by its cluster's mean")
    rounds: int = Field(20, ge=1, description="rounds of k-means")


class EntSelfSettings(Section):
    """Ent-Self: entropy-reduced self-attention (equations 4 to 6)."""

    step_size: float = Field(
        0.02, ge=0, description="lambda of equation 6; 0 only normalises the rows"
    )
    log: Literal["natural", "log10"] = Field(
        "log10", description="the logarithm of the entropy; the paper has natural, its code log10"
    )


class RefineSettings(Section):
    """Iterative refinement (equation 3, algorithm 1)."""

    mode: Literal["none", "single", "naive", "iterative", "adaptive"] = Field(
        "iterative",
        description="none: raw cross-attention; single: one product with the self-attention; "
        "naive: N products with it; iterative: N products with Ent-Self; adaptive: until the maps "
        "settle",
    )
    iterations: int = Field(8, ge=0, description="N; for adaptive the greatest N")
    min_iterations: int = Field(1, ge=0, description="the least N of adaptive")
    tolerance: float = Field(
        0.05,
        ge=0,
        description="adaptive stops when the maps change by less than this share",
    )

    @model_validator(mode="after")
    def _check_iterations(self) -> "RefineSettings":
        if self.mode == "adaptive" and self.min_iterations > self.iterations:
            raise ValueError("refine.min_iterations is greater than refine.iterations")
        return self


class AssignSettings(Section):
    """From maps to labels."""

    background: Literal["power", "threshold", "none"] = Field(
        "power",
        description="score of the background: power: (1 - max)^2; threshold: a number; none: no "
        "background",
    )
    threshold: float = Field(
        0.45, ge=0, le=1, description="score of the background for background: threshold"
    )
    ignore_low: float | None = Field(
        None,
        ge=0,
        le=1,
        description="a pixel with a background score between ignore_low and ignore_high gets label "
        "255",
    )
    ignore_high: float | None = Field(None, ge=0, le=1)

    @model_validator(mode="after")
    def _check_band(self) -> "AssignSettings":
        low, high = self.ignore_low, self.ignore_high
        if (low is None) != (high is None):
            raise ValueError("assign.ignore_low and assign.ignore_high go together")
        if low is not None and high is not None and low > high:
            raise ValueError("assign.ignore_low is greater than assign.ignore_high")
        return self
