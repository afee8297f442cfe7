"""Runs of `iseg` on some scenes of the embedded dataset."""

import shutil
from pathlib import Path

from click.testing import CliRunner, Result

from iseg_cli.cli import main
from iseg_cli.config.resources import embedded_dataset


def iseg(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def masks(folder: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in folder.glob("*.png")}


def emoji_root(folder: Path, image_ids: list[str]) -> Path:
    """Make a root of VOC's layout with some scenes of emoji-voc, its split `val` in this order."""
    source = embedded_dataset()
    for name, suffix in (("JPEGImages", "jpg"), ("SegmentationClass", "png")):
        (folder / name).mkdir(parents=True)
        for image_id in image_ids:
            shutil.copy(source / name / f"{image_id}.{suffix}", folder / name)
    lists = folder / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("\n".join(image_ids) + "\n")
    return folder
