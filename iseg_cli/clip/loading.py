"""`load_clip`: from a CLIP's name or folder to a `ClipModel` with tokenizer and pixel scaling."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPModel

from iseg_cli.backbones.hub import Layout, find_snapshot, is_hub_id
from iseg_cli.backbones.vocabulary import load_tokenizer
from iseg_cli.backbones.weight_files import read_object
from iseg_cli.backbones.weights import (
    fingerprint,
    first_line,
    load_part,
    quietly,
    revision_of,
)
from iseg_cli.config.resources import TINY_CLIP
from iseg_cli.errors import ModelNotFoundError

CLIP_B16 = "openai/clip-vit-base-patch16"
"""The CLIP of the published figures of TagCLIP and iSeg."""

PREPROCESSOR = "preprocessor_config.json"
LAYOUT = Layout(
    weights=("model",),
    needed=("config.json", "tokenizer.json|merges.txt"),
    useful=(PREPROCESSOR, "vocab.json", "tokenizer_config.json", "special_tokens_map.json"),
)
"""The files of a CLIP in transformers format that are needed here."""

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""Mean and standard deviation of pixels in [0, 1] for OpenAI's CLIPs; used without a file."""

Channels = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class ClipModel:
    """A CLIP in evaluation mode: two encoders into one space.

    Attributes:
        name: the name that the user gave (`tiny-clip`, a hub id, a folder).
        source: the folder that it was loaded from; for a hub model it ends in the revision.
        model: a CLIPModel of transformers.
        tokenizer: the tokenizer of its text encoder.
        mean: the mean of each channel, subtracted from pixels in [0, 1].
        std: the standard deviation of each channel; pixels are divided by it.
        device: the device of its weights.
        dtype: the floating type of its weights and activations.
    """

    name: str
    source: str
    model: Any
    tokenizer: Any
    mean: Channels
    std: Channels
    device: torch.device
    dtype: torch.dtype

    @property
    def revision(self) -> str | None:
        """The commit on the hub that it was downloaded from; None for a user's folder."""
        return revision_of(self.source)

    @property
    def image_size(self) -> int:
        """The side of the square images that it was trained on, in pixels (224 for ViT-B/16)."""
        return int(self.model.config.vision_config.image_size)

    @property
    def patch_size(self) -> int:
        """The side of a patch, in pixels."""
        return int(self.model.config.vision_config.patch_size)

    @property
    def blocks(self) -> int:
        """The number of blocks of its image transformer (12 for ViT-B/16)."""
        return int(self.model.config.vision_config.num_hidden_layers)

    @property
    def max_tokens(self) -> int:
        """The greatest number of tokens of a text, with its start and end tokens."""
        limit: int = self.model.config.text_config.max_position_embeddings
        return min(limit, int(self.tokenizer.model_max_length))

    @property
    def scale(self) -> float:
        """The factor of cosines before their softmax (100 for OpenAI's CLIPs)."""
        return math.exp(float(self.model.logit_scale))

    def fingerprint(self) -> str:
        """Return a short digest of its weights, which identifies the model."""
        return fingerprint((self.model,))


def load_clip(name: str, *, device: torch.device, dtype: torch.dtype) -> ClipModel:
    """Return a CLIP, loaded from safetensors files; those in half precision come first.

    Args:
        name: `tiny-clip` (embedded), a hub id `owner/name`, of one revision `owner/name@revision`,
            or a folder in transformers format.
        device: the device for its weights.
        dtype: the floating type of its weights.

    Raises:
        ModelNotFoundError: it cannot be found; the message says what was tried.
    """
    source = str(TINY_CLIP) if name == "tiny-clip" else name
    folder = Path(source)
    if name != "tiny-clip" and not folder.is_dir() and not is_hub_id(name):
        raise ModelNotFoundError(
            f"CLIP {name} is neither tiny-clip, a folder that exists nor a hub id owner/name or "
            "owner/name@revision; check the setting clip.model"
        )
    try:
        if name != "tiny-clip" and not folder.is_dir():
            repository, _, revision = name.partition("@")
            folder = find_snapshot(repository, LAYOUT, revision=revision or None)
        with quietly():
            return _load(name, folder, device, dtype)
    except (OSError, ValueError) as error:
        if folder.is_dir():
            raise ModelNotFoundError(
                f"CLIP {name} could not be loaded: {first_line(error)}"
            ) from None
        raise ModelNotFoundError(
            f"CLIP {name} could not be loaded; tried {source} ({first_line(error)}). Set clip.model"
            " to a folder in transformers format with safetensors weights, or get one on a machine "
            f"with a network: `hf download {CLIP_B16}`. --set clip.model=tiny-clip works offline"
        ) from None


def _load(name: str, folder: Path, device: torch.device, dtype: torch.dtype) -> ClipModel:
    path = folder / "config.json"
    kind = read_object(path).get("model_type") if path.exists() else "clip"
    if kind != "clip":
        raise OSError(f"{path} is of a model of type {kind}, and only clip is read")
    model = load_part(CLIPModel, folder, stem="model", dtype=dtype)
    mean, std = _channels(folder / PREPROCESSOR)
    return ClipModel(
        name=name,
        source=str(folder),
        model=model.to(device).eval().requires_grad_(False),
        tokenizer=load_tokenizer(folder, model.config.text_config, check_end=True),
        mean=mean,
        std=std,
        device=device,
        dtype=dtype,
    )


def _channels(path: Path) -> tuple[Channels, Channels]:
    """Return mean and standard deviation of a preprocessor's file; without a file OpenAI's."""
    values = read_object(path) if path.is_file() else {}
    mean, std = values.get("image_mean", MEAN), values.get("image_std", STD)
    return _triple(mean, path), _triple(std, path)


def _triple(values: Any, path: Path) -> Channels:
    try:
        red, green, blue = (float(value) for value in values)
    except (TypeError, ValueError):
        raise OSError(f"{path} must give image_mean and image_std as three numbers each") from None
    return red, green, blue
