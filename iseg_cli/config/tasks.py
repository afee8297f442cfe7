"""The settings of other tasks: segments without labels, CLIP, synthetic images."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from iseg_cli.config.section import Section


class DiffSegSettings(Section):
    """Unsupervised segments from self-attention alone (DiffSeg)."""

    timestep: int = Field(300, ge=0, description="the timestep of the forward that is read")
    noise: bool = Field(
        True,
        description="whether latents get the noise of the timestep; DiffSeg's code adds no noise",
    )
    anchors: int = Field(16, ge=1, description="anchors along each side of the grid")
    threshold: float = Field(1.1, gt=0, description="symmetric KL under which proposals merge")
    rounds: int = Field(3, ge=1, description="rounds of merging, the first of anchors")


class ClipSettings(Section):
    """The CLIP that finds labels and whose maps may be fused."""

    model: str = Field(
        "openai/clip-vit-base-patch16", description="tiny-clip, a hub id or a folder"
    )
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        "float32",
        description="number format of CLIP; TagCLIP's code uses float32 on every device; auto: "
        "float16 on CUDA, float32 elsewhere",
    )
    templates: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        None, description="sentences with {} for a class's words; null: the 85 of TagCLIP"
    )
    background_prompts: tuple[str, ...] | None = Field(
        None,
        description="words for the surroundings, which share the softmax of the classes; null: the "
        "background words of the category table, or TagCLIP's for VOC if the table has none",
    )
    keep_named: bool = Field(
        False,
        description="whether background prompts that name a class are kept; such a class shares "
        "its probability with the prompt",
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
        description="factors of the image's size at which CLIP looks for labels; the scores are "
        "averaged",
    )
    last_block: Literal["whole", "values"] = Field(
        "whole",
        description="output of the last block, where each patch attends to itself alone: whole: "
        "all of it, as in TagCLIP; values: the projected values without the residual and the MLP",
    )
    refine: bool = Field(True, description="refine patch scores with CLIP's own attention")
    attention_blocks: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        None,
        description="blocks whose attention is averaged; null: the last third without the "
        "last block",
    )
    min_agreeing_blocks: int | None = Field(
        None,
        ge=0,
        description="blocks that must find a pair of patches close; null: a third of them",
    )
    reidentify: bool = Field(
        True, description="look at each candidate class again, in its own crop"
    )
    candidate_threshold: float = Field(
        0.5,
        ge=0,
        le=1,
        description="a candidate class lies over this share of the way from the least to the "
        "greatest patch score of the image",
    )
    patch_weight: float = Field(
        0.5, ge=0, description="weight of the patches' score of a class that is looked at again"
    )
    crop_weight: float = Field(
        0.5,
        ge=0,
        description="weight of its score in the crop; with a sum over 1 it rises above others",
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
