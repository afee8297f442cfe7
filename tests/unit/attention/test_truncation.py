from dataclasses import replace

import pytest
import torch
from diffusers import UNet2DConditionModel
from random_models import random_unet
from sd21_layers import CROSS_LAYERS, SELF_LAYER
from torch.utils.flop_counter import FlopCounterMode

from iseg_cli.attention.attention_capture import AttentionCapture, CapturePlan
from iseg_cli.attention.map_extractor import MapExtractor
from iseg_cli.attention.truncation import AttentionSite, last_site, truncate
from iseg_cli.benchmark.architecture import UNET
from iseg_cli.config import validate

SIDE = 16
PLAN = CapturePlan(CROSS_LAYERS, {4: 0.7, 2: 0.3}, SELF_LAYER)
EARLY = CapturePlan(("down_blocks.1.attentions.1",), {2: 1.0}, "down_blocks.0.attentions.0")
PLANS = {
    "as the method reads": PLAN,
    "chosen heads": replace(PLAN, self_heads=(1,), cross_heads={4: (3, 17)}),
    "ends in cross-attention": replace(
        PLAN, cross_layers=("up_blocks.3.attentions.2",), cross_weights={1: 1.0}
    ),
    "ends in an earlier block": replace(PLAN, self_layer="up_blocks.2.attentions.0"),
    "ends in the middle": CapturePlan(
        ("mid_block.attentions.0",), {8: 1.0}, "down_blocks.0.attentions.1"
    ),
    "ends in the encoder": EARLY,
}


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(1)
    return random_unet()


@pytest.fixture(scope="module")
def inputs():
    generator = torch.Generator().manual_seed(2)
    latents = torch.randn(2, 4, SIDE, SIDE, generator=generator)
    return latents, torch.tensor([100]), torch.randn(2, 9, 32, generator=generator)


def read(unet, whole, inputs, plan, *, to_end, key_scale=None):
    capture = AttentionCapture(whole, plan, side=SIDE, to_end=to_end)
    with torch.inference_mode(), capture.attached(key_scale) as captured:
        unet(*inputs)
    return captured


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("key_scale", [None, torch.full((2, 9), 1.6)], ids=["plain", "keys"])
def test_what_is_read_is_the_same_to_the_last_bit(unet, inputs, name, key_scale):
    plan = PLANS[name]
    whole = read(unet, unet, inputs, plan, to_end=True, key_scale=key_scale)
    short = read(truncate(unet, plan.last), unet, inputs, plan, to_end=False, key_scale=key_scale)
    assert whole.heads == short.heads
    assert whole.seen == short.seen
    assert whole.cross.keys() == short.cross.keys()
    for side, cross in whole.cross.items():
        assert torch.equal(cross, short.cross[side])
    # Chosen heads are projected alone, which may round otherwise.
    torch.testing.assert_close(whole.self_attention, short.self_attention, rtol=1e-5, atol=1e-8)
    if plan.self_heads is None:
        assert torch.equal(whole.self_attention, short.self_attention)


@pytest.mark.parametrize("name", PLANS)
def test_the_unet_itself_is_unchanged(unet, inputs, name):
    with torch.inference_mode():
        before = unet(*inputs).sample
    names = [name for name, _ in unet.named_modules()]
    short = truncate(unet, PLANS[name].last)
    read(short, unet, inputs, PLANS[name], to_end=False)
    assert [name for name, _ in unet.named_modules()] == names
    with torch.inference_mode():
        assert torch.equal(unet(*inputs).sample, before)


def run_modules(unet, short, inputs, plan):
    """Return the names of the UNet's modules that a forward of `short` calls."""
    called = set()
    handles = [
        module.register_forward_hook(lambda *_, name=name: called.add(name))
        for name, module in unet.named_modules()
    ]
    read(short, unet, inputs, plan, to_end=False)
    for handle in handles:
        handle.remove()
    return called


