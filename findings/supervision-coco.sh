#!/usr/bin/env bash
# supervision writes COCO masks that pycocotools reads as smaller masks, as crowds or not at all.
#
# Versions: supervision 0.31.2, pycocotools 2.0.11, opencv-python-headless 5.0.0.93, numpy 2.4.6.
# Guess: DetectionDataset.as_coco keeps each mask, because supervision reads the same mask back.
# What happens:
# - An object in one part becomes a polygon through the centres of its edge pixels. supervision
#   fills that polygon with OpenCV, which includes the edge. pycocotools excludes a part of the
#   edge: a 4 x 4 square has 9 pixels instead of 16, an L of 2 pixels' width has one half.
# - An object with a hole or with two parts becomes RLE with iscrowd = 1. COCO's evaluation ignores
#   crowds, so an exact prediction of such an object has no AP at all (-1).
# - A line of one pixel's width gets an empty list of polygons. supervision reads an empty mask,
#   pycocotools raises IndexError.
# - The box of the 4 x 4 square is 3 x 3.
#
# Output seen (AP50 is the AP of the exact mask at an IoU of 0.5, AP75 at 0.75):
#> square: 16 pixels, iscrowd 0, width of the box 3, supervision reads 16, pycocotools reads 9, AP50 1.0, AP75 0.0
#> disk: 317 pixels, iscrowd 0, width of the box 20, supervision reads 317, pycocotools reads 288, AP50 1.0, AP75 1.0
#> L: 76 pixels, iscrowd 0, width of the box 19, supervision reads 76, pycocotools reads 38, AP50 1.0, AP75 0.0
#> ring: 236 pixels, iscrowd 1, width of the box 20, supervision reads 236, pycocotools reads 236, AP50 -1.0, AP75 -1.0
#> two parts: 32 pixels, iscrowd 1, width of the box 3, supervision reads 32, pycocotools reads 32, AP50 -1.0, AP75 -1.0
#> line: 25 pixels, iscrowd 0, width of the box 24, supervision reads 0, pycocotools raises IndexError
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
install() {
  python3 -m venv "$work/venv" &&
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check \
      supervision==0.31.2 pycocotools==2.0.11 opencv-python-headless==5.0.0.93 numpy==2.4.6
}
install >"$work/log" 2>&1 ||
  { cat "$work/log"; echo "not run: the packages cannot be installed here"; exit 2; }

cat >"$work/run.py" <<'PY'
import contextlib
import io
import json
import pathlib

import numpy as np
import supervision as sv
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

SIDE = 40
y, x = np.mgrid[:SIDE, :SIDE]
distance = (y - 20) ** 2 + (x - 20) ** 2
square = (y >= 5) & (y < 9) & (x >= 5) & (x < 9)
objects = {
    "square": square,
    "disk": distance <= 100,
    "L": ((y >= 5) & (y < 25) & (x >= 5) & (x < 7)) | ((y >= 23) & (y < 25) & (x >= 5) & (x < 25)),
    "ring": (distance <= 100) & (distance > 25),
    "two parts": square | np.roll(square, 20, axis=0),
    "line": (y == 7) & (x >= 5) & (x < 30),
}

pathlib.Path("images").mkdir()
Image.new("RGB", (SIDE, SIDE)).save("images/a.png")


def average_precision(truth, mask):
    """AP at 0.5 and at 0.75 of a prediction that is the object's exact mask."""
    counts = rle.encode(np.asfortranarray(mask.astype(np.uint8)))
    counts["counts"] = counts["counts"].decode()
    image, category = truth.getImgIds()[0], truth.getCatIds()[0]
    prediction = {"image_id": image, "category_id": category, "segmentation": counts, "score": 1.0}
    evaluation = COCOeval(truth, truth.loadRes([prediction]), "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats[1], evaluation.stats[2]


for name, mask in objects.items():
    detections = sv.Detections(
        xyxy=sv.mask_to_xyxy(mask[None]), mask=mask[None], class_id=np.array([0])
    )
    dataset = sv.DetectionDataset(["thing"], ["images/a.png"], {"images/a.png": detections})
    dataset.as_coco(annotations_path="a.json")
    annotation = json.loads(pathlib.Path("a.json").read_text())["annotations"][0]
    again = sv.DetectionDataset.from_coco("images", "a.json", force_masks=True)
    read = sum(int(found.mask.sum()) for _, _, found in again)
    line = (
        f"{name}: {mask.sum()} pixels, iscrowd {annotation['iscrowd']}, "
        f"width of the box {annotation['bbox'][2]:.0f}, supervision reads {read}, "
    )
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO("a.json")
    try:
        pixels = int(truth.annToMask(annotation).sum())
    except IndexError:
        print(line + "pycocotools raises IndexError")
        continue
    with contextlib.redirect_stdout(io.StringIO()):
        ap50, ap75 = average_precision(truth, mask)
    print(line + f"pycocotools reads {pixels}, AP50 {ap50:.1f}, AP75 {ap75:.1f}")
PY

(cd "$work" && venv/bin/python run.py) >"$work/seen" 2>"$work/log" ||
  { tail -n 5 "$work/log"; echo "changed: the program above ends with an error"; exit 1; }
diff <(sed -n 's/^#> //p' "$0") "$work/seen" ||
  { echo "changed: '<' is the output described, '>' is the output now"; exit 1; }
echo "as described"
