"""Which family of models a folder belongs to, told before any weights are loaded.

Only Stable Diffusion 1 and 2 and models of their layout can be read. A folder of any other family
is refused with its name and with advice for the user.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iseg_cli.backbones.single_files import (
    CONVERT,
    MERGE_LORA,
    SINGLE_FILES,
    is_lora,
    weight_names,
)
from iseg_cli.backbones.unet_layout import CROSS_ATTENTION, attention_layout
from iseg_cli.backbones.weight_files import read_object

INDEX = "model_index.json"
SUPPORTED = (
    "iseg reads Stable Diffusion 1 and 2 and models of their layout (fine-tuned, LCM, Turbo)"
)
FAMILIES: tuple[tuple[str, str], ...] = (
    ("StableDiffusionXL", "Stable Diffusion XL"),
    ("StableDiffusion3", "Stable Diffusion 3"),
    ("StableDiffusionImageVariation", "Stable Diffusion Image Variations"),
    ("StableDiffusionLatentUpscale", "the latent upscaler of Stable Diffusion"),
    ("StableVideoDiffusion", "Stable Video Diffusion"),
    ("StableAudio", "Stable Audio"),
    ("StableCascade", "Stable Cascade"),
    ("StableUnCLIP", "Stable unCLIP"),
    ("Flux2", "FLUX.2"),
    ("Flux", "FLUX.1"),
    ("PixArt", "PixArt"),
    ("Sana", "Sana"),
    ("QwenImage", "Qwen-Image"),
    ("ZImage", "Z-Image"),
    ("AuraFlow", "AuraFlow"),
    ("Lumina", "Lumina"),
    ("HunyuanDiT", "Hunyuan-DiT"),
    ("Hunyuan", "Hunyuan"),
    ("HiDream", "HiDream"),
    ("CogVideo", "CogVideoX"),
    ("CogView", "CogView"),
    ("Chroma", "Chroma"),
    ("Kolors", "Kolors"),
    ("Kandinsky", "Kandinsky"),
    ("Wuerstchen", "Wuerstchen"),
    ("Wan", "Wan"),
    ("LTX", "LTX-Video"),
    ("Mochi", "Mochi"),
    ("OmniGen", "OmniGen"),
    ("UnCLIP", "unCLIP"),
    ("IF", "DeepFloyd IF"),
    ("DiT", "DiT"),
    ("AltDiffusion", "AltDiffusion"),
    ("VersatileDiffusion", "Versatile Diffusion"),
    ("UniDiffuser", "UniDiffuser"),
    ("PaintByExample", "Paint by Example"),
    ("Amused", "aMUSEd"),
    ("LDM", "latent diffusion"),
    ("AudioLDM", "AudioLDM"),
    ("Shap", "Shap-E"),
    ("OnnxStableDiffusion", "Stable Diffusion in ONNX format"),
)
"""The beginning of the name of a pipeline that cannot be read, and the name of its family."""

CHANNELS = {
    5: "a depth-to-image UNet",
    7: "an upscaling UNet",
    8: "a UNet that takes a second image (as InstructPix2Pix and Marigold have)",
    9: "an inpainting UNet",
}
"""Kinds of UNets that cannot be read, by their number of input channels."""


def refuse_folder(folder: Path) -> str | None:
    """Return why a folder cannot be read, None where it can; the text follows the folder's name.

    Raises:
        OSError: a file is missing or broken; the message names it.
    """
    index = folder / INDEX
    if index.exists():
        name = read_object(index).get("_class_name")
        if not isinstance(name, str):
            raise OSError(f"{index} names no class of pipeline (_class_name)")
        family = _family(name)
        if family is not None:
            return f"is {family} ({name}), which is not supported; {SUPPORTED}"
    elif not any((folder / part).is_dir() for part in ("unet", "vae", "text_encoder")):
        return _refuse_other(folder)
    elif (folder / "transformer").is_dir() and not (folder / "unet").is_dir():
        return f"has a transformer in place of a UNet, which is not supported; {SUPPORTED}"
    if index.exists() and not (folder / "unet").is_dir():
        name = read_object(index)["_class_name"]
        if _other_parts(folder):
            return f"is a {name} without a UNet, which is not supported; {SUPPORTED}"
    return _refuse_parts(folder)


def _family(name: str) -> str | None:
    return next((family for start, family in FAMILIES if name.startswith(start)), None)


def _other_parts(folder: Path) -> bool:
    """Tell whether a folder has parts of another family than Stable Diffusion."""
    names = ("transformer", "prior", "decoder", "movq", "vqvae", "transformer_2", "dit")
    return any((folder / name).is_dir() for name in names)


def _refuse_parts(folder: Path) -> str | None:
    """Return why the parts of a model cannot be read, told from their configurations."""
    unet = read_object(folder / "unet" / "config.json")
    vae = read_object(folder / "vae" / "config.json")
    text = read_object(folder / "text_encoder" / "config.json")
    for part, config, wanted in (
        ("unet", unet, "UNet2DConditionModel"),
        ("vae", vae, "AutoencoderKL"),
    ):
        kind = config.get("_class_name")
        if not isinstance(kind, str):
            raise OSError(f"{folder / part / 'config.json'} names no class (_class_name)")
        if kind != wanted:
            return f"has {_article(kind)} as its {part}, not {_article(wanted)}; {SUPPORTED}"
    kinds = text.get("architectures") or [text.get("model_type")]
    kind = kinds[0] if isinstance(kinds, list) and kinds else None
    if not isinstance(kind, str):
        raise OSError(f"{folder / 'text_encoder' / 'config.json'} names no class (architectures)")
    if not kind.lower().replace("_", "").startswith("clip"):
        return f"has {_article(kind)} as its text_encoder, not a CLIPTextModel; {SUPPORTED}"
    return _refuse_unet(folder, unet, vae, text)


def _refuse_unet(
    folder: Path, unet: Mapping[str, Any], vae: Mapping[str, Any], text: Mapping[str, Any]
) -> str | None:
    """Return why a UNet cannot be read, or does not fit the other parts of its model."""
    path = folder / "unet" / "config.json"
    if unet.get("addition_embed_type") is not None:
        return f"has a UNet of Stable Diffusion XL's kind, which is not supported; {SUPPORTED}"
    if unet.get("encoder_hid_dim_type") is not None or unet.get("class_embed_type") is not None:
        return f"has a UNet that takes more than a text, which is not supported; {SUPPORTED}"
    channels, latent = unet.get("in_channels", 4), vae.get("latent_channels", 4)
    if channels != latent:
        kind = CHANNELS.get(channels if isinstance(channels, int) else 0, "a UNet")
        return (
            f"has {kind} ({channels} input channels where a latent has {latent}), which cannot be "
            "read; pass the text-to-image model that it was made from"
        )
    blocks = [unet.get("down_block_types", [CROSS_ATTENTION]), unet.get("up_block_types", [])]
    names = [name for kinds in blocks if isinstance(kinds, list | tuple) for name in kinds]
    if any(str(name).startswith("Simple") for name in names):
        return f"has a UNet of DeepFloyd's or Kandinsky's kind, which is not supported; {SUPPORTED}"
    try:
        layout = attention_layout(unet)
    except ValueError as error:
        raise OSError(f"{path}: {error}") from None
    if not layout:
        return f"has a UNet without cross-attention, which cannot be read; {SUPPORTED}"
    _side(path, unet)
    wanted, given = unet.get("cross_attention_dim", 1280), text.get("hidden_size", 512)
    if wanted != given and "text_config" not in text:
        return (
            f"has a text_encoder that gives {given} channels, but its unet takes {wanted}; the two "
            "are of different models"
        )
    return None


def _side(path: Path, unet: Mapping[str, Any]) -> None:
    """Raise OSError for a sample_size that is not the side of a square."""
    size = unet.get("sample_size")
    sides = size if isinstance(size, list) else [size, size]
    if len(sides) != 2 or sides[0] != sides[1] or not isinstance(sides[0], int) or sides[0] < 1:
        raise OSError(f"{path} has sample_size {size!r}; it must be the side of the square latents")


def _refuse_other(folder: Path) -> str:
    """Return why a folder without a part of Stable Diffusion cannot be read."""
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    weights = [folder / name for name in names if name.endswith(".safetensors")]
    if any(is_lora(weight_names(path) or ()) for path in weights):
        return f"holds a LoRA and no model, and LoRA is not supported: {MERGE_LORA}"
    if "config.json" in names:
        config = read_object(folder / "config.json")
        kind = config.get("_class_name") or config.get("model_type")
        if isinstance(kind, str) and "ControlNet" in kind:
            return (
                f"is a ControlNet ({kind}) and not a whole model; pass --model the folder of the "
                "Stable Diffusion that it belongs to"
            )
        if isinstance(kind, str):
            return (
                f"is one part of a model ({kind}) and not a whole one; pass --model the folder "
                f"with {INDEX} and the parts unet, vae, text_encoder, tokenizer and scheduler"
            )
    single = [name for name in names if Path(name).suffix in SINGLE_FILES]
    if single:
        return f"holds a single file of weights ({single[0]}), which is not supported: {CONVERT}"
    if (folder / "transformer").is_dir():
        return f"has a transformer in place of a UNet, which is not supported; {SUPPORTED}"
    return (
        f"holds no model: {INDEX} and the parts unet, vae, text_encoder, tokenizer and scheduler "
        "are missing"
    )


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'AEIO' else 'a'} {kind}"
