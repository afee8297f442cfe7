#!/usr/bin/env bash
# Pillow's own Exif object loses the orientation when pillow-heif saves HEIF, its bytes do not.
#
# Versions: pillow-heif 1.8.1, Pillow 13.0.0.
# Guess: save(..., exif=exif) and save(..., exif=exif.tobytes()) write the same file, as they do for
#   JPEG, PNG and WebP.
# What happens: with the object, pillow-heif resets the orientation to 1 and does not rotate the
#   picture. The photo is then read on its side, and a mask made from it has the wrong height and
#   width. With the bytes, the file holds the rotation, and the picture is read upright.
#
# Output seen (a picture of 64 x 32 with orientation 6, which is 32 x 64 upright):
#> JPEG, object: upright (32, 64)
#> JPEG, bytes: upright (32, 64)
#> PNG, object: upright (32, 64)
#> PNG, bytes: upright (32, 64)
#> WEBP, object: upright (32, 64)
#> WEBP, bytes: upright (32, 64)
#> HEIF, object: upright (64, 32)
#> HEIF, bytes: upright (32, 64)
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
install() {
  python3 -m venv "$work/venv" &&
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check \
      pillow-heif==1.8.1 pillow==13.0.0
}
install >"$work/log" 2>&1 ||
  { cat "$work/log"; echo "not run: the packages cannot be installed here"; exit 2; }

cat >"$work/run.py" <<'PY'
import io

import pillow_heif
from PIL import Image, ImageOps

ORIENTATION = 0x0112
pillow_heif.register_heif_opener()
picture = Image.new("RGB", (64, 32), "red")
exif = Image.Exif()
exif[ORIENTATION] = 6
for file_format in ("JPEG", "PNG", "WEBP", "HEIF"):
    for name, value in (("object", exif), ("bytes", exif.tobytes())):
        file = io.BytesIO()
        picture.save(file, file_format, exif=value)
        upright = ImageOps.exif_transpose(Image.open(file))
        print(f"{file_format}, {name}: upright {upright.size}")
PY

(cd "$work" && venv/bin/python run.py) >"$work/seen" 2>"$work/log" ||
  { tail -n 5 "$work/log"; echo "changed: the program above ends with an error"; exit 1; }
diff <(sed -n 's/^#> //p' "$0") "$work/seen" ||
  { echo "changed: '<' is the output described, '>' is the output now"; exit 1; }
echo "as described"
