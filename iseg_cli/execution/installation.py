"""What this installation has, for `iseg info`: versions, devices, models, datasets."""

import platform
from importlib.metadata import version

import torch

from iseg_cli.backbones.hub import is_downloaded
from iseg_cli.backbones.loading import choose_device, choose_dtype
from iseg_cli.backbones.sources import LAYOUT
from iseg_cli.clip.loading import CLIP_B16
from iseg_cli.clip.loading import LAYOUT as CLIP_LAYOUT
from iseg_cli.config.backbone import Backbone, backbone_names, read_backbone
from iseg_cli.config.resources import TINY_CLIP
from iseg_cli.errors import DatasetNotFoundError
from iseg_cli.execution.provenance import VERSIONS
from iseg_cli.readers.registry import DATASETS, find_root

Lines = list[tuple[str, str]]


def collect() -> dict[str, Lines]:
    """Return the lines of `iseg info` by topic, each a name and a value."""
    return {
        "Versions": [("python", platform.python_version()), *((v, version(v)) for v in VERSIONS)],
        "Devices": _devices(),
        "Models": _models(),
        "Datasets": [(name, _where(name)) for name in DATASETS],
    }


def _devices() -> Lines:
    best = choose_device()
    dtype = str(choose_dtype("auto", best)).removeprefix("torch.")
    lines = [("auto", f"{best} in {dtype}"), ("cpu", f"{torch.get_num_threads()} threads")]
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        memory = properties.total_memory / 2**30
        lines.append((f"cuda:{index}", f"{properties.name}, {memory:.0f} GiB"))
    return lines


def _models() -> Lines:
    clip = is_downloaded(CLIP_B16, CLIP_LAYOUT)
    return [
        *((name, _state(read_backbone(name))) for name in backbone_names()),
        ("tiny-clip", f"embedded, {TINY_CLIP}" if TINY_CLIP.is_dir() else "missing"),
        ("CLIP ViT-B/16", f"{'downloaded' if clip else 'not downloaded'}, {CLIP_B16}"),
    ]


def _state(backbone: Backbone) -> str:
    """Return where a backbone is: embedded, downloaded, or on the hub."""
    if backbone.folder is not None:
        return f"embedded, {backbone.folder}" if backbone.folder.is_dir() else "missing"
    downloaded = [repository for repository in backbone.hub if is_downloaded(repository, LAYOUT)]
    return f"downloaded, {downloaded[0]}" if downloaded else f"not downloaded, {backbone.hub[0]}"


def _where(name: str) -> str:
    info = DATASETS[name]
    if not info.inside and not info.embedded:
        return "any folder of images; pass --root"
    try:
        return f"found, {find_root(info)}"
    except DatasetNotFoundError:
        return f"not found; pass --root or set {info.environment}"