def test_nothing_behind_the_last_attention_is_run(unet, inputs):
    called = run_modules(unet, truncate(unet, PLAN.last), inputs, PLAN)
    last = f"{SELF_LAYER}.transformer_blocks.0"
    assert f"{last}.attn1.to_q" in called
    assert f"{last}.attn1.to_k" in called
    behind = (
        *(f"{last}.{part}" for part in ("attn1.to_v", "attn1.to_out", "attn2", "norm2", "ff")),
        *(f"up_blocks.3.{part}" for part in ("resnets.2", "attentions.2")),
        *(f"{SELF_LAYER}.proj_out", "conv_norm_out", "conv_out"),
    )
    assert not [name for name in called if name.startswith(behind)]


def test_an_early_end_runs_nothing_further_down(unet, inputs):
    called = run_modules(unet, truncate(unet, EARLY.last), inputs, EARLY)
    assert "down_blocks.1.attentions.1.transformer_blocks.0.attn2.to_k" in called
    assert not [n for n in called if n.startswith(("down_blocks.2", "mid_block", "up_blocks"))]


def test_sites_are_sorted_as_a_forward_runs_them():
    sites = [
        AttentionSite("down_blocks.0.attentions.1", "attn2"),
        AttentionSite("down_blocks.2.attentions.0", "attn1"),
        AttentionSite("mid_block.attentions.0", "attn1"),
        AttentionSite("mid_block.attentions.0", "attn2"),
        AttentionSite("up_blocks.1.attentions.2", "attn2"),
        AttentionSite("up_blocks.3.attentions.0", "attn2"),
        AttentionSite("up_blocks.3.attentions.1", "attn1"),
    ]
    shuffled = [sites[index] for index in (4, 0, 6, 2, 5, 1, 3)]
    assert sorted(shuffled, key=AttentionSite.sort_key) == sites
    assert last_site(sites[::-1]) == sites[-1]
    assert PLAN.last == AttentionSite(SELF_LAYER, "attn1")


def test_what_sd21_saves_at_its_true_size():
    """The figures in the docs: GFLOP for an image of 512 px."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(**UNET)
        inputs = (torch.empty(1, 4, 64, 64), torch.empty(1), torch.empty(1, 77, 1024))

    def gflop(model, plan):
        capture = AttentionCapture(unet, plan, side=64, to_end=model is unet)
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            if model is unet:
                unet(*inputs)
            else:
                with capture.attached():
                    model(*inputs)
        return counter.get_total_flops() / 1e9

    assert gflop(unet, PLAN) == pytest.approx(804, abs=1)
    short = truncate(unet, PLAN.last)
    assert gflop(short, PLAN) == pytest.approx(716, abs=1)  # with the maps that are kept
    assert gflop(short, replace(PLAN, self_heads=(1, 2))) == pytest.approx(709, abs=1)


def test_a_compiled_forward_is_one_graph_and_reads_the_same(unet, inputs):
    plan = replace(PLAN, self_heads=(1,), cross_heads={4: (3, 17)})
    eager = read(truncate(unet, plan.last), unet, inputs, plan, to_end=False)
    short = truncate(unet, plan.last)
    short.compile(backend="eager", fullgraph=True)  # an error where Python would have to step in
    capture = AttentionCapture(unet, plan, side=SIDE, to_end=False)
    for _ in range(2):
        with torch.inference_mode(), capture.attached() as captured:
            short(*inputs)
        assert captured.heads == eager.heads
        for side, cross in eager.cross.items():
            assert torch.equal(captured.cross[side], cross)
        assert torch.equal(captured.self_attention, eager.self_attention)


def test_the_setting_compiles_what_is_run_and_nothing_else(random_model, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(self))
    extractor = MapExtractor(random_model, validate({"compile": True}))
    assert len(compiled) == 2
    assert random_model.vae.encoder in compiled
    assert random_model.unet not in compiled
    assert any(isinstance(module, UNet2DConditionModel) for module in compiled)
    assert extractor.settings.compile
