"""SD 2.1 at its true size, with random weights, on the CPU: does it fit, does it come through?

The model is written in half precision as it is published (2.5 GB below pytest's temporary folder);
a process of its own segments one image with it, so that its greatest memory can be told.
"""

import json
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from conftest import WORDS, write_json, write_scheduler, write_tokenizer
from diffusers import AutoencoderKL, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel

pytestmark = pytest.mark.slow

GIB = 2**30
SIZE = (375, 500)

CHILD = """
import json, resource, sys, time
from pathlib import Path
from iseg_cli.config import load_settings
from iseg_cli.diffusion import extractor
from iseg_cli.workflows.generate import generate

captured = []
check = extractor.check_captured

def remember(one, plan, *, side):
    captured.append((one.seen, one.heads, list(one.self_attention.shape), side))
    check(one, plan, side=side)

extractor.check_captured = remember
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


def save_half(folder, part, build):
    """Write a part with random weights in float16, without ever holding it in more."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float16)
    try:
        module = build()
    finally:
        torch.set_default_dtype(before)
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float16}
    module.save_pretrained(folder / part, safe_serialization=True, variant="fp16")


@pytest.fixture(scope="module")
def sd21_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sd21")
    torch.manual_seed(0)
    size = write_tokenizer(folder / "tokenizer", words=WORDS)
    write_scheduler(folder / "scheduler")
    write_json(folder / "model_index.json", {"_class_name": "StableDiffusionPipeline"})
    assert size < 49408
    save_half(
        folder,
        "unet",
        lambda: UNet2DConditionModel(
            sample_size=64,
            block_out_channels=(320, 640, 1280, 1280),
            attention_head_dim=(5, 10, 20, 20),
            cross_attention_dim=1024,
            use_linear_projection=True,
        ),
    )
    save_half(
        folder,
        "vae",
        lambda: AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            latent_channels=4,
            sample_size=768,
        ),
    )
    save_half(
        folder,
        "text_encoder",
        lambda: CLIPTextModel(
            CLIPTextConfig(
                vocab_size=49408,
                hidden_size=1024,
                intermediate_size=4096,
                projection_dim=512,
                num_hidden_layers=23,
                num_attention_heads=16,
                max_position_embeddings=77,
                hidden_act="gelu",
            )
        ),
    )
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
