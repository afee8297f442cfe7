"""From a model's name or folder to the parts of Stable Diffusion that read attention."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from transformers import CLIPTextModel

from iseg_cli.backbones.families import refuse_folder
from iseg_cli.backbones.noise_schedule import load_noise_schedule
from iseg_cli.backbones.sources import (
    LAYOUT,
    STEMS,
    TAESD,
    TAESD_LAYOUT,
    download_command,
    find_folder,
    sources,
)
from iseg_cli.backbones.vocabulary import load_tokenizer
from iseg_cli.backbones.weights import fingerprint, first_line, load_part, quietly, revision_of
from iseg_cli.config.backbone import named_backbone
from iseg_cli.errors import ModelNotFoundError, SettingsError

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
"""The floating types that a model can be asked to compute in."""

UNUSED = ("decoder.", "post_quant_conv.")
"""The beginnings of the autoencoder's weights that only drawing needs; a file may lack them."""


@dataclass(frozen=True, eq=False)
class DiffusionModel:
    """The parts of a Stable Diffusion model that one forward pass needs, in evaluation mode.

    The autoencoder has a decoder only if `load_model` was asked for it: attention needs none.

    Attributes:
        name: as the user gave it (`tiny`, `sd2.1-base`, a hub id, a folder).
        source: the folder that it was loaded from; for a hub model it ends in the revision.
        device: the device of its weights.
        dtype: the floating type of its weights and activations.
    """

    name: str
    source: str
    vae: Any
    text_encoder: Any
    tokenizer: Any
    unet: Any
    scheduler: Any
    device: torch.device
    dtype: torch.dtype

    @property
    def revision(self) -> str | None:
        """The commit on the hub that was downloaded; None for a folder of the user's."""
        return revision_of(self.source)

    @property
    def latent_side(self) -> int:
        """L: the side of the latent grid at the model's own image size (64 for SD 2.1-base)."""
        size = self.unet.config.sample_size
        return int(size if isinstance(size, int) else size[0])

    @property
    def vae_factor(self) -> int:
        """Pixels of the image per position of the latent grid, along one side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def image_size(self) -> int:
        """The side of the square images that the model takes, in pixels (512 for SD 2.1-base)."""
        return self.latent_side * self.vae_factor

    @property
    def max_tokens(self) -> int:
        """The greatest number of tokens of a prompt, its start and end among them."""
        limit: int = self.text_encoder.config.max_position_embeddings
        return min(limit, int(self.tokenizer.model_max_length))

    def fingerprint(self) -> str:
        """Return a short digest of its weights: it tells two models apart."""
        return fingerprint((self.vae, self.text_encoder, self.unet))


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of a name; `auto` takes CUDA, then Apple's MPS, then the CPU.

    Raises:
        SettingsError: the device is not on this machine.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise SettingsError(
            f"device {name} is none that PyTorch knows; pass --device auto, cpu or cuda"
        ) from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingsError(
            f"device {name} is not on this machine ({torch.cuda.device_count()} CUDA devices are); "
            "pass --device auto or --device cpu"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise SettingsError("device mps is not on this machine; pass --device auto or --device cpu")
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the floating type of a name; `auto` is float16 on CUDA and float32 elsewhere.

    Raises:
        SettingsError: there is no such type.
    """
    if name == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    if name not in DTYPES:
        raise SettingsError(f"there is no dtype {name}; pass auto or one of {', '.join(DTYPES)}")
    return DTYPES[name]


