"""Measure the most memory that `iseg generate` takes over few and over many images.

The scenes of emoji-voc, under as many names as are wanted, go through the tiny model in a process
of its own each time.

    python scripts/peak_memory.py 200 2000
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from iseg_cli.config.resources import embedded_dataset


def main() -> None:
    """Print a line for each number of images, and the last peak over the first."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("counts", type=int, nargs="+", metavar="IMAGES")
    parser.add_argument("--batch-size", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        peaks = [
            measure(Path(folder, str(count)), count, batch_size=options.batch_size)
            for count in options.counts
        ]
    print(f"last over first: {peaks[-1] / peaks[0]:.3f}")


def measure(folder: Path, count: int, *, batch_size: int) -> float:
    """Run `iseg generate` over `count` images; print and return its peak in MiB (resident)."""
    root = repeated_scenes(folder / "root", count)
    started = time.monotonic()
    peak = peak_of(
        [
            *(sys.executable, "-m", "iseg_cli", "generate", "--dataset", "emoji-voc"),
            *("--root", str(root), "--out", str(folder / "out")),
            *("--batch-size", str(batch_size)),
        ]
    )
    seconds = time.monotonic() - started
    lines = (folder / "out" / "images.jsonl").read_text().splitlines()
    done = sum(json.loads(line)["status"] == "done" for line in lines)
    if done != count:
        raise SystemExit(f"{done} of {count} images are done")
    print(f"{count} images: peak {peak:.1f} MiB, {seconds:.0f} s", flush=True)
    return peak


def peak_of(command: Sequence[str]) -> float:
    """Run a command to its end; return its largest resident set in MiB."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # else it would be waited for again
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return usage.ru_maxrss * unit / 2**20


def repeated_scenes(root: Path, count: int) -> Path:
    """Make a root of VOC's layout whose split `val` holds emoji-voc's scenes again and again."""
    source = embedded_dataset()
    scenes = (source / "ImageSets/Segmentation/val.txt").read_text().split()
    image_ids = [f"{number:06}" for number in range(count)]
    for name, suffix in (("JPEGImages", "jpg"), ("SegmentationClass", "png")):
        (root / name).mkdir(parents=True)
        for number, image_id in enumerate(image_ids):
            scene = source / name / f"{scenes[number % len(scenes)]}.{suffix}"
            (root / name / f"{image_id}.{suffix}").symlink_to(scene.resolve())
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("".join(f"{image_id}\n" for image_id in image_ids))
    return root


if __name__ == "__main__":
    main()
