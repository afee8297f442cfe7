from types import SimpleNamespace

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from iseg_cli.benchmark import architecture
from iseg_cli.benchmark.limits import count_arithmetic, matrix_product_rate
from iseg_cli.config import load_settings

CPU = torch.device("cpu")


def model_of(vae, unet, *, side, factor):
    """Return the configurations of a model, which counting needs; nothing is computed."""
    with torch.device("meta"):
        parts = {"vae": AutoencoderKL(**vae), "unet": UNet2DConditionModel(**unet)}
    return SimpleNamespace(**parts, image_size=side * factor, latent_side=side, max_tokens=77)


@pytest.fixture(scope="module")
def sd21():
    return model_of(architecture.VAE, architecture.UNET, side=64, factor=8)


def test_an_autoencoder_counted_by_hand():
    # One block without down-sampling: 16 x 16 pixels and 4 channels throughout, no attention.
    vae = {
        "block_out_channels": (4,),
        "layers_per_block": 1,
        "norm_num_groups": 2,
        "latent_channels": 4,
        "mid_block_add_attention": False,
    }
    unet = {"sample_size": 16, "block_out_channels": (32,) * 4, "cross_attention_dim": 8}
    model = model_of(vae, unet, side=16, factor=1)
    by_hand = 0
    for kernel, inputs, outputs in (
        (3, 3, 4),  # conv_in
        *[(3, 4, 4)] * 2,  # the block's residual
        *[(3, 4, 4)] * 4,  # the two in the middle
        (3, 4, 8),  # conv_out: mean and variance
        (1, 8, 8),  # quant_conv
    ):
        by_hand += 2 * 16 * 16 * kernel**2 * inputs * outputs
    settings = load_settings("paper/voc")
    assert count_arithmetic(model, settings).vae == by_hand


def test_sd21_takes_what_performance_md_says(sd21):
    counted = count_arithmetic(sd21, load_settings("paper/voc"))
    assert counted.vae / 1e9 == pytest.approx(1116.7, abs=0.05)
    assert counted.unet / 1e9 == pytest.approx(804.3, abs=0.05)
    assert counted.unet_needed / 1e9 == pytest.approx(715.6, abs=0.05)
    assert counted.needed == counted.vae + counted.unet_needed


def test_heads_that_are_not_read_need_no_scores(sd21):
    both = [
        count_arithmetic(sd21, load_settings("voc", overrides={"capture.self_heads": heads}))
        for heads in ((1, 2), (1,))
    ]
    scores = 2 * 4096 * 4096 * 64  # of one head of up_blocks.3.attentions.1, which is the last read
    # Its query and key, and its projections for the heads, are counted alike in both.
    assert both[0].unet_needed - both[1].unet_needed == scores
    assert both[0].unet == both[1].unet


def test_a_layer_read_later_needs_more_of_the_unet(sd21):
    early = load_settings("paper/voc", overrides={"capture.self_layer": "up_blocks.2.attentions.2"})
    late = load_settings("paper/voc", overrides={"capture.self_layer": "up_blocks.3.attentions.2"})
    needed = [count_arithmetic(sd21, settings).unet_needed for settings in (early, late)]
    assert needed[0] < count_arithmetic(sd21, load_settings("paper/voc")).unet_needed < needed[1]
    assert needed[1] < count_arithmetic(sd21, late).unet


def test_a_matrix_product_is_counted_by_its_side(monkeypatch):
    monkeypatch.setattr("iseg_cli.benchmark.limits.best_seconds", lambda work, device: 0.5)
    assert matrix_product_rate(CPU, torch.float32, side=10) == 2 * 10**3 / 0.5
