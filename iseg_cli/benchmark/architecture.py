"""Stable Diffusion 2.1's architecture with random weights, written without any download.

Time and memory of a model do not depend on its weights. The masks of this model mean nothing.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from iseg_cli.backbones.weights import quietly
from iseg_cli.config.resources import TINY_MODEL

UNET: dict[str, Any] = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "attention_head_dim": (5, 10, 20, 20),
    "cross_attention_dim": 1024,
    "use_linear_projection": True,
}
VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 768,
    "scaling_factor": 0.18215,
}
TEXT_ENCODER: dict[str, Any] = {
    "vocab_size": 49408,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "projection_dim": 512,
    "num_hidden_layers": 23,
    "num_attention_heads": 16,
    "max_position_embeddings": 77,
    "hidden_act": "gelu",
}
SCHEDULER: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "clip_sample": False,
}
"""The configurations of stable-diffusion-2-1-base; all other values are diffusers' defaults."""

PROJECTION_STD = 1.5
"""Standard deviation of the UNet's projections to queries and keys, times the root of their width.

With this value attention is far from uniform.
"""


def write_sd21_architecture(folder: Path, *, seed: int = 0) -> None:
    """Write a model of SD 2.1's architecture in diffusers format, 2.5 GB in half precision.

    The same seed gives the same weights. The tokenizer is that of the embedded model. Its smaller
    vocabulary needs more tokens for some words; it is filled up with tokens that no text has.

    Args:
        folder: the folder of the model; made if missing.
        seed: the seed of the weights.
    """
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        _save_half(folder / "unet", _build_unet)
        _save_half(folder / "vae", lambda: AutoencoderKL(**VAE))
        _save_half(folder / "text_encoder", lambda: CLIPTextModel(CLIPTextConfig(**TEXT_ENCODER)))
    tokenizer = CLIPTokenizer.from_pretrained(
        TINY_MODEL / "tokenizer", model_max_length=77, local_files_only=True
    )
    tokenizer.save_pretrained(folder / "tokenizer")
    _fill_vocabulary(folder / "tokenizer" / "tokenizer.json", size=TEXT_ENCODER["vocab_size"])
    DDIMScheduler(**SCHEDULER).save_pretrained(folder / "scheduler")
    index = json.dumps({"_class_name": "StableDiffusionPipeline"})
    (folder / "model_index.json").write_text(index, "utf-8")


def _fill_vocabulary(path: Path, *, size: int) -> None:
    """Add unused tokens to a tokenizer, so that it has as many as its text encoder."""
    content = json.loads(path.read_text("utf-8"))
    vocabulary: dict[str, int] = content["model"]["vocab"]
    first = max(vocabulary.values()) + 1
    vocabulary.update({f"<|unused-{number}|>": number for number in range(first, size)})
    path.write_text(json.dumps(content, ensure_ascii=False), "utf-8")


def _build_unet() -> Any:
    """Return a UNet whose attention is far from uniform."""
    unet = UNet2DConditionModel(**UNET)
    for name, weight in unet.named_parameters():
        if name.endswith(("to_q.weight", "to_k.weight")):
            torch.nn.init.normal_(weight, std=PROJECTION_STD * weight.shape[1] ** -0.5)
    return unet


def _save_half(folder: Path, build: Callable[[], Any]) -> None:
    """Write a part of the model in float16; it is also built in float16, to save memory."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float16)
    try:
        module = build()
    finally:
        torch.set_default_dtype(before)
    with quietly():
        module.save_pretrained(folder, safe_serialization=True, variant="fp16")
