"""Settings: one frozen, validated tree; a default exists once, here.

A preset (`configs/*.yaml`) names only what differs from the defaults; `--config` files and `--set`
assignments are laid over it. An unknown key is an error with a suggestion.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from iseg_cli.errors import SettingsError, suggestion
from iseg_cli.resources import preset_path

Heads = tuple[Annotated[int, Field(ge=0)], ...]
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


class _Section(BaseModel):
    """A group of settings: frozen, nothing unknown, no infinities."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PromptSettings(_Section):
    """How an image's categories become a text."""

    background_words: tuple[str, ...] | None = Field(
        None, description="words that end the prompt; null: those of the dataset's category table"
    )


class CatCrossSettings(_Section):
    """Cat-Cross: category-enhanced cross-attention (equations 7 and 8)."""

    gamma: float = Field(1.6, gt=0, description="factor of the categories' tokens; 1 is off")
    apply: Literal["embeddings", "keys"] = Field(
        "embeddings", description="scale the text embedding (algorithm 1) or the keys only (eq. 8)"
    )


class CaptureSettings(_Section):
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


class ClusterSettings(_Section):
    """Clustering of the fused cross-attention before tokens are selected."""

    enabled: bool = Field(False, description="replace each position's map by its cluster's mean")
    rounds: int = Field(20, ge=1, description="rounds of k-means")


class EntSelfSettings(_Section):
    """Ent-Self: entropy-reduced self-attention (equations 4 to 6)."""

    step_size: float = Field(0.02, ge=0, description="lambda of equation 6; 0 only renormalises")
    log: Literal["natural", "log10"] = Field(
        "log10", description="the paper writes the natural logarithm, its code log10"
    )


class RefineSettings(_Section):
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


class AssignSettings(_Section):
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


class RuntimeSettings(_Section):
    """How a run uses the machine."""

    batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto",
        description="images that go through the model together; on a CPU a multiple of its cores",
    )
    device: str = Field("auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    workers: int = Field(4, ge=1, description="threads that decode images and write masks")


class Settings(_Section):
    """Everything that a run of `iseg generate` depends on."""

    dataset: str = Field("emoji-voc", description="a dataset's name, as `iseg info` lists them")
    root: Path | None = Field(None, description="the dataset's folder")
    split: str | None = Field(None, description="null: the dataset's default")
    labels: str = Field("masks", description="source of image-level labels")
    label_set: str | None = Field(None, description="null: the dataset's default category table")
    categories: tuple[str, ...] | None = Field(
        None, description="what to segment, for the dataset `folder`"
    )
    task: Literal["wsss"] = Field("wsss", description="weakly-supervised segmentation")
    model: str = Field("sd2.1-base", description="tiny, sd2.1-base, a hub id or a folder")
    seed: int = Field(1101, ge=0, lt=2**63, description="of the noise, the same for every image")
    prompt: PromptSettings = PromptSettings()
    cat_cross: CatCrossSettings = CatCrossSettings()
    capture: CaptureSettings = CaptureSettings()
    cluster: ClusterSettings = ClusterSettings()
    ent_self: EntSelfSettings = EntSelfSettings()
    refine: RefineSettings = RefineSettings()
    assign: AssignSettings = AssignSettings()
    runtime: RuntimeSettings = RuntimeSettings()


def load_settings(
    preset: str | None = None,
    *,
    files: Sequence[Path] = (),
    overrides: Mapping[str, Any] | None = None,
    assignments: Sequence[str] = (),
) -> Settings:
    """Lay the sources over the defaults, later ones over earlier ones, and validate the result.

    Args:
        preset: name of a file in `configs/` without its ending, such as `voc` or `paper/voc`.
        files: YAML files of the user's, in the order in which they apply.
        overrides: settings by dotted name, from command-line options; None values are passed over.
        assignments: texts `refine.iterations=8`; the value is read as YAML.

    Raises:
        SettingsError: a preset or file that is missing or is not a mapping, an unknown setting, or
            a value out of its range.
    """
    merged: dict[str, Any] = {}
    if preset is not None:
        _overlay(merged, _read_yaml(preset_path(preset)))
    for file in files:
        _overlay(merged, _read_yaml(file))
    for name, value in (overrides or {}).items():
        if value is not None:
            _overlay(merged, _nested(name, value))
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        if not separator or not name.strip():
            raise SettingsError(f"--set {assignment} is no assignment; write --set NAME=VALUE")
        _overlay(merged, _nested(name.strip(), _parse_value(assignment, text)))
    return validate(merged)


def declared_dataset(files: Sequence[Path]) -> str | None:
    """Return the dataset that YAML files of settings name, the last of them first, or None."""
    named = [_read_yaml(file).get("dataset") for file in reversed(files)]
    return next((str(name) for name in named if name is not None), None)


def validate(values: Mapping[str, Any]) -> Settings:
    """Build Settings from a nested mapping; SettingsError tells the first thing that is wrong."""
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(_explain(error)) from None


def to_dict(settings: Settings) -> dict[str, Any]:
    """Return the settings as plain JSON values, every default written out."""
    return settings.model_dump(mode="json")


def setting_names() -> list[str]:
    """Return the dotted name of every setting."""
    return [name for name, _ in _walk(Settings)]


def describe_settings() -> list[tuple[str, str, str]]:
    """Return (dotted name, default, meaning) of every setting, for the documentation."""
    return [
        (name, str(field.get_default()), field.description or "") for name, field in _walk(Settings)
    ]


def _walk(section: type[BaseModel], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += _walk(kind, f"{prefix}{name}.")
        else:
            found.append((prefix + name, field))
    return found


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid YAML: {str(error).splitlines()[0]}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"{path} holds no settings; write lines such as `seed: 1101`")
    return content


def _parse_value(assignment: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise SettingsError(f"the value in --set {assignment} is not valid YAML") from None


def _nested(name: str, value: Any) -> dict[str, Any]:
    for part in reversed(name.split(".")):
        value = {part: value}
    return dict(value)


def _overlay(
    below: dict[str, Any], above: Mapping[str, Any], section: type[BaseModel] = Settings
) -> None:
    """Lay `above` over `below` in place: sections merge, any other value is replaced.

    A setting that holds a mapping (`capture.cross_weights`) is one value, not a section.
    """
    for name, value in above.items():
        kind = section.model_fields[name].annotation if name in section.model_fields else None
        if isinstance(kind, type) and issubclass(kind, BaseModel) and isinstance(value, Mapping):
            merged = dict(below[name]) if isinstance(below.get(name), Mapping) else {}
            _overlay(merged, value, kind)
            below[name] = merged
        else:
            below[name] = value


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    known = setting_names()
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        sections = sorted({setting.split(".")[0] for setting in known})
        return f"unknown setting {name}{suggestion(name, known + sections)}"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return message
    # Behind a setting's name pydantic adds places inside its value, which say nothing to a user.
    name = next((setting for setting in known if f"{name}.".startswith(f"{setting}.")), name)
    return f"setting {name} is {first['input']!r}: {message[0].lower()}{message[1:]}"
