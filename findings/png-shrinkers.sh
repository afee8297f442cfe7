#!/usr/bin/env bash
# PNG tools that keep every colour give the classes of a mask new numbers.
#
# Versions (Debian 12): optipng 0.7.7-2+b1, pngcrush 1.8.13-0.1, zopfli 1.0.3-1,
# pngquant 2.17.0-1, netpbm 2:11.01.00-2, imagemagick 8:6.9.11.60 (any security update);
# read with Pillow 13.0.0 and numpy 2.4.6.
# Guess: a tool that makes a PNG smaller and keeps every pixel's colour keeps the mask. If a tool
#   is safe for one kind of mask, it is safe for the other kind.
# What happens: a class number is no colour, and a tool that keeps colours may number them anew.
# - Palette masks: zopflipng, pngquant, netpbm and ImageMagick number the classes from 0 upwards,
#   in three different orders. After pngquant the background is 4 and void is 0. After netpbm
#   void is 3 and person is 4. optipng and pngcrush keep the numbers.
# - Grey masks: optipng makes a palette, and 17 becomes 1. It keeps the numbers with -nx only.
#   ImageMagick keeps two of three. It writes {0, 255} with 1 bit, which numpy reads as 0 and 1.
#   pngquant makes the object 0 and the background 1.
# - pngcrush keeps every mask here. For the eye all the pictures are equal.
#
# Output seen (old number:new number for each class):
#> palette 0,6,8,15,255 by optipng: kept
#> palette 0,6,8,15,255 by optipng -nx: kept
#> palette 0,6,8,15,255 by pngcrush: kept
#> palette 0,6,8,15,255 by zopflipng: 0:0 6:1 8:2 15:3 255:4
#> palette 0,6,8,15,255 by pngquant: 0:4 6:3 8:2 15:1 255:0
#> palette 0,6,8,15,255 by netpbm: 0:0 6:1 8:2 15:4 255:3
#> palette 0,6,8,15,255 by imagemagick: 0:0 6:1 8:2 15:3 255:4
#> grey 0,17 by optipng: 0:0 17:1
#> grey 0,17 by optipng -nx: kept
#> grey 0,17 by pngcrush: kept
#> grey 0,17 by zopflipng: 0:0 17:1
#> grey 0,17 by pngquant: 0:0 17:1
#> grey 0,17 by netpbm: 0:0 17:1
#> grey 0,17 by imagemagick: kept
#> grey 0,6,8,15,255 by optipng: 0:0 6:1 8:2 15:3 255:4
#> grey 0,6,8,15,255 by optipng -nx: kept
#> grey 0,6,8,15,255 by pngcrush: kept
#> grey 0,6,8,15,255 by zopflipng: kept
#> grey 0,6,8,15,255 by pngquant: 0:2 6:1 8:4 15:3 255:0
#> grey 0,6,8,15,255 by netpbm: 0:0 6:2 8:3 15:4 255:1
#> grey 0,6,8,15,255 by imagemagick: kept
#> grey 0,255 by optipng: 0:0 255:1
#> grey 0,255 by optipng -nx: kept
#> grey 0,255 by pngcrush: kept
#> grey 0,255 by zopflipng: 0:0 255:1
#> grey 0,255 by pngquant: 0:1 255:0
#> grey 0,255 by netpbm: 0:0 255:1
#> grey 0,255 by imagemagick: 0:0 255:1
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unavailable() { cat "$work/log"; echo "not run: $1"; exit 2; }
install() {
  python3 -m venv "$work/venv" &&
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 numpy==2.4.6
}
install >"$work/log" 2>&1 || unavailable "the packages cannot be installed here"

# Debian's packages and their libraries are unpacked into the folder and not installed.
mkdir -p "$work/archives/partial" "$work/root"
touch "$work/status"
apt-get -qq -y -o "Dir::Cache::archives=$work/archives" -o "Dir::State::status=$work/status" \
  -o Debug::NoLocking=1 -o APT::Sandbox::User=root --no-install-recommends --download-only install \
  zopfli=1.0.3-1 pngquant=2.17.0-1 optipng=0.7.7-2+b1 pngcrush=1.8.13-0.1 netpbm=2:11.01.00-2 \
  imagemagick >"$work/log" 2>&1 || unavailable "this needs the package lists of Debian 12"
for package in "$work"/archives/*.deb; do
  case $package in */libc6_* | */dpkg_* | */tar_* | */debconf_*) continue ;; esac
  dpkg -x "$package" "$work/root"
done
libraries=$(find "$work/root" -name '*.so.*' -printf '%h\n' | sort -u | paste -sd:)
modules=$(find "$work/root" -type d -name coders)

cat >"$work/run.py" <<'PY'
import pathlib
import subprocess

import numpy as np
from PIL import Image

TOOLS = {
    "optipng": "optipng -quiet -out new.png old.png",
    "optipng -nx": "optipng -quiet -nx -out new.png old.png",
    "pngcrush": "pngcrush -q -reduce old.png new.png",
    "zopflipng": "zopflipng -y old.png new.png",
    "pngquant": "pngquant --force --output new.png old.png",
    "netpbm": "pngtopnm old.png | pnmtopng > new.png",
    "imagemagick": "convert-im6.q16 old.png new.png",
}
# Pascal VOC's colours of background, bus, cat, person and void.
COLOURS = {
    0: (0, 0, 0), 6: (0, 128, 128), 8: (64, 0, 0), 15: (192, 128, 128), 255: (224, 224, 192)
}  # fmt: skip


def mask(values):
    """Blocks of 8 x 8 pixels; each class has a different number of them."""
    blocks = np.resize(np.repeat(values, [5, 2, 4, 1, 3][: len(values)]), (6, 10))
    return blocks.repeat(8, axis=0).repeat(8, axis=1).astype(np.uint8)


def tell(kind, values):
    old = mask(values)
    image = Image.fromarray(old)
    if kind == "palette":
        palette = np.zeros((256, 3), np.uint8)
        for value, colour in COLOURS.items():
            palette[value] = colour
        image.putpalette(palette.tobytes())
    image.save("old.png")
    for tool, command in TOOLS.items():
        pathlib.Path("new.png").unlink(missing_ok=True)
        subprocess.run(command, shell=True, check=True, capture_output=True)
        with Image.open("new.png") as picture:
            new = np.asarray(picture).astype(int)
            # The picture itself is the same for the eye.
            assert (np.asarray(picture.convert("RGB")) == np.asarray(image.convert("RGB"))).all()
        pairs = sorted(set(zip(old.ravel().tolist(), new.ravel().tolist())))
        kept = "kept" if all(a == b for a, b in pairs) else " ".join(f"{a}:{b}" for a, b in pairs)
        print(f"{kind} {','.join(map(str, values))} by {tool}: {kept}")


tell("palette", [0, 6, 8, 15, 255])
tell("grey", [0, 17])
tell("grey", [0, 6, 8, 15, 255])
tell("grey", [0, 255])
PY

(cd "$work" && LD_LIBRARY_PATH=$libraries MAGICK_CODER_MODULE_PATH=$modules \
  PATH="$work/root/usr/bin:$PATH" venv/bin/python run.py) >"$work/seen" 2>"$work/log" ||
  { tail -n 5 "$work/log"; echo "changed: the program above ends with an error"; exit 1; }
diff <(sed -n 's/^#> //p' "$0") "$work/seen" ||
  { echo "changed: '<' is the output described, '>' is the output now"; exit 1; }
echo "as described"
