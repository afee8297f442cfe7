"""SD 2.1 at its true size, with random weights, on the CPU: it fits and gives masks.

The model is written in half precision as it is published (2.5 GB below pytest's temporary folder);
a process of its own segments one image with it, so that its greatest memory can be told.
"""

import json
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from iseg_cli.benchmark.architecture import write_sd21_architecture

pytestmark = pytest.mark.slow

GIB = 2**30
SIZE = (375, 500)

CHILD = """
import json, resource, sys, time
from pathlib import Path
from iseg_cli.config import load_settings
from iseg_cli.attention import attention_extractor
from iseg_cli.generation.generate import generate

captured = []
check = attention_extractor.check_captured

def remember(one, plan, *, side):
    captured.append((one.seen, one.heads, list(one.self_attention.shape), side))
    check(one, plan, side=side)

attention_extractor.check_captured = remember
folder, images, out = map(Path, sys.argv[1:])
settings = load_settings("folder", overrides={
    "root": images, "model": str(folder), "categories": ("dog", "potted plant"),
    "runtime.device": "cpu", "runtime.dtype": "float32",
})
start = time.perf_counter()
summary = generate(settings, out=out)
print(json.dumps({
    "seconds": time.perf_counter() - start,
    "peak": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    "captured": captured, "written": summary.written, "failed": summary.failed,
}))
"""


@pytest.fixture(scope="module")
def sd21_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sd21")
    write_sd21_architecture(folder)
    return folder


def test_one_image_with_sd21_on_the_cpu(sd21_folder, tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (25, 25, 3), dtype=np.uint8).repeat(15, 0).repeat(20, 1)
    assert pixels.shape[:2] == SIZE
    (tmp_path / "images").mkdir()
    Image.fromarray(pixels).save(tmp_path / "images" / "one.jpg")
    start = time.perf_counter()
    child = subprocess.run(
        [sys.executable, "-c", CHILD, sd21_folder, tmp_path / "images", tmp_path / "masks"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    told = json.loads(child.stdout.splitlines()[-1])
    print(
        f"{time.perf_counter() - start:.1f} s in all, {told['seconds']:.1f} s to load and segment"
    )
    print(f"peak memory {told['peak'] / GIB:.2f} GiB")
    assert told["peak"] < 12 * GIB
    assert (told["written"], told["failed"]) == (1, {})
    [(seen, _, self_shape, side)] = told["captured"]
    assert seen == {"16": 100, "32": 30}
    assert (self_shape, side) == ([1, 4096, 4096], 64)
    with Image.open(tmp_path / "masks" / "one.png") as mask:
        labels = np.asarray(mask)
    assert labels.shape == SIZE
    assert labels.dtype == np.uint8
    assert set(np.unique(labels)) == {0, 1, 2}
