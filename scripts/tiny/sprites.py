"""Sprites: emoji of six styles as RGBA pictures, fetched from npm and rasterised once."""

import io
import json
import re
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import resvg_py
from PIL import Image

from tiny.catalog import Catalog, Style

SIDE = 112  # longest side of a rasterised sprite
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Sprite:
    """One picture of one class in one style: premultiplied RGBA in [0, 1], cut to its ink."""

    category: int
    style: str
    icon: str
    rgba: Array


def fetch_style(style: Style, folder: Path) -> dict[str, Any]:
    """Return a style's icons.json, packing it from npm into `folder` unless it lies there."""
    unpacked = folder / style.name / "icons.json"
    if not unpacked.exists():
        archive = folder / f"iconify-json-{style.name}-{style.version}.tgz"
        if not archive.exists():
            folder.mkdir(parents=True, exist_ok=True)
            package = f"@iconify-json/{style.name}@{style.version}"
            subprocess.run(["npm", "pack", package], cwd=folder, check=True, capture_output=True)
        with tarfile.open(archive) as tar:
            member = tar.extractfile("package/icons.json")
            if member is None:
                raise FileNotFoundError(f"{archive} has no package/icons.json")
            unpacked.parent.mkdir(parents=True, exist_ok=True)
            unpacked.write_bytes(member.read())
    table: dict[str, Any] = json.loads(unpacked.read_text("utf-8"))
    return table


def to_svg(table: dict[str, Any], icon: str) -> str:
    """Wrap an iconify body into a whole SVG document of SIDE pixels."""
    entry = table["icons"][icon]
    width = entry.get("width", table.get("width", 16))
    height = entry.get("height", table.get("height", 16))
    box = f"{entry.get('left', 0)} {entry.get('top', 0)} {width} {height}"
    body = re.sub(r"<animate.*?/>", "", entry["body"])
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{SIDE}" height="{SIDE}" viewBox="{box}">{body}</svg>'
    )


def rasterise(svg: str) -> Array:
    """Draw an SVG as premultiplied float RGBA, cut to the box where alpha is visible."""
    data = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=SIDE, height=SIDE))
    rgba = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"), dtype=np.float32) / 255
    rgba = np.concatenate([rgba[..., :3] * rgba[..., 3:], rgba[..., 3:]], axis=2)
    rows, columns = np.nonzero(rgba[..., 3] > 0.1)
    return rgba[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def load_sprites(catalog: Catalog, work: Path) -> list[Sprite]:
    """All sprites of the catalog, cached in `work/sprites.npz`."""
    cache = work / "sprites.npz"
    if not cache.exists():
        pictures: dict[str, Array] = {}
        for style in catalog.styles:
            table = fetch_style(style, work / "packages")
            for category in catalog.categories:
                for icon in category.icons:
                    if icon in table["icons"] and f"{style.name}/{icon}" not in catalog.dropped:
                        picture = rasterise(to_svg(table, icon))
                        key = f"{category.id}/{style.name}/{icon}"
                        pictures[key] = np.round(picture * 255).astype(np.uint8)
        work.mkdir(parents=True, exist_ok=True)
        partial = work / "sprites.part.npz"
        # NumPy's stubs take any keyword for its own `allow_pickle`.
        np.savez_compressed(partial, **pictures)  # type: ignore[arg-type]
        partial.replace(cache)
    sprites = []
    with np.load(cache) as stored:
        for key in stored.files:
            number, name, icon = key.split("/")
            sprites.append(Sprite(int(number), name, icon, stored[key].astype(np.float32) / 255))
    return sprites
