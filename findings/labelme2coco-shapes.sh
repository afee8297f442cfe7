#!/usr/bin/env bash
# labelme2coco gives the first class number 0, splits grouped objects and drops rectangles' masks.
#
# Versions: labelme2coco 0.2.6, sahi 0.12.8, pycocotools 2.0.11, numpy 2.4.6; labelme's JSON of 5.5.
# Guess: each object drawn in labelme becomes one COCO annotation with a mask, and the categories
#   begin with 1 as COCO's own do.
# What happens:
# - The first class has id 0. A class map made from such a file cannot tell it from background.
# - Two polygons with the same group_id are one object in labelme. They become two annotations.
# - A rectangle gets a box and an empty list of polygons. pycocotools raises IndexError on it.
# - A circle becomes a polygon, so a circle has a mask where a rectangle has none.
# - labelme's own brush masks (shape_type mask) are an error and stop the whole conversion.
#
# Output seen:
#> polygon: 1 annotation(s), category id 0, polygons [1], pixels [16]
#> two polygons of one group: 2 annotation(s), category id 0, polygons [1, 1], pixels [16, 16]
#> rectangle: 1 annotation(s), category id 0, polygons [0], pixels ['IndexError']
#> circle: 1 annotation(s), category id 0, polygons [1], pixels [80]
#> mask: NotImplementedError, shape_type=mask not supported.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
install() {
  python3 -m venv "$work/venv" &&
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check \
      labelme2coco==0.2.6 sahi==0.12.8 pycocotools==2.0.11 numpy==2.4.6
}
install >"$work/log" 2>&1 ||
  { cat "$work/log"; echo "not run: the packages cannot be installed here"; exit 2; }

cat >"$work/run.py" <<'PY'
import base64
import contextlib
import io
import json
import pathlib
import tempfile

import labelme2coco
from PIL import Image
from pycocotools.coco import COCO


def shape(kind, points, **more):
    return {"label": "thing", "points": points, "shape_type": kind, "group_id": None} | more


def tell(name, shapes):
    folder = pathlib.Path(tempfile.mkdtemp(dir="."))
    Image.new("RGB", (40, 30)).save(folder / "a.png")
    table = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": "a.png"}
    table |= {"imageData": None, "imageHeight": 30, "imageWidth": 40}
    (folder / "a.json").write_text(json.dumps(table))
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            labelme2coco.convert(str(folder), str(folder / "out"))
            coco = COCO(folder / "out" / "dataset.json")
    except NotImplementedError as error:
        print(f"{name}: NotImplementedError, {error}")
        return
    annotations = coco.loadAnns(coco.getAnnIds())
    pixels = []
    for annotation in annotations:
        try:
            pixels.append(int(coco.annToMask(annotation).sum()))
        except IndexError:
            pixels.append("IndexError")
    print(
        f"{name}: {len(annotations)} annotation(s), category id {annotations[0]['category_id']}, "
        f"polygons {[len(found['segmentation']) for found in annotations]}, pixels {pixels}"
    )


left = [[5, 5], [9, 5], [9, 9], [5, 9]]
right = [[15, 5], [19, 5], [19, 9], [15, 9]]
brush = io.BytesIO()
Image.new("1", (5, 5), 1).save(brush, "PNG")
picture = base64.b64encode(brush.getvalue()).decode()
tell("polygon", [shape("polygon", left)])
tell(
    "two polygons of one group",
    [shape("polygon", left, group_id=1), shape("polygon", right, group_id=1)],
)
tell("rectangle", [shape("rectangle", [[5, 5], [9, 9]])])
tell("circle", [shape("circle", [[20, 15], [25, 15]])])
tell("mask", [shape("mask", [[10, 10], [14, 14]], mask=picture)])
PY

(cd "$work" && venv/bin/python run.py) >"$work/seen" 2>"$work/log" ||
  { tail -n 5 "$work/log"; echo "changed: the program above ends with an error"; exit 1; }
diff <(sed -n 's/^#> //p' "$0") "$work/seen" ||
  { echo "changed: '<' is the output described, '>' is the output now"; exit 1; }
echo "as described"
