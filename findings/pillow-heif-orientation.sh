#!/usr/bin/env bash
# pillow-heif writes HEIF without its rotation for Pillow's Exif object, and with it for the bytes.
#
# Versions: pillow-heif 1.8.1, Pillow 13.0.0.
# Guess: save(..., exif=exif) and save(..., exif=exif.tobytes()) write the same file, as they do for
#   JPEG, PNG and WebP.
# What happens: HEIF readers obey the rotation box "irot" and ignore the orientation in EXIF. With
#   the bytes, pillow-heif writes the box. With the object, it writes EXIF with orientation 6 and no
#   box. The photo is then read on its side: pillow-heif itself sets the orientation to 1 when it
#   opens the file. A mask made from that photo has height and width exchanged.
#
# Output seen (a picture of 64 x 32 with orientation 6, which is 32 x 64 upright):
#> JPEG, object: upright (32, 64)
#> JPEG, bytes: upright (32, 64)
#> PNG, object: upright (32, 64)
#> PNG, bytes: upright (32, 64)
#> WEBP, object: upright (32, 64)
#> WEBP, bytes: upright (32, 64)
#> HEIF, object: upright (64, 32), orientation in the file's EXIF 6, irot: no
#> HEIF, bytes: upright (32, 64), orientation in the file's EXIF 6, irot: yes
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
        opened = Image.open(file)
        line = f"{file_format}, {name}: upright {ImageOps.exif_transpose(opened).size}"
        if file_format == "HEIF":
            box = "yes" if b"irot" in file.getvalue() else "no"
            line += f", orientation in the file's EXIF {opened.info['original_orientation']}"
            line += f", irot: {box}"
        print(line)
PY

(cd "$work" && venv/bin/python run.py) >"$work/seen" 2>"$work/log" ||
  { tail -n 5 "$work/log"; echo "changed: the program above ends with an error"; exit 1; }
diff <(sed -n 's/^#> //p' "$0") "$work/seen" ||
  { echo "changed: '<' is the output described, '>' is the output now"; exit 1; }
echo "as described"
