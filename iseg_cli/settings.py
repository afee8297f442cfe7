"""The tree of settings: frozen and validated; a default exists once, here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Heads = tuple[Annotated[int, Field(ge=0)], ...]
Task = Literal["wsss", "open-vocabulary", "unsupervised"]
Divisor = Annotated[int, Field(ge=1)]

CROSS_LAYERS = (
    "down_blocks.1.attentions.1",
    "down_blocks.2.attentions.0",
    "down_blocks.2.attentions.1",
    "up_blocks.1.attentions.0",
    "up_blocks.1.attentions.1",
    "up_blocks.1.attentions.2",
    "up_blocks.2.attentions.0",
    "up_blocks.2.attentions.1",
)
"""The layers at L/4 and L/2 that the method reads; their heads are counted in this order."""

SELF_LAYER = "up_blocks.3.attentions.1"
"""The last layer at the full grid L but one: the self-attention that refines the maps."""


class Section(BaseModel):
    """A group of settings: frozen, nothing unknown, no infinities."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PromptSettings(Section):
    """How an image's categories become a text."""

    background_words: tuple[str, ...] | None = Field(
        None, description="words that end the prompt; null: those of the dataset's category table"
    )


class CatCrossSettings(Section):
    """Cat-Cross: category-enhanced cross-attention (equations 7 and 8)."""

    gamma: float = Field(1.6, gt=0, description="factor of the categories' tokens; 1 is off")
    apply: Literal["embeddings", "keys"] = Field(
        "embeddings", description="scale the text embedding (algorithm 1) or the keys only (eq. 8)"
    )


class CaptureSettings(Section):
    """Which attention is read, and how it is averaged."""

    timestep: int = Field(100, ge=0, description="the noise level of the one UNet forward")
    cross_layers: tuple[str, ...] = Field(
        CROSS_LAYERS, description="the transformer blocks whose cross-attention is read"
    )
    cross_weights: Mapping[Divisor, Annotated[float, Field(ge=0)]] = Field(
        {4: 0.7, 2: 0.3},
        description="weight of the maps of side L/4, L/2 ...; a weight of 0 leaves them out",
    )
    cross_heads: Mapping[Divisor, Heads] = Field(
        {}, description="heads averaged at L/4, L/2 ..., counted over the layers; absent: all"
    )
    self_layer: str = Field(SELF_LAYER, description="the transformer block of the self-attention")
    self_heads: Heads | None = Field(None, description="heads averaged there; null: all")

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

    step_size: float = Field(0.02, ge=0, description="lambda of equation 6; 0 only renormalises")
    log: Literal["natural", "log10"] = Field(
        "log10", description="the paper writes the natural logarithm, its code log10"
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
        0.05, ge=0, description="adaptive stops when the maps change by less, as a share"
    )

    @model_validator(mode="after")
    def _check_iterations(self) -> "RefineSettings":
        if self.mode == "adaptive" and self.min_iterations > self.iterations:
            raise ValueError("refine.min_iterations is greater than refine.iterations")
        return self


