"""From images to the latents that the UNet takes, with the noise of a timestep."""

import numpy as np
import torch
from diffusers import AutoencoderTiny
from jaxtyping import UInt8
from torch import Tensor

from iseg_cli.backbones.loading import DiffusionModel
from iseg_cli.backbones.transfers import to_device
from iseg_cli.errors import SettingsError


def check_timestep(model: DiffusionModel, timestep: int, *, setting: str) -> None:
    """Raise SettingsError, naming the setting, for a timestep that the model does not have."""
    steps = model.scheduler.config.num_train_timesteps
    if timestep >= steps:
        raise SettingsError(
            f"{setting} is {timestep}, but this model's timesteps are 0 to {steps - 1}"
        )


def draw_noise(model: DiffusionModel, *, seed: int) -> Tensor:
    """Return the noise of every image, Float[1 channels side side], on the model's device.

    It is drawn on the CPU, so that it is the same on every device.
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    shape = (1, model.unet.config.in_channels, model.latent_side, model.latent_side)
    return torch.randn(shape, generator=generator).to(model.device)


def encode(
    model: DiffusionModel,
    images: UInt8[np.ndarray, "batch height width 3"],
    *,
    batch_size: int,
) -> Tensor:
    """Return the latents without noise, Float[batch_size channels side side] in float32.

    They are the mean of the autoencoder's posterior; nothing is drawn. The last image is repeated
    until the batch is full, so that every batch has the same shape.
    """
    pixels = to_device(torch.from_numpy(_fill(images, batch_size)), model.device)
    pixels = pixels.permute(0, 3, 1, 2).float().div(127.5).sub(1).to(model.dtype)
    encoded = model.vae.encode(pixels)
    if isinstance(model.vae, AutoencoderTiny):  # its latents are scaled already
        tiny: Tensor = encoded.latents.float()
        return tiny
    latents: Tensor = encoded.latent_dist.mean.float() * model.vae.config.scaling_factor
    return latents


def add_noise(model: DiffusionModel, latents: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
    """Return the latents with the noise level of a timestep, in the model's type.

    All three tensors are on the model's device.
    """
    noisy: Tensor = model.scheduler.add_noise(latents, noise.expand_as(latents), timestep)
    return noisy.to(model.dtype)


def _fill(images: np.ndarray, batch_size: int) -> np.ndarray:
    missing = batch_size - len(images)
    return np.concatenate([images, np.repeat(images[-1:], missing, axis=0)]) if missing else images
