"""Export of the CLIP: averaged weights in half precision, as transformers' folder."""

import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import CLIPImageProcessor

from tiny.clip import SIDE, build_clip
from tiny.clip_captions import make_clip_tokenizer
from tiny.export import edit_config


def export_clip(work: Path, target: Path) -> None:
    """Write model, tokenizer and preprocessor in float16 to `target`, replacing what lay there."""
    tokenizer = make_clip_tokenizer(work)
    clip = build_clip(tokenizer).eval()
    clip.load_state_dict(load_file(work / "clip-checkpoint" / "average.safetensors"))
    partial = target.with_name(f"{target.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    clip.to(torch.float16).save_pretrained(partial, safe_serialization=True)
    tokenizer.save_pretrained(partial)
    CLIPImageProcessor(
        size={"height": SIDE, "width": SIDE},
        crop_size={"height": SIDE, "width": SIDE},
        do_center_crop=False,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    ).save_pretrained(partial)
    # Transformers loads the half-precision weights as float32 then.
    edit_config(partial / "config.json", dtype="float32")
    edit_config(partial / "tokenizer_config.json", is_local=None, local_files_only=None)
    for file in partial.rglob("*.safetensors"):
        file.chmod(0o644)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
