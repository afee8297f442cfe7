"""Where models are: names, folders and hub ids; and which files of a repository are needed."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from iseg_cli.backbones.families import INDEX
from iseg_cli.backbones.hub import Layout, find_file, find_snapshot, is_hub_id
from iseg_cli.backbones.single_files import SINGLE_FILES, refuse_file
from iseg_cli.backbones.weight_files import read_object
from iseg_cli.config.backbone import backbone_names, read_backbone
from iseg_cli.errors import ModelNotFoundError

STEMS = {
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
    "unet": "diffusion_pytorch_model",
}
"""The beginning of the names of a part's weights, as diffusers and transformers write them."""
LAYOUT = Layout(
    weights=tuple(f"{part}/{stem}" for part, stem in STEMS.items()),
    needed=("tokenizer/*", "scheduler/*", *(f"{part}/config.json" for part in STEMS)),
    useful=(INDEX,),
)
"""The files of a model in diffusers format that iseg needs."""

TAESD = "madebyollin/taesd"
"""A tiny autoencoder for the latents of Stable Diffusion 1 and 2."""

TAESD_LAYOUT = Layout(weights=("diffusion_pytorch_model",), needed=("config.json",))
"""The files of a tiny autoencoder that iseg needs."""


def sources(name: str) -> tuple[str, ...]:
    """Return the folders and hub ids that a model's name stands for, in the order of trying them.

    Raises:
        ModelNotFoundError: neither the name of a backbone nor a folder that exists nor a hub id.

    Example:
        >>> sources("sd1.5")
        ('stable-diffusion-v1-5/stable-diffusion-v1-5',)
    """
    if name in backbone_names():
        backbone = read_backbone(name)
        return backbone.hub if backbone.folder is None else (str(backbone.folder), *backbone.hub)
    path = Path(name)
    if path.is_file():
        raise ModelNotFoundError(f"model {name} {refuse_file(path)}")
    if not path.is_dir() and path.suffix in SINGLE_FILES:
        raise ModelNotFoundError(f"model {name} is no file that exists; check --model")
    if not path.is_dir() and not is_hub_id(name):
        raise ModelNotFoundError(
            f"model {name} is none of {', '.join(backbone_names())}, no folder that exists and no "
            "hub id owner/name or owner/name@revision; check --model"
        )
    return (name,)


def download_command(repository: str) -> str:
    """Return the command that downloads the files of a hub model that iseg needs, and no others.

    Of Stable Diffusion 2.1-base these are 2.58 GB.
    """
    return (
        f"hf download {repository} --include {INDEX} --include 'tokenizer/*' "
        "--include 'scheduler/*' --include '*/config.json' --include '*.fp16.safetensors'"
    )


def find_folder(source: str, layout: Layout, check: Callable[[Path], None] | None = None) -> Path:
    """Return the folder of a source: itself, or the one that the hub has for it."""
    repository, _, revision = source.partition("@")
    folder = Path(source)
    if folder.is_dir():
        return folder
    return find_snapshot(repository, layout, revision=revision or None, check=check)


def unet_config(name: str) -> Mapping[str, Any] | None:
    """Return the configuration of a model's UNet; the model is not loaded.

    Args:
        name: as for `load_model`; of a hub model this small file alone is downloaded.

    Returns:
        None where it cannot be found; `load_model` says why.
    """
    try:
        for source in sources(name):
            repository, _, revision = source.partition("@")
            path = Path(source, "unet", "config.json")
            if not Path(source).is_dir():
                path = find_file(repository, "unet/config.json", revision=revision or None)
            return read_object(path)
    except (OSError, ModelNotFoundError):
        pass
    return None
