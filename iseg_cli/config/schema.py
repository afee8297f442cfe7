"""The tree of settings: frozen and validated; a default exists once, here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from iseg_cli.config.backbone import (
    DEFAULT_BACKBONE,
    fill_capture,
    named_backbone,
    read_backbone,
)
from iseg_cli.config.method import (
    AssignSettings,
    CaptureSettings,
    CatCrossSettings,
    ClusterSettings,
    EntSelfSettings,
    PromptSettings,
    RefineSettings,
)
from iseg_cli.config.section import Section
from iseg_cli.config.tasks import (
    ClipSettings,
    DiffSegSettings,
    FilterSettings,
    FusionSettings,
    SynthesisSettings,
)
from iseg_cli.files.text import split_names

__all__ = [
    "AssignSettings",
    "CaptureSettings",
    "CatCrossSettings",
    "ClipSettings",
    "ClusterSettings",
    "DiffSegSettings",
    "EntSelfSettings",
    "FilterSettings",
    "FusionSettings",
    "PromptSettings",
    "RefineSettings",
    "Resize",
    "RuntimeSettings",
    "Section",
    "Settings",
    "SynthesisSettings",
    "Task",
]

Task = Literal["wsss", "open-vocabulary", "unsupervised"]
Resize = Literal["pillow", "opencv"]


class RuntimeSettings(Section):
    """How a run uses the machine."""

    batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto",
        description="images in a batch; on a CPU best a multiple of its cores",
    )
    device: str = Field("auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    workers: int = Field(4, ge=1, description="threads that decode images and write masks")


def _default_capture() -> CaptureSettings:
    return CaptureSettings(**fill_capture({}, read_backbone(DEFAULT_BACKBONE)))


class Settings(Section):
    """Everything that a run of `iseg generate` depends on."""

    dataset: str = Field("emoji-voc", description="a dataset's name, as `iseg info` lists them")
    root: Path | None = Field(None, description="the dataset's folder")
    split: str | None = Field(None, description="the dataset's split; null: its default")
    labels: str = Field("masks", description="source of image-level labels")
    label_set: str | None = Field(
        None, description="the dataset's category table; null: its default"
    )
    categories: tuple[str, ...] | None = Field(
        None, description="what to segment, for the dataset `folder`"
    )
    task: Task = Field(
        "wsss",
        description="wsss: image-level labels are given; open-vocabulary: CLIP finds them; "
        "unsupervised: there are none",
    )
    crop: Literal["none", "center"] = Field(
        "none",
        description="the part of an image that is segmented: none: all of it; center: its middle "
        "square, and the mask has the model's image size",
    )
    resize: Resize = Field(
        "pillow",
        description="library that resizes images to the model's size, bilinearly: Pillow averages "
        "over areas where it shrinks an image; OpenCV, which the released code uses, does not",
    )
    fusion: Literal["none", "clip-entropy"] = Field(
        "none", description="clip-entropy: maps are fused with CLIP's, weighted by entropy"
    )
    model: str = Field(DEFAULT_BACKBONE, description="the name of a backbone, a hub id or a folder")
    vae: str = Field(
        "own",
        description="own: the model's autoencoder; taesd, a hub id or a folder: a tiny "
        "autoencoder, which is faster and may change masks",
    )
    compile: bool = Field(
        False,
        description="compile the model: this takes minutes, and then each image takes less time",
    )
    png: Literal["palette", "grey"] = Field(
        "palette",
        description="kind of masks: palette has the labels' colours, which viewers show; grey is "
        "for tools that would read the colours instead of the labels",
    )
    seed: int = Field(
        1101, ge=0, lt=2**63, description="seed of the noise, which is the same for every image"
    )
    prompt: PromptSettings = PromptSettings()
    cat_cross: CatCrossSettings = CatCrossSettings()
    capture: CaptureSettings = Field(default_factory=_default_capture)
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

    @model_validator(mode="before")
    @classmethod
    def _complete_capture(cls, values: object) -> object:
        """Complete the section `capture` with the values of the backbone that the model names."""
        if not isinstance(values, Mapping):
            return values
        given = values.get("capture", {})
        if not isinstance(given, Mapping):
            return values
        backbone = named_backbone(str(values.get("model", DEFAULT_BACKBONE)))
        return {**values, "capture": fill_capture(given, backbone)}

    @field_validator("categories", mode="before")
    @classmethod
    def _split_categories(cls, value: object) -> object:
        if isinstance(value, str):
            return split_names(value) or None
        if isinstance(value, list | tuple):
            other = [name for name in value if not isinstance(name, str)]
            if not other:
                return value
            raise ValueError(
                f"categories: {other[0]!r} is no text; write quotes around numbers, yes and no"
            )
        if value is None:
            return value
        raise ValueError("categories: write a list of names, such as [cat, dog]")

    @model_validator(mode="after")
    def _check_fusion(self) -> "Settings":
        if self.fusion != "none" and self.task == "unsupervised":
            raise ValueError(
                f"fusion: {self.fusion} needs categories, and the task unsupervised knows none; "
                "set fusion to none or choose another task"
            )
        return self