class AssignSettings(Section):
    """From maps to labels."""

    background: Literal["power", "threshold", "none"] = Field(
        "power", description="score of the background: (1 - max)^2, under a threshold, or no such"
    )
    threshold: float = Field(0.45, ge=0, le=1, description="for background: threshold")
    ignore_low: float | None = Field(
        None, ge=0, le=1, description="with ignore_high: background scores between get label 255"
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


class RuntimeSettings(Section):
    """How a run uses the machine."""

    batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto",
        description="images that go through the model together; on a CPU a multiple of its cores",
    )
    device: str = Field("auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    workers: int = Field(4, ge=1, description="threads that decode images and write masks")


class DiffSegSettings(Section):
    """Unsupervised segments from self-attention alone (DiffSeg)."""

    timestep: int = Field(300, ge=0, description="the timestep of the forward that is read")
    noise: bool = Field(
        True,
        description="whether latents get the timestep's noise; DiffSeg's code tells the model the "
        "timestep and adds none",
    )
    anchors: int = Field(16, ge=1, description="anchors along each side of the grid")
    threshold: float = Field(1.1, gt=0, description="symmetric KL under which proposals merge")
    rounds: int = Field(3, ge=1, description="rounds of merging, the first of anchors")


class ClipSettings(Section):
    """The CLIP that finds labels and whose maps may be fused."""

    model: str = Field(
        "openai/clip-vit-base-patch16", description="tiny-clip, a hub id or a folder"
    )
    templates: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        None, description="sentences with {} for a class's words; null: the 85 of TagCLIP"
    )
    background_prompts: tuple[str, ...] | None = Field(
        None,
        description="what surrounds the classes and shares their softmax; null: the background "
        "words of the category table, or TagCLIP's for VOC if it has none",
    )
    side: int | None = Field(
        None,
        ge=1,
        description="side of the square, in pixels, that images are resized to; null: their own "
        "size, one at a time",
    )
    max_side: int = Field(640, ge=1, description="with side null, larger images are shrunk to this")
    scales: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (1.0,),
        min_length=1,
        description="an image is shown at its size times each of these to find labels; the scores "
        "are averaged",
    )
    last_block: Literal["whole", "values"] = Field(
        "whole",
        description="what patches take from the last block, where each attends to itself alone: "
        "all of it, as TagCLIP, or its projected values without what entered it and its MLP",
    )
    refine: bool = Field(True, description="spread patch scores along CLIP's own attention")
    attention_blocks: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        None,
        description="blocks whose attention is averaged; null: the last third but for the last one",
    )
    votes: int | None = Field(
        None,
        ge=0,
        description="blocks that must find a pair of patches close; null: a third of them",
    )
    reidentify: bool = Field(True, description="look at each likely class again, in its own crop")
    likely: float = Field(
        0.5,
        ge=0,
        le=1,
        description="a likely class lies over this share of the way from the least to the greatest "
        "patch score of the image",
    )
    threshold: float = Field(
        0.5,
        ge=0,
        le=1,
        description="a label lies over this share of the way from the least to the greatest score "
        "of the image's classes; the greatest always does",
    )
    min_score: float = Field(0.0, ge=0, le=1, description="a label scores at least this much")

    @model_validator(mode="after")
    def _check_templates(self) -> "ClipSettings":
        wrong = next((text for text in self.templates or () if text.count("{}") != 1), None)
        if wrong is not None:
            raise ValueError(f"clip.templates: {wrong!r} must have one {{}} for a class's words")
        return self


class FusionSettings(Section):
    """Fusion with CLIP's dense map by entropy (`fusion: clip-entropy`)."""

    diffusion_temperature: float = Field(
        0.1,
        gt=0,
        description="of the softmax over the scores of the diffusion model's maps, which lie in "
        "[0, 1]: greater makes it less sure of itself",
    )
    clip_temperature: float | None = Field(
        None,
        gt=0,
        description="of the softmax over CLIP's cosines; null: as CLIP learned it (OpenAI's: 0.01)",
    )


class SynthesisSettings(Section):
    """Images drawn with the model, and when their attention is read (`iseg synthesize`)."""

    templates: tuple[str, ...] = Field(
        ("a photograph of {}",),
        min_length=1,
        description="prompts, taken in turn; the categories go where {} stands",
    )
    objects: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = Field(
        (1, 1), description="the least and the greatest number of categories in an image"
    )
    steps: int = Field(50, ge=1, description="steps of DDIM")
    guidance: float = Field(
        7.5, ge=1, description="scale of classifier-free guidance; 1 is without it"
    )
    read_from: float = Field(
        0.5, ge=0, le=1, description="attention is read from this share of the steps on; 0 is noise"
    )
    read_to: float = Field(1.0, ge=0, le=1, description="and up to this share; 1 is the image")
    image_format: Literal["jpg", "png"] = Field(
        "jpg", description="jpg as VOC has it (quality 95), or png, which loses nothing"
    )

    @model_validator(mode="after")
    def _check(self) -> "SynthesisSettings":
        wrong = next((text for text in self.templates if text.count("{}") != 1), None)
        if wrong is not None:
            raise ValueError(f"synthesis.templates: {wrong!r} needs one {{}}, for the categories")
        if self.objects[0] > self.objects[1]:
            raise ValueError("synthesis.objects: the least number is over the greatest")
        if self.read_from >= self.read_to:
            raise ValueError("synthesis.read_from must be under synthesis.read_to")
        return self


