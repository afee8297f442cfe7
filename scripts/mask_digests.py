"""Digests of the masks that the embedded model makes: equal before and after a change of layout.

    python scripts/mask_digests.py           # prints a line for each run: name, masks, digest, mIoU
    python scripts/mask_digests.py > before  # ... change the code ...
    python scripts/mask_digests.py | diff before -

The digest is SHA-256 over the names and bytes of all masks of a run, in the order of the names.
A run takes some seconds on a CPU; the processor and the version of torch may change the bytes.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

RUNS = {
    "val": [],
    "style": ["--split", "style"],
    "unsupervised": ["--task", "unsupervised"],
    "open-vocabulary": ["--task", "open-vocabulary"],
    "fusion": ["--set", "fusion=clip-entropy"],
}
"""Options of `iseg generate --dataset emoji-voc` by the name of the run."""


def main() -> None:
    """Make the masks of every run in a temporary folder and print their digests."""
    with tempfile.TemporaryDirectory() as folder:
        for name, options in RUNS.items():
            out = Path(folder, name)
            run("generate", "--dataset", "emoji-voc", "--out", str(out), *options)
            report = json.loads(run("evaluate", str(out), "--format", "json"))
            masks = sorted(out.rglob("*.png"))
            digest = hashlib.sha256()
            for path in masks:
                digest.update(path.relative_to(out).as_posix().encode() + path.read_bytes())
            print(name, len(masks), digest.hexdigest(), f"{report['miou']:.6f}", flush=True)


def run(*arguments: str) -> str:
    """Run `iseg` in a process of its own and return what it prints."""
    command = [sys.executable, "-m", "iseg_cli", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
