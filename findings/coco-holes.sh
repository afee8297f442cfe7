#!/usr/bin/env bash
# sahi and imantics write a hole as a polygon of its own, and a COCO reader fills the hole.
#
# Versions: sahi 0.12.8, imantics 0.1.12, pycocotools 2.0.11, opencv-python 5.0.0.93,
# numpy 2.4.6.
# Guess: a tool writes a mask with a hole as COCO polygons, and COCO's readers see the same hole.
# What happens: both tools list the outline of the hole beside the outline of the object. Both read
#   their own list back with an even-odd rule, so the hole is still there. COCO's format has no
#   holes in polygons: pycocotools takes the union of all polygons. The ring becomes a disk.
#
# Output seen:
#> ring: 236 pixels
#> sahi: 2 polygons, sahi reads 236 pixels, pycocotools reads 288 pixels, centre of the hole is object: yes
#> imantics: 2 polygons, imantics reads 236 pixels, pycocotools reads 288 pixels, centre of the hole is object: yes
#> disk without a hole: sahi's polygon has 288 pixels in pycocotools
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
install() {
  python3 -m venv "$work/venv" &&
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check \
      sahi==0.12.8 imantics==0.1.12 pycocotools==2.0.11 opencv-python==5.0.0.93 numpy==2.4.6
}
install >"$work/log" 2>&1 ||
  { cat "$work/log"; echo "not run: the packages cannot be installed here"; exit 2; }

cat >"$work/run.py" <<'PY'
import imantics
import numpy as np
import sahi.annotation
from pycocotools import mask as rle
from sahi.utils.cv import get_coco_segmentation_from_bool_mask

SIDE = 40
y, x = np.mgrid[:SIDE, :SIDE]
distance = (y - 20) ** 2 + (x - 20) ** 2
disk = distance <= 100
ring = disk & (distance > 25)


def coco_mask(polygons):
    """The mask that COCO's own reader makes of an annotation's polygons."""
    polygons = [[float(number) for number in polygon] for polygon in polygons]
    return rle.decode(rle.merge(rle.frPyObjects(polygons, SIDE, SIDE)))


def tell(tool, polygons, own):
    read = coco_mask(polygons)
    filled = "yes" if read[20, 20] else "no"
    print(
        f"{tool}: {len(polygons)} polygons, {tool} reads {int(own.sum())} pixels, "
        f"pycocotools reads {int(read.sum())} pixels, centre of the hole is object: {filled}"
    )


print(f"ring: {ring.sum()} pixels")
polygons = get_coco_segmentation_from_bool_mask(ring)
tell("sahi", polygons, sahi.annotation.Mask(polygons, [SIDE, SIDE]).bool_mask)
found = imantics.Mask(ring).polygons()
tell("imantics", found.segmentation, found.mask(SIDE, SIDE).array)
whole = coco_mask(get_coco_segmentation_from_bool_mask(disk))
print(f"disk without a hole: sahi's polygon has {int(whole.sum())} pixels in pycocotools")
PY

(cd "$work" && venv/bin/python run.py) >"$work/seen" 2>"$work/log" ||
  { tail -n 5 "$work/log"; echo "changed: the program above ends with an error"; exit 1; }
diff <(sed -n 's/^#> //p' "$0") "$work/seen" ||
  { echo "changed: '<' is the output described, '>' is the output now"; exit 1; }
echo "as described"