class FilterSettings(Section):
    """Which synthetic images have a plausible mask; each category named must meet all of it."""

    enabled: bool = Field(False, description="leave implausible images out of the list `train`")
    min_area: float = Field(0.02, ge=0, le=1, description="least share of the image's pixels")
    max_area: float = Field(0.9, ge=0, le=1, description="greatest share of the image's pixels")
    min_confidence: float = Field(
        0.2,
        ge=0,
        le=1,
        description="least mean, over a category's pixels, of its score minus the best other's",
    )

    @model_validator(mode="after")
    def _check_area(self) -> "FilterSettings":
        if self.min_area > self.max_area:
            raise ValueError("filter.min_area is greater than filter.max_area")
        return self


class Settings(Section):
    """Everything that a run of `iseg generate` depends on."""

    dataset: str = Field("emoji-voc", description="a dataset's name, as `iseg info` lists them")
    root: Path | None = Field(None, description="the dataset's folder")
    split: str | None = Field(None, description="null: the dataset's default")
    labels: str = Field("masks", description="source of image-level labels")
    label_set: str | None = Field(None, description="null: the dataset's default category table")
    categories: tuple[str, ...] | None = Field(
        None, description="what to segment, for the dataset `folder`"
    )
    task: Task = Field(
        "wsss",
        description="wsss: image-level labels are given; open-vocabulary: CLIP finds them; "
        "unsupervised: there are none",
    )
    input: Literal["whole", "center-crop"] = Field(
        "whole",
        description="what of an image is segmented: all of it, or its middle square, the mask then "
        "having the model's image size",
    )
    fusion: Literal["none", "clip-entropy"] = Field(
        "none", description="clip-entropy: maps are fused with CLIP's, weighted by entropy"
    )
    model: str = Field("sd2.1-base", description="tiny, sd2.1-base, a hub id or a folder")
    vae: str = Field(
        "own",
        description="own: the model's autoencoder; taesd, a hub id or a folder: a tiny one, which "
        "is faster and whose masks may differ",
    )
    compile: bool = Field(
        False, description="compile the model: minutes at the start, faster afterwards"
    )
    seed: int = Field(1101, ge=0, lt=2**63, description="of the noise, the same for every image")
    prompt: PromptSettings = PromptSettings()
    cat_cross: CatCrossSettings = CatCrossSettings()
    capture: CaptureSettings = CaptureSettings()
    cluster: ClusterSettings = ClusterSettings()
    ent_self: EntSelfSettings = EntSelfSettings()
    refine: RefineSettings = RefineSettings()
    assign: AssignSettings = AssignSettings()
    diffseg: DiffSegSettings = DiffSegSettings()
    clip: ClipSettings = ClipSettings()
    clip_entropy: FusionSettings = FusionSettings()
    synthesis: SynthesisSettings = SynthesisSettings()
    filter: FilterSettings = FilterSettings()
    runtime: RuntimeSettings = RuntimeSettings()

    @model_validator(mode="after")
    def _check_fusion(self) -> "Settings":
        if self.fusion != "none" and self.task == "unsupervised":
            raise ValueError(
                f"fusion: {self.fusion} needs categories, and the task unsupervised knows none; "
                "set fusion to none or choose another task"
            )
        return self
