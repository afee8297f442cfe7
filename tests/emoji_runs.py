"""Scenes of the embedded dataset in folders of a test's own, and runs of `iseg` on them."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from click.testing import CliRunner, Result

from iseg_cli.cli import main
from iseg_cli.config.resources import embedded_dataset


def iseg(*arguments: object) -> Result:
    """The result of one command line, run in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def masks(folder: Path) -> dict[str, bytes]:
    """The bytes of each mask PNG of an output folder, by image id."""
    return {path.stem: path.read_bytes() for path in folder.glob("*.png")}


def first_ids(count: int) -> list[str]:
    """The ids of the first images of emoji-voc's split `val`."""
    listed = embedded_dataset() / "ImageSets" / "Segmentation" / "val.txt"
    return listed.read_text().split()[:count]


def emoji_root(folder: Path, image_ids: Sequence[str]) -> Path:
    """A root of VOC's layout with some scenes of emoji-voc; its split `val` keeps their order."""
    source = embedded_dataset()
    for name, suffix in (("JPEGImages", "jpg"), ("SegmentationClass", "png")):
        (folder / name).mkdir(parents=True)
        for image_id in image_ids:
            shutil.copy(source / name / f"{image_id}.{suffix}", folder / name)
    lists = folder / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("\n".join(image_ids) + "\n")
    return folder


def emoji_pictures(folder: Path, names: Sequence[str]) -> Path:
    """A folder with scenes of emoji-voc under these file names."""
    source = sorted((embedded_dataset() / "JPEGImages").glob("val_*.jpg"))
    for name, picture in zip(names, source, strict=False):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, folder / name)
    return folder
