"""Every dataset's real layout, through generate and evaluate.

The embedded model knows nothing of these pictures: ids, sizes, colours, labels and the report are
asserted, not the mIoU.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from layouts import (
    make_cityscapes,
    make_coco,
    make_coco_object,
    make_cocostuff,
    make_context,
    make_voc,
)
from PIL import Image

from iseg_cli.cli import main
from iseg_cli.readers.label_tables import load_label_set
from iseg_cli.storage import read_mask

UNANNOTATED = {"cityscapes", "cocostuff27", "context"}


@pytest.mark.parametrize("labels", ["masks", "annotations"])
@pytest.mark.parametrize(
    ("dataset", "split", "table", "make", "rule"),
    [
        ("voc", "train", "voc", make_voc, "power"),
        ("coco", "train2014", "coco", make_coco, "threshold"),
        ("coco-object", "val2017", "coco", make_coco_object, "threshold"),
        ("cityscapes", "val", "cityscapes", make_cityscapes, "none"),
        # A rule for background does nothing where there is none.
        ("cocostuff27", "val", "cocostuff27", make_cocostuff, "power"),
        ("context", "val", "context-59", make_context, "power"),
        ("context", "val", "context-60", make_context, "power"),
    ],
)
def test_generate_and_evaluate(
    tmp_path: Path,
    dataset: str,
    split: str,
    table: str,
    make: Callable[[Path], Path],
    rule: str,
    labels: str,
) -> None:
    root, out = make(tmp_path), tmp_path / "run"
    generated = CliRunner().invoke(
        main,
        ["generate", f"--dataset={dataset}", f"--root={root}", f"--split={split}", f"--out={out}",
         "--config=emoji-voc", "--model=tiny", f"--labels={labels}", "--batch-size=2",
         f"--set=assign.background={rule}", f"--label-set={table}"],
    )  # fmt: skip
    if dataset in UNANNOTATED and labels == "annotations":
        assert generated.exit_code == 1  # every image is reported: there are no annotations
        assert "--labels masks" in generated.output
        return
    assert generated.exit_code == 0, generated.output
    label_set = load_label_set(table)
    records = [json.loads(line) for line in (out / "images.jsonl").read_text().splitlines()]
    assert records
    for record in records:
        path = out / f"{record['image_id']}.png"
        mask = read_mask(path)
        assert list(mask.size) == record["size"]
        asked = {label_set.by_name(name).id for name in record["categories"]}
        background = {255} if label_set.background is None else {label_set.background}
        assert set(np.unique(mask.labels)) <= asked | background
        if label_set.background is None and asked:
            assert 255 not in mask.labels
        with Image.open(path) as picture:
            colors = np.asarray(picture.getpalette(), dtype=np.uint8).reshape(-1, 3)
            assert np.array_equal(colors, label_set.palette[: len(colors)])
    scored = CliRunner().invoke(main, ["evaluate", str(out), "--format", "json"])
    assert scored.exit_code == 0, scored.output
    report = json.loads((out / "report.json").read_text())
    assert report["images"] == len(records)
    assert report["protocol"]["label_source"] == labels
    assert set(report["classes"]) == set(label_set.names.values())
    expected = "none" if label_set.background is None else rule
    assert report["protocol"]["background"].split()[0] == expected
