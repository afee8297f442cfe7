#!/usr/bin/env bash
# datumaro reads Pascal VOC masks by colour: the void label becomes a class, index masks fail on it.
#
# Versions: datumaro 1.13.12, pillow 12.3.0, numpy 2.4.6.
# Guess: a value of a VOC mask is the number of the class. 255 is void and belongs to no class.
# What happens:
# - datumaro reads the colours of a palette mask, not its numbers. With the colours of cat and
#   person exchanged in the palette, the cat's pixels become a person.
# - VOC's colour of 255 becomes class 21, "ignored", with annotations of its own.
# - A grey mask with the same numbers is read by number, and the void label 255 is an error.
# - Exported to coco_instances, background and void are objects, and every object has iscrowd = 1,
#   which COCO's evaluation ignores.
# - Exported to VOC again, the palette mask has become an RGB picture.
#
# Output seen:
#> palette: background 32, cat 2, person 6, ignored 8
#> as COCO: background (id 1, iscrowd 1), cat (id 9, iscrowd 1), person (id 16, iscrowd 1), ignored (id 22, iscrowd 1)
#> as VOC: mode RGB instead of P
#> palette, colours of cat and person exchanged: background 32, cat 6, person 2, ignored 8
#> grey without void: background 40, cat 2, person 6
#> grey with void: AnnotationImportError, Undeclared label '255'
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
install() {
  python3 -m venv "$work/venv" &&
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check \
      datumaro==1.13.12 pillow==12.3.0 numpy==2.4.6
}
install >"$work/log" 2>&1 ||
  { cat "$work/log"; echo "not run: the packages cannot be installed here"; exit 2; }

cat >"$work/run.py" <<'PY'
import json
import logging
import pathlib
import warnings

import numpy as np
from datumaro.components.annotation import AnnotationType
from datumaro.components.dataset import Dataset
from datumaro.components.errors import AnnotationImportError
from PIL import Image

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
CAT, PERSON, VOID = 8, 15, 255

for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
    pathlib.Path("voc", folder).mkdir(parents=True)
Image.new("RGB", (8, 6)).save("voc/JPEGImages/a.jpg")
pathlib.Path("voc/ImageSets/Segmentation/train.txt").write_text("a\n")

mask = np.zeros((6, 8), np.uint8)
mask[0, :] = VOID
mask[1:3, 1:4] = PERSON
mask[4, 5:7] = CAT

# Pascal VOC's colours: the bits of the number, three at a time, from the highest bit downwards.
numbers = np.arange(256)
colours = np.zeros((256, 3), np.uint8)
for bit in range(8):
    for channel in range(3):
        colours[:, channel] |= ((numbers >> (3 * bit + channel) & 1) << (7 - bit)).astype(np.uint8)
exchanged = colours.copy()
exchanged[[CAT, PERSON]] = colours[[PERSON, CAT]]


def read(name, values, palette=None):
    image = Image.fromarray(values)
    if palette is not None:
        image.putpalette(palette.tobytes())
    image.save("voc/SegmentationClass/a.png")
    try:
        dataset = Dataset.import_from("voc", "voc_segmentation")
        names = [item.name for item in dataset.categories()[AnnotationType.label].items]
        found = [
            f"{names[annotation.label]} {int(annotation.image.sum())}"
            for item in dataset
            for annotation in item.annotations
        ]
    except AnnotationImportError as error:
        print(f"{name}: AnnotationImportError, {error.__cause__}")
        return None
    print(f"{name}: " + ", ".join(found))
    return dataset


dataset = read("palette", mask, colours)
dataset.export("coco", "coco_instances")
table = json.loads(next(pathlib.Path("coco/annotations").glob("*.json")).read_text())
names = {category["id"]: category["name"] for category in table["categories"]}
print(
    "as COCO: "
    + ", ".join(
        f"{names[found['category_id']]} (id {found['category_id']}, iscrowd {found['iscrowd']})"
        for found in table["annotations"]
    )
)
dataset.export("again", "voc_segmentation")
print("as VOC: mode", Image.open("again/SegmentationClass/a.png").mode, "instead of P")
read("palette, colours of cat and person exchanged", mask, exchanged)
read("grey without void", np.where(mask == VOID, 0, mask))
read("grey with void", mask)
PY

(cd "$work" && venv/bin/python run.py) >"$work/seen" 2>"$work/log" ||
  { tail -n 5 "$work/log"; echo "changed: the program above ends with an error"; exit 1; }
diff <(sed -n 's/^#> //p' "$0") "$work/seen" ||
  { echo "changed: '<' is the output described, '>' is the output now"; exit 1; }
echo "as described"
