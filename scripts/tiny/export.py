"""Export: averaged weights in half precision, as a Stable Diffusion pipeline's folder."""

import json
import shutil
from pathlib import Path
from typing import Literal

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from safetensors.torch import load_file

from tiny.text import make_tokenizer, settle_unseen_words
from tiny.unet import Model, build_scheduler, set_sharpness

Weights = Literal["best", "last"]
SHARPNESS = 12.0  # c^2 of the frozen kernel, chosen on emoji-voc train: scripts/tiny/NOTES.md


def load_model(work: Path, weights: Weights) -> Model:
    """The UNet and text encoder with averaged weights: those that scored best, or the last ones."""
    folder = {"best": "unet-best", "last": "unet-checkpoint"}[weights]
    model = Model(make_tokenizer(work))
    model.load_state_dict(load_file(work / folder / "average.safetensors"))
    return model.eval()


def export_model(work: Path, target: Path, *, weights: Weights = "best") -> None:
    """Write the whole pipeline in float16 to `target`, replacing what lay there."""
    tokenizer = make_tokenizer(work)
    model = load_model(work, weights)
    settle_unseen_words(model.text, tokenizer)
    set_sharpness(model.unet, SHARPNESS)
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(work / "vae"),
        text_encoder=model.text,
        tokenizer=tokenizer,
        unet=model.unet,
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    partial = target.with_name(f"{target.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    pipeline.to(dtype=torch.float16).save_pretrained(partial, safe_serialization=True)
    # Transformers loads the half-precision weights as float32 then, as diffusers does.
    edit_config(partial / "text_encoder" / "config.json", dtype="float32")
    edit_config(partial / "vae" / "config.json", _name_or_path=None)
    for file in partial.rglob("*.safetensors"):
        file.chmod(0o644)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


def edit_config(config: Path, **changes: str | None) -> None:
    """Change entries of a config.json; None removes one (a path of the machine it was made on)."""
    settings = {**json.loads(config.read_text("utf-8")), **changes}
    kept = {key: value for key, value in settings.items() if changes.get(key, "") is not None}
    config.write_text(json.dumps(kept, indent=2) + "\n", "utf-8")
