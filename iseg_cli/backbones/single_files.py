"""Single files of weights: LoRAs and checkpoints, which are named and not read."""

import struct
from json import loads
from pathlib import Path
from typing import Any

CONVERT = (
    "convert it to a folder in diffusers' format "
    "(StableDiffusionPipeline.from_single_file(FILE).save_pretrained(FOLDER)) and pass --model "
    "FOLDER"
)
MERGE_LORA = (
    "merge it into the model it was trained for (load_lora_weights, fuse_lora, "
    "unload_lora_weights and save_pretrained of diffusers) and pass --model that folder"
)

SINGLE_FILES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf", ".onnx", ".msgpack")


def refuse_file(path: Path) -> str:
    """Return why a single file cannot be read as a model; the text follows the name of the file."""
    if path.suffix == ".safetensors":
        keys = weight_names(path)
        if keys is None:
            return "is not a readable safetensors file"
        if is_lora(keys):
            return f"is a LoRA and not a model, and LoRA is not supported: {MERGE_LORA}"
    elif path.suffix not in SINGLE_FILES:
        return "is a file, not a folder in diffusers' format"
    return f"is a single file of weights, which is not supported: {CONVERT}"


def lora_files(folder: Path) -> list[Path]:
    """Return the files with LoRA weights in a model's folder; nothing reads them."""
    found = []
    for part in (folder, folder / "unet", folder / "text_encoder"):
        for path in sorted(part.glob("*.safetensors")) if part.is_dir() else ():
            is_part = path.name.startswith(("diffusion_pytorch_model.", "model."))
            if not is_part and is_lora(weight_names(path) or ()):
                found.append(path)
    return found


def weight_names(path: Path) -> list[str] | None:
    """Return the names of the weights in a safetensors file; None for any other file."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = loads(file.read(min(length, 2**27)))
    except (OSError, ValueError, struct.error, RecursionError):
        return None
    return [str(name) for name in header] if isinstance(header, dict) else None


def is_lora(names: Any) -> bool:
    """Tell whether weights of these names are those of a LoRA."""
    return any("lora_" in name or ".lora." in name or ".hada_" in name for name in names)
