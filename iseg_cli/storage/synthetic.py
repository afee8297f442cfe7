"""The output folder of a synthetic dataset: VOC's layout, and the provenance of each image."""

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import yaml

from iseg_cli.storage.files import write_atomically
from iseg_cli.storage.folder import PredictionFolder
from iseg_cli.storage.masks import is_whole_png
from iseg_cli.storage.records import ImageRecord
from iseg_cli.types import LabelSet

TABLE_NAME, PROMPTS_NAME, LABELS_NAME = "categories.yaml", "prompts.json", "labels.json"
LISTS = Path("ImageSets", "Segmentation")


class SyntheticFolder(PredictionFolder):
    """An output folder with generated images and their masks.

    JPEGImages has the images, SegmentationClass the masks, ImageSets/Segmentation the lists:
    `train` names the images for training, `dropped` those that the filter excludes. The folder
    also has categories.yaml (what the labels mean), prompts.json and labels.json (each image's
    prompt and categories), run.json and images.jsonl.
    """

    def mask_path(self, image_id: str) -> Path:
        """Return the path of an image's mask: `SegmentationClass/<image_id>.png`."""
        return self.file_path(f"SegmentationClass/{image_id}", ".png")

    def image_path(self, image_id: str) -> Path:
        """Return the path of an image: in JPEGImages, with the ending of the run's format."""
        ending = self.info.settings["synthesis"]["image_format"]
        return self.file_path(f"JPEGImages/{image_id}", f".{ending}")

    def list_path(self, name: str) -> Path:
        """Return the path of the list of a split."""
        return self.path / LISTS / f"{name}.txt"

    def finished(self) -> set[str]:
        """Return the ids of images that are whole and have a whole mask."""
        return {
            image_id
            for image_id in super().finished()
            if _is_whole(self.image_path(image_id), self.records[image_id])
        }

    def write_image(self, record: ImageRecord, picture: bytes | None, mask: bytes | None) -> None:
        """Write an image, its mask and then its record.

        Args:
            record: the image's record.
            picture: the encoded image; None for a failed image, whose earlier file is removed.
            mask: the encoded mask; None for a failed image.
        """
        self.require_there()
        if picture is None:
            self.image_path(record.image_id).unlink(missing_ok=True)
        else:
            write_atomically(self.image_path(record.image_id), picture, below=self.path)
        self.write(record, mask)

    def publish(self, label_set: LabelSet, *, dropped: Collection[str]) -> None:
        """Write the lists, category table, prompts and labels of the finished images."""
        finished = self.finished()
        drawings = {
            image_id: record.drawing
            for image_id, record in self.records.items()
            if image_id in finished and record.drawing is not None
        }
        self._write_list("train", [image_id for image_id in drawings if image_id not in dropped])
        if dropped:
            self._write_list("dropped", [image_id for image_id in drawings if image_id in dropped])
        else:
            self.list_path("dropped").unlink(missing_ok=True)
        write_atomically(self.path / TABLE_NAME, _table(label_set).encode())
        self._write_json(PROMPTS_NAME, {i: drawing.prompt for i, drawing in drawings.items()})
        self._write_json(LABELS_NAME, {i: self.records[i].categories for i in drawings})

    def _write_list(self, name: str, image_ids: Iterable[str]) -> None:
        text = "".join(f"{image_id}\n" for image_id in image_ids)
        write_atomically(self.list_path(name), text.encode())

    def _write_json(self, name: str, values: Mapping[str, object]) -> None:
        lines = [f" {_json(image_id)}: {_json(value)}" for image_id, value in values.items()]
        write_atomically(self.path / name, ("{\n" + ",\n".join(lines) + "\n}\n").encode())

    def _remove_files(self) -> None:
        for image_id in self.records:
            self.image_path(image_id).unlink(missing_ok=True)
        for name in (TABLE_NAME, PROMPTS_NAME, LABELS_NAME):
            (self.path / name).unlink(missing_ok=True)
        for name in ("train", "dropped"):
            self.list_path(name).unlink(missing_ok=True)
        super()._remove_files()


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _table(label_set: LabelSet) -> str:
    """Return the label set as a category table with one line per category."""
    rows = [
        {
            "id": category.id,
            "name": category.name,
            "prompt": category.prompt,
            **({"focus": category.focus} if category.focus else {}),
            "color": list(category.color),
        }
        for category in label_set.categories
    ]
    head = yaml.safe_dump(
        {"name": label_set.name, "background": label_set.background}, sort_keys=False
    )
    lines = [
        yaml.safe_dump(
            row, default_flow_style=True, sort_keys=False, width=4096, allow_unicode=True
        )
        for row in rows
    ]
    return head + "categories:\n" + "".join(f"  - {line}" for line in lines)


def _is_whole(path: Path, record: ImageRecord) -> bool:
    """Tell from its first and last bytes whether an image file is whole."""
    if path.suffix == ".png":
        return record.size is not None and is_whole_png(path, record.size)
    try:
        with path.open("rb") as file:
            start = file.read(2)
            file.seek(-2, 2)
            return start == b"\xff\xd8" and file.read() == b"\xff\xd9"
    except OSError:  # missing, or too short
        return False
