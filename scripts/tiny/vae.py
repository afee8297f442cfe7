"""The VAE: an AutoencoderKL of 0.23 M weights that divides the side by 4."""

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from tiny.store import SceneStore, open_store
from tiny.training import (
    Average,
    append_row,
    falling_rate,
    load_checkpoint,
    mark_running,
    save_checkpoint,
)

log = logging.getLogger(__name__)
STEPS = 3500
BATCH = 16
SIDE = 64
SAVE_EVERY = 400
KL_WEIGHT = 1e-6  # at 2e-5 one of the four channels died
DEAD = 0.2  # a channel that varies less than this share of the widest one carries nothing
CHROMA_WEIGHT = 1.0  # errors of hue cost as much again: a shorter run lost the hues
EDGE_WEIGHT = 0.5


def build_vae() -> AutoencoderKL:
    """A fresh VAE: Stable Diffusion's blocks, narrow and without attention."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 32),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=128,
        mid_block_add_attention=False,
    )


def to_tensor(images: npt.NDArray[Any]) -> Tensor:
    """Images [n, h, w, 3] uint8 as [n, 3, h, w] in [-1, 1]."""
    pixels = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float()
    return pixels.div_(127.5).sub_(1).contiguous()


def draw_batch(small: SceneStore, large: SceneStore) -> Tensor:
    """Half whole scenes of 64 px, half crops of 64 px from scenes of 128 px."""
    whole = small.images[torch.randint(len(small.images), (BATCH // 2,)).numpy()]
    crops = []
    for index in torch.randint(len(large.images), (BATCH - BATCH // 2,)).tolist():
        top, left = torch.randint(large.images.shape[1] - SIDE + 1, (2,)).tolist()
        crops.append(large.images[index, top : top + SIDE, left : left + SIDE])
    return to_tensor(np.concatenate([whole, np.stack(crops)]))


def reconstruction_loss(output: Tensor, target: Tensor) -> Tensor:
    """L1 and MSE of colors, the same of hue alone, and L1 of differences between neighbours."""
    error = output - target
    hue = error - error.mean(dim=1, keepdim=True)
    edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    loss = error.abs().mean() + error.square().mean() + EDGE_WEIGHT * edges
    return loss + CHROMA_WEIGHT * (hue.abs().mean() + hue.square().mean())


@torch.no_grad()
def channel_spread(vae: AutoencoderKL, images: Tensor) -> Tensor:
    """Standard deviation [channels] of the posterior means over images and positions."""
    spread: Tensor = vae.encode(images).latent_dist.mean.std(dim=(0, 2, 3))
    return spread


@torch.no_grad()
def revive_channels(vae: AutoencoderKL, images: Tensor) -> None:
    """Draw the weights of dead latent channels anew; the others give what they gave.

    A channel whose mean hardly varies is noise to the decoder and gets no gradient: the penalty
    on it costs nothing and the decoder ignores it, so training goes on without it for ever.
    """
    spread = channel_spread(vae, images)
    dead = spread < DEAD * spread.max()
    count = len(dead)
    fold = vae.quant_conv.weight[:, :, 0, 0]  # folded into the layer before, it becomes identity
    last = vae.encoder.conv_out
    last.weight.copy_(torch.einsum("on,nihw->oihw", fold, last.weight))
    last.bias.copy_(fold @ last.bias + vae.quant_conv.bias)
    fold.copy_(torch.eye(2 * count))
    vae.quant_conv.bias.zero_()
    for channel in dead.nonzero().flatten().tolist():
        torch.nn.init.kaiming_uniform_(last.weight[channel])
        last.bias[channel] = 0
        last.weight[count + channel] = 0
        last.bias[count + channel] = -4.0  # log variance: little noise from the start
        torch.nn.init.normal_(vae.post_quant_conv.weight[:, channel], std=0.3)
    log.info("VAE: channels %s revived", dead.nonzero().flatten().tolist())


def keep_vae(work: Path, start: Path) -> None:
    """Take the VAE of the model folder `start` as it is; training it then has nothing to do."""
    if not (work / "vae").exists():
        shutil.copytree(start / "vae", work / "vae.part", dirs_exist_ok=True)
        (work / "vae.part").rename(work / "vae")


def train_vae(work: Path, *, seed: int, steps: int = STEPS, start: Path | None = None) -> None:
    """Train from the last checkpoint on, then save averaged weights to `work/vae`.

    A fresh training begins from the model folder `start`, dead channels revived, if it is given.
    """
    if (work / "vae" / "config.json").exists():
        return
    torch.manual_seed(seed)
    vae = build_vae().train()
    held_out = to_tensor(open_store(work, "choice").images[:200])
    if start is not None:
        vae.load_state_dict(load_file(start / "vae" / "diffusion_pytorch_model.safetensors"))
        revive_channels(vae, held_out)
    parameters = list(vae.parameters())
    average = Average(parameters, longest=0.998)
    optimiser = torch.optim.AdamW(
        parameters, lr=0.0, betas=(0.9, 0.99), weight_decay=0.0, foreach=True
    )
    checkpoint = work / "vae-checkpoint"
    progress = load_checkpoint(checkpoint, vae, optimiser, average)
    small, large = open_store(work, "fit64"), open_store(work, "fit128")
    mark_running(work)
    peak = 3e-3 if start is None else 1.5e-3
    while progress.step < steps:
        rate = falling_rate(progress.step, steps=steps, warmup=100, peak=peak, last=5e-5)
        for group in optimiser.param_groups:
            group["lr"] = rate
        images = draw_batch(small, large)
        posterior = vae.encode(images).latent_dist
        output = vae.decode(posterior.sample()).sample
        loss = reconstruction_loss(output, images) + KL_WEIGHT * posterior.kl().mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        average.update(progress.step)
        progress.step += 1
        progress.samples += BATCH
        if progress.step % 50 == 0:
            ratio = -10 * torch.log10(functional.mse_loss(output, images) / 4).item()
            log.info("VAE step %d loss %.4f PSNR %.2f", progress.step, loss.item(), ratio)
        if progress.step % SAVE_EVERY == 0:
            save_checkpoint(checkpoint, vae, optimiser, average, progress)
    average.swap()
    vae.eval()
    with torch.no_grad():
        latents = vae.encode(held_out).latent_dist.mean
        output = vae.decode(latents).sample.clamp(-1, 1)
    ratio = -10 * torch.log10(functional.mse_loss(output, held_out) / 4).item()
    vae.register_to_config(scaling_factor=1 / latents.std().item())
    spread = [round(value, 3) for value in channel_spread(vae, held_out).tolist()]
    append_row(work / "vae.csv", {"steps": steps, "samples": progress.samples, "psnr": ratio})
    log.info("VAE done: %.2f dB on held-out scenes, channels %s", ratio, spread)
    vae.save_pretrained(work / "vae.part")
    (work / "vae.part").rename(work / "vae")


@torch.no_grad()
def cache_latents(work: Path, split: str) -> npt.NDArray[Any]:
    """Scaled posterior means of a split [n, 4, L, L] in float16, encoded once."""
    path = work / "scenes" / f"{split}-latents.npy"
    if not path.exists():
        vae = AutoencoderKL.from_pretrained(work / "vae").eval()
        images = open_store(work, split).images
        parts = []
        for start in range(0, len(images), 100):
            mean = vae.encode(to_tensor(images[start : start + 100])).latent_dist.mean
            parts.append((mean * vae.config.scaling_factor).half().numpy())
        partial = path.with_suffix(".part.npy")
        np.save(partial, np.concatenate(parts))
        partial.replace(path)
    latents: npt.NDArray[Any] = np.load(path)
    return latents
