"""Which family a folder of weights belongs to, told before any weights are loaded.

Only Stable Diffusion 1 and 2 and what has their layout can be read; anything else is named, with
what to do about it.
"""

import struct
from collections.abc import Mapping
from json import loads
from pathlib import Path
from typing import Any

from iseg_cli.backbones.unet_layout import CROSS_ATTENTION, attention_layout
from iseg_cli.backbones.weight_files import read_object

INDEX = "model_index.json"
SUPPORTED = (
    "iseg reads Stable Diffusion 1 and 2 and models of their layout (fine-tuned, LCM, Turbo)"
)
CONVERT = (
    "convert it to a folder in diffusers' format "
    "(StableDiffusionPipeline.from_single_file(FILE).save_pretrained(FOLDER)) and pass --model "
    "FOLDER"
)
MERGE_LORA = (
    "merge it into the model it was trained for (load_lora_weights, fuse_lora, "
    "unload_lora_weights and save_pretrained of diffusers) and pass --model that folder"
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
"""How the names of pipelines begin that cannot be read, and what the family is called."""

CHANNELS = {
    5: "a depth-to-image UNet",
    7: "an upscaling UNet",
    8: "a UNet that takes a second image (as InstructPix2Pix and Marigold have)",
    9: "an inpainting UNet",
}
"""Kinds of UNets by their number of input channels; one that can be read has those of a latent."""

SINGLE_FILES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf", ".onnx", ".msgpack")


def refuse_file(path: Path) -> str:
    """Return why a single file cannot be read as a model, in words that follow its name."""
    if path.suffix == ".safetensors":
        keys = _weight_names(path)
        if keys is None:
            return "is not a readable safetensors file"
        if _is_lora(keys):
            return f"is a LoRA and not a model, and LoRA is not supported yet: {MERGE_LORA}"
    elif path.suffix not in SINGLE_FILES:
        return "is a file, not a folder in diffusers' format"
    return f"is a single file of weights, which is not supported yet: {CONVERT}"


def refuse_folder(folder: Path) -> str | None:
    """Return why a folder cannot be read, in words that follow its name; None where it can.

    Raises:
        OSError: a file that is missing or broken; it is named.
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


def lora_files(folder: Path) -> list[Path]:
    """Return the files with LoRA weights that lie in a model's folder, which nothing reads."""
    found = []
    for place in (folder, folder / "unet", folder / "text_encoder"):
        for path in sorted(place.glob("*.safetensors")) if place.is_dir() else ():
            is_part = path.name.startswith(("diffusion_pytorch_model.", "model."))
            if not is_part and _is_lora(_weight_names(path) or ()):
                found.append(path)
    return found


def _family(name: str) -> str | None:
    return next((family for start, family in FAMILIES if name.startswith(start)), None)


def _other_parts(folder: Path) -> bool:
    """Tell whether a folder has parts of another family: it is no Stable Diffusion cut short."""
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
    """Return why a UNet cannot be read, or does not fit the parts beside it."""
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
    """Raise OSError for a sample_size that is no side of a square."""
    size = unet.get("sample_size")
    sides = size if isinstance(size, list) else [size, size]
    if len(sides) != 2 or sides[0] != sides[1] or not isinstance(sides[0], int) or sides[0] < 1:
        raise OSError(f"{path} has sample_size {size!r}; it must be the side of the square latents")


def _refuse_other(folder: Path) -> str:
    """Return what a folder is that has no part of Stable Diffusion."""
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    weights = [folder / name for name in names if name.endswith(".safetensors")]
    if any(_is_lora(_weight_names(path) or ()) for path in weights):
        return f"holds a LoRA and no model, and LoRA is not supported yet: {MERGE_LORA}"
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
        return (
            f"holds a single file of weights ({single[0]}), which is not supported yet: {CONVERT}"
        )
    if (folder / "transformer").is_dir():
        return f"has a transformer in place of a UNet, which is not supported; {SUPPORTED}"
    return (
        f"holds no model: {INDEX} and the parts unet, vae, text_encoder, tokenizer and scheduler "
        "are missing"
    )


def _weight_names(path: Path) -> list[str] | None:
    """Return the names of the weights in a safetensors file; None where it is none."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = loads(file.read(min(length, 2**27)))
    except (OSError, ValueError, struct.error, RecursionError):
        return None
    return [str(name) for name in header] if isinstance(header, dict) else None


def _is_lora(names: Any) -> bool:
    return any("lora_" in name or ".lora." in name or ".hada_" in name for name in names)


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'AEIO' else 'a'} {kind}"