def load_model(
    name: str,
    *,
    device: torch.device | None = None,
    dtype: torch.dtype | None = None,
    decoder: bool = False,
    vae: str = "own",
) -> DiffusionModel:
    """Return a model, loaded from safetensors files; half precision is preferred.

    Args:
        name: that of a backbone, such as `tiny` (embedded) or `sd2.1-base`; a hub id `owner/name`
            or `owner/name@revision`; or a folder in diffusers format.
        device: its device; None as `choose_device("auto")`.
        dtype: its floating type; None as `choose_dtype("auto", device)`.
        decoder: keep the part of the autoencoder that turns latents into images.
        vae: `own`; or `taesd`, a hub id or a folder of an AutoencoderTiny that replaces it.

    Raises:
        ModelNotFoundError: it cannot be found or loaded; the message says what was tried.
    """
    device = device or choose_device()
    dtype = dtype or choose_dtype("auto", device)
    tiny_vae = None if vae == "own" else _load_tiny_vae(vae, dtype)
    tried = []
    for source in sources(name):
        try:
            folder = find_folder(source, LAYOUT, lambda there: _refuse(name, there))
            _refuse(name, folder)
            with _quietly():
                return _load_parts(name, folder, tiny_vae, device, dtype, decoder=decoder)
        except (OSError, ValueError) as error:
            if Path(source).is_dir():
                raise ModelNotFoundError(
                    f"model {name} could not be loaded: {first_line(error)}"
                ) from None
            tried.append(f"{source} ({first_line(error)})")
    repository = named_backbone(name).hub[0]
    raise ModelNotFoundError(
        f"model {name} could not be loaded; tried {'; '.join(tried)}. Pass --model a folder in "
        f"diffusers format with safetensors weights, or get one on a machine with a network: "
        f"`{download_command(repository)}`. --model tiny works offline"
    )


def _refuse(name: str, folder: Path) -> None:
    """Raise ModelNotFoundError for a model of another family, OSError for an incomplete one."""
    reason = refuse_folder(folder)
    if reason is not None:
        raise ModelNotFoundError(f"model {name} {reason}")


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep the libraries' progress bars off the terminal; weights take a moment."""
    is_shown = getattr(diffusers_logging, "is_progress_bar_enabled", lambda: True)()
    diffusers_logging.disable_progress_bar()
    try:
        with quietly():
            yield
    finally:
        if is_shown:
            diffusers_logging.enable_progress_bar()


def _load_parts(
    name: str,
    folder: Path,
    tiny_vae: Any,
    device: torch.device,
    dtype: torch.dtype,
    *,
    decoder: bool,
) -> DiffusionModel:
    """Return a model's parts; those that load fast are loaded first, since they may be refused."""
    scheduler = load_noise_schedule(folder / "scheduler")
    stem = STEMS["text_encoder"]
    text_encoder = load_part(CLIPTextModel, folder / "text_encoder", stem=stem, dtype=dtype)
    tokenizer = load_tokenizer(folder / "tokenizer", text_encoder.config)
    vae = tiny_vae or _load_vae(folder / "vae", dtype, decoder)
    unet = load_part(UNet2DConditionModel, folder / "unet", torch_dtype=dtype)
    for module in (vae, text_encoder, unet):
        module.to(device).eval().requires_grad_(False)
    for module in (vae, unet):  # makes convolutions faster on a GPU and on a CPU
        module.to(memory_format=torch.channels_last)
    return DiffusionModel(
        name=name,
        source=str(folder),
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        device=device,
        dtype=dtype,
    )


def _load_vae(folder: Path, dtype: torch.dtype, decoder: bool) -> Any:
    if not decoder:
        vae = load_part(AutoencoderKL, folder, unused=UNUSED, torch_dtype=dtype)
        del vae.decoder, vae.post_quant_conv
        return vae
    try:
        return load_part(AutoencoderKL, folder, torch_dtype=dtype)
    except OSError as error:
        raise OSError(f"drawing needs the decoder: {error}") from None


def _load_tiny_vae(name: str, dtype: torch.dtype) -> Any:
    """Return an AutoencoderTiny by name; ModelNotFoundError says what was tried."""
    source = TAESD if name == "taesd" else name
    try:
        with _quietly():
            return load_part(AutoencoderTiny, find_folder(source, TAESD_LAYOUT), torch_dtype=dtype)
    except (OSError, ValueError) as error:
        raise ModelNotFoundError(
            f"the autoencoder {name} could not be loaded: {source} ({first_line(error)}); pass "
            f"--vae own, or a folder of an AutoencoderTiny with safetensors weights"
        ) from None
