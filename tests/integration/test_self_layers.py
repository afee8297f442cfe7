"""Every layer of the embedded model can be the self-attention layer, in every task."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from iseg_cli.attention.sampler import Sampler
from iseg_cli.backbones.loading import load_model
from iseg_cli.backbones.prompts import fill_template
from iseg_cli.backbones.unet_layout import attention_layout
from iseg_cli.cli import main
from iseg_cli.config import load_settings
from iseg_cli.config.resources import TINY_MODEL
from iseg_cli.execution import batch_size
from iseg_cli.execution.batch_size import fitting_batch_size, grid_side
from iseg_cli.readers.folder import label_set_of
from iseg_cli.segmentation.segmenter import Segmenter
from iseg_cli.segmentation.unsupervised_segmenter import UnsupervisedSegmenter
from iseg_cli.storage import read_scores

LAYERS = attention_layout(json.loads((TINY_MODEL / "unet" / "config.json").read_text("utf-8")))
SIDES = {1: 32, 2: 16, 4: 8, 8: 4}
LABELS = label_set_of(["cat", "dog"])
SIZE = (50, 70)


@pytest.fixture(scope="module")
def tiny():
    return load_model("tiny", device=torch.device("cpu"), dtype=torch.float32)


def settings(preset, layer, **sections):
    return load_settings(preset, overrides={"capture.self_layer": layer, **sections})


def segment(segmenter):
    rng = np.random.default_rng(0)
    side = segmenter.model.image_size
    image = rng.integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    image = image.repeat(side // 8, 1).repeat(side // 8, 2)
    [found] = segmenter.begin_batch(image, [LABELS.categories], [SIZE], LABELS)()
    return found


def iseg(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_embedded_model_has_these_layers():
    assert len(LAYERS) == 16
    assert {block.divisor for block in LAYERS.values()} == {1, 2, 4, 8}


@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer_refines_maps_of_categories(tiny, layer):
    chosen = settings("emoji-voc", layer, **{"cluster.enabled": True, "cluster.rounds": 2})
    found = segment(Segmenter(tiny, chosen))
    side = SIDES[LAYERS[layer].divisor]
    assert found.scores.shape == (2, side, side)
    assert found.mask.labels.shape == SIZE
    assert set(np.unique(found.mask.labels)) <= {0, 1, 2}
    assert np.isfinite(found.scores).all()
    np.testing.assert_array_equal(found.scores.max(axis=(1, 2)), 1)
    assert grid_side(tiny, chosen) == side


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("timestep", [300, 200])  # that of diffseg, or a second forward
def test_every_layer_refines_segments(tiny, layer, timestep):
    chosen = settings("emoji-voc-unsupervised", layer, **{"capture.timestep": timestep})
    found = segment(UnsupervisedSegmenter(tiny, chosen))
    side = SIDES[LAYERS[layer].divisor]
    assert found.scores.shape[1:] == (side, side)
    assert found.mask.labels.shape == SIZE
    assert set(np.unique(found.mask.labels)) == set(range(len(found.scores)))


@pytest.mark.parametrize("layer", ["mid_block.attentions.0", "up_blocks.2.attentions.0"])
def test_drawings_are_read_on_the_grid_of_the_layer(layer):
    model = load_model("tiny", device=torch.device("cpu"), dtype=torch.float32, decoder=True)
    chosen = settings("emoji-voc-synthesize", layer, **{"synthesis.steps": 2})
    prompt = fill_template(
        "a photograph of {}", LABELS.categories, model.tokenizer, max_tokens=model.max_tokens
    )
    attention = Sampler(model, chosen, batch_size=2).draw([prompt], [0]).attention
    side = SIDES[LAYERS[layer].divisor]
    assert attention.side == side
    assert attention.cross.shape == (1, side**2, 2)
    torch.testing.assert_close(attention.self_attention.sum(dim=2), torch.ones(1, side**2))


def test_a_sweep_over_layers_of_every_grid(tmp_path: Path):
    """For each layer its mIoU is that of generate and evaluate."""
    layers = ["up_blocks.3.attentions.1", "up_blocks.2.attentions.1", "mid_block.attentions.0"]
    out = tmp_path / "sweep"
    result = iseg(
        *("sweep", "--dataset", "emoji-voc", "--limit", 4, "--batch-size", 2, "--out", out),
        *("--grid", f"capture.self_layer={','.join(layers)}", "--format", "json"),
    )
    assert result.exit_code == 0, result.output
    found = json.loads((out / "sweep.json").read_text("utf-8"))
    text = json.dumps(found)
    for layer in layers:
        folder = tmp_path / layer
        made = iseg(
            *("generate", "--dataset", "emoji-voc", "--limit", 4, "--batch-size", 2),
            *("--out", folder, "--set", f"capture.self_layer={layer}", "--scores"),
        )
        assert made.exit_code == 0, made.output
        scores = [read_scores(path)[0] for path in sorted((folder / "scores").glob("*.npz"))]
        assert {own.shape[1:] for own in scores} == {(SIDES[LAYERS[layer].divisor],) * 2}
        report = iseg("evaluate", folder, "--format", "json")
        assert report.exit_code == 0, report.output
        score = json.loads(report.stdout)["miou"]
        assert f"{score}" in text or any(abs(score - value) < 1e-9 for value in _numbers(found)), (
            layer,
            score,
        )


def _numbers(value):
    """Yield every number in JSON."""
    if isinstance(value, bool):
        return
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _numbers(inner)


def test_memory_is_reckoned_from_the_grid_that_is_kept(monkeypatch):
    """Six float32 matrices an image: at 32 x 32 a sixteenth of what 64 x 64 takes."""
    config = {"attention_head_dim": (5, 10, 20, 20), "sample_size": 64}
    model = SimpleNamespace(
        device=torch.device("cuda"), latent_side=64, unet=SimpleNamespace(config=config)
    )
    free = int(4 * 6 * 4 * 64**4 / 0.6) + 1  # room for four images at the full grid
    monkeypatch.setattr(batch_size.torch.cuda, "mem_get_info", lambda device: (free, free))
    full = grid_side(model, settings("voc", "up_blocks.3.attentions.1"))
    half = grid_side(model, settings("voc", "up_blocks.2.attentions.1"))
    assert (full, half) == (64, 32)
    assert fitting_batch_size(model, full) == 4
    assert fitting_batch_size(model, half) == 32
    # Segments are found on the full grid, whatever refines them.
    assert grid_side(model, settings("cityscapes", "up_blocks.2.attentions.1")) == 64
    model.device = torch.device("cpu")
    assert fitting_batch_size(model, half) == 1  # of 512 pixels, one at a time
