import pytest
import torch

from iseg_cli.backbones.loading import load_model
from iseg_cli.benchmark import architecture

CPU = torch.device("cpu")


@pytest.fixture
def small_architecture(monkeypatch):
    """The architecture's blocks with few channels."""
    unet = {"block_out_channels": (32, 32, 64, 64), "attention_head_dim": (2, 2, 4, 4)}
    text = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    monkeypatch.setattr(
        architecture, "UNET", {**architecture.UNET, **unet, "cross_attention_dim": 32}
    )
    monkeypatch.setattr(
        architecture, "VAE", {**architecture.VAE, "block_out_channels": (32, 32, 32, 32)}
    )
    monkeypatch.setattr(architecture, "TEXT_ENCODER", {**architecture.TEXT_ENCODER, **text})


def test_an_architecture_is_written_and_loaded(tmp_path, small_architecture):
    state = torch.get_rng_state()
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        architecture.write_sd21_architecture(tmp_path / name, seed=seed)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_default_dtype() == torch.float32
    models = {
        name: load_model(str(tmp_path / name), device=CPU, dtype=torch.float32)
        for name in ("one", "again", "other")
    }
    one = models["one"]
    assert one.fingerprint() == models["again"].fingerprint() != models["other"].fingerprint()
    assert (one.image_size, one.latent_side, one.max_tokens) == (512, 64, 77)
    assert one.scheduler.config.beta_schedule == "scaled_linear"
    assert float(one.scheduler.alphas_cumprod[-1]) == pytest.approx(0.0047, abs=1e-4)  # SD's
    query = one.unet.down_blocks[2].attentions[0].transformer_blocks[0].attn1.to_q.weight
    assert float(query.std()) == pytest.approx(architecture.PROJECTION_STD * 64**-0.5, rel=0.05)
    assert one.tokenizer("a dog", padding="max_length", max_length=77)["input_ids"][-1] < 49408
