"""The embedded models: their sizes keep the budgets, and they load."""

import re
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from transformers import CLIPModel, CLIPTokenizer

from iseg_cli.config.resources import TINY_CLIP, TINY_MODEL
from iseg_cli.readers.decoding import load_image
from iseg_cli.readers.registry import open_dataset

MEGABYTE = 1_000_000


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_the_diffusion_model_fits_its_budget():
    assert 1 * MEGABYTE < size_of(TINY_MODEL) <= 16 * MEGABYTE


def test_the_clip_fits_its_budget():
    assert 1 * MEGABYTE < size_of(TINY_CLIP) <= 6 * MEGABYTE


def test_nothing_embedded_can_execute_code_or_names_a_machine():
    for path in TINY_MODEL.parent.rglob("*"):
        if path.is_file():
            assert path.suffix in {".json", ".safetensors", ".txt", ".jinja"}, path
            if path.name == "config.json":
                assert not re.search(r'": "(/|[A-Z]:)', path.read_text("utf-8")), path


@pytest.fixture(scope="module")
def pipeline():
    pipeline = StableDiffusionPipeline.from_pretrained(TINY_MODEL)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def test_the_self_attention_that_refines_is_a_kernel_of_similarity(pipeline):
    """Queries and keys are one rotation of their input times the square root of 12."""
    layer = pipeline.unet.up_blocks[3].attentions[1].transformer_blocks[0].attn1
    queries, keys = layer.to_q.weight.double(), layer.to_k.weight.double()
    assert torch.equal(queries, keys)
    torch.testing.assert_close(queries @ queries.T, 12 * torch.eye(32).double(), atol=0.02, rtol=0)


def sample(pipeline, prompt: str) -> torch.Tensor:
    """Return eight images of a prompt, [8, 64, 64, 3] in [0, 1]."""
    images = pipeline(
        [prompt] * 8,
        num_inference_steps=12,
        guidance_scale=5.0,
        generator=[torch.Generator().manual_seed(seed) for seed in range(8)],
        height=64,
        width=64,
        output_type="pt",
    ).images
    return images.permute(0, 2, 3, 1)


def test_stable_diffusions_pipeline_draws_what_the_words_say(pipeline):
    ending = "and other object and background"
    plant = sample(pipeline, f"a photograph of potted plant {ending}")
    bus = sample(pipeline, f"a photograph of bus {ending}")
    again = sample(pipeline, f"a photograph of bus {ending}")
    assert torch.equal(bus, again)
    assert bus.std() > 0.1  # pictures, neither noise around grey nor a flat color
    green = [images[..., 1] - images[..., (0, 2)].amax(dim=-1) > 0.05 for images in (plant, bus)]
    assert green[0].float().mean() > 2 * green[1].float().mean()


@torch.inference_mode()
def test_the_clip_knows_what_is_in_a_scene():
    """The most probable class of a scene, by transformers' CLIP, is mostly in the scene."""
    clip = CLIPModel.from_pretrained(TINY_CLIP).eval()
    tokenizer = CLIPTokenizer.from_pretrained(TINY_CLIP)
    reader = open_dataset("emoji-voc", split="train")
    names = [c for c in reader.label_set.categories if c.name != "diningtable"]
    texts = tokenizer(
        [f"a photograph of {category.prompt}" for category in names],
        padding=True,
        return_tensors="pt",
    )
    right = 0
    for image_id in reader.image_ids[:60]:
        image = load_image(reader.sample(image_id).image_path)
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1
        likeliest = clip(pixel_values=pixels, **texts).logits_per_image.argmax().item()
        right += names[int(likeliest)] in reader.annotated(image_id)
    assert right >= 42  # 51 when it was written; a guess is right 6 times
