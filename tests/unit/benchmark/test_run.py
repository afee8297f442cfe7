"""The parts of the benchmark: arithmetic by hand, the plain path beside the fast one, figures."""

import json
import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from made_up_benchmark import made_up

from iseg_cli.backbones.loading import load_model
from iseg_cli.benchmark import architecture, plot, report
from iseg_cli.benchmark.limits import count_arithmetic, matrix_product_rate
from iseg_cli.benchmark.loops import _rate, equal_pixels, run_generate, run_plain
from iseg_cli.benchmark.plain_ops import cluster_by_distance, reduce_entropy_plainly
from iseg_cli.benchmark.reference import PlainSegmenter
from iseg_cli.benchmark.result import BatchResult, Loop, masks_to_dict
from iseg_cli.benchmark.text import masks_as_text
from iseg_cli.config import load_settings
from iseg_cli.config.schema import SELF_LAYER
from iseg_cli.errors import DataError, SettingsError
from iseg_cli.ops.cluster import cluster_maps
from iseg_cli.ops.ent_self import reduce_entropy
from iseg_cli.readers.decoding import load_image
from iseg_cli.readers.registry import open_dataset
from iseg_cli.segmentation.segmenter import Segmenter, fit_input
from iseg_cli.storage import encode_mask
from iseg_cli.types import Mask

CPU = torch.device("cpu")


def model_of(vae, unet, *, side, factor):
    """What counting needs of a model: its configurations, on no device at all."""
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


@pytest.fixture
def small_architecture(monkeypatch):
    """The architecture's kinds of blocks with few channels."""
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
    assert float(query.std()) == pytest.approx(architecture.SPREAD * 64**-0.5, rel=0.05)
    assert one.tokenizer("a dog", padding="max_length", max_length=77)["input_ids"][-1] < 49408


def test_a_matrix_product_is_counted_by_its_side(monkeypatch):
    monkeypatch.setattr("iseg_cli.benchmark.limits.best_seconds", lambda work, device: 0.5)
    assert matrix_product_rate(CPU, torch.float32, side=10) == 2 * 10**3 / 0.5


def test_plain_entropy_is_the_fast_one():
    generator = torch.Generator().manual_seed(0)
    attention = (3 * torch.randn(1, 49, 49, generator=generator)).softmax(dim=-1)
    attention[:, :, 7] = 0  # a key that nothing attends to
    attention[:, 3] = 1e-30  # a query that keeps nothing
    for log in ("natural", "log10"):
        for step in (0.0, 0.02, 0.5):
            rule = load_settings(overrides={"ent_self": {"step_size": step, "log": log}}).ent_self
            expected = reduce_entropy(attention, step_size=step, log=log)
            found = reduce_entropy_plainly(attention, rule)
            torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_plain_clustering_is_the_fast_one():
    generator = torch.Generator().manual_seed(0)
    maps = (4 * torch.randn(1, 24 * 24, 9, generator=generator)).softmax(dim=1)
    maps[:, 5, 2] = 0
    expected = cluster_maps(maps, side=24, rounds=5)
    found = cluster_by_distance(maps[0], side=24, rounds=5)
    torch.testing.assert_close(found, expected[0], atol=1e-7, rtol=1e-4)


def agreement(settings, *, model, images, batch_size):
    """Share of pixels that both paths label alike, and the numbers of categories that were met."""
    reader = open_dataset("emoji-voc", split="val")
    plain = PlainSegmenter(load_model(model), settings, reader.label_set)
    fast = Segmenter(
        load_model(model),
        settings,
        background_words=reader.label_set.background_words,
        batch_size=batch_size,
    )
    chosen = reader.image_ids[:images]
    truths = [reader.ground_truth(image_id).labels for image_id in chosen]
    named = [reader.label_set.select(np.unique(truth).tolist()) for truth in truths]
    sizes = [(90, 120)] * len(truths)
    rng = np.random.default_rng(0)
    side = fast.model.image_size
    if model == "tiny":
        pictures = [load_image(reader.sample(image_id).image_path) for image_id in chosen]
        pictures = [fit_input(picture, settings, side)[0] for picture in pictures]
    else:
        coarse = rng.integers(0, 256, (len(chosen), 8, 8, 3), dtype=np.uint8)
        pictures = list(coarse.repeat(side // 8, 1).repeat(side // 8, 2))
    labelled = []
    for start in range(0, len(chosen), batch_size):
        part = slice(start, start + batch_size)
        labelled += fast.segment_batch(
            np.stack(pictures[part]), named[part], sizes[part], reader.label_set
        )
    masks = [
        plain.segment(picture, own, size)
        for picture, own, size in zip(pictures, named, sizes, strict=True)
    ]
    same = [
        (one.mask.labels == mask.labels).mean() for one, mask in zip(labelled, masks, strict=True)
    ]
    found = [len(np.unique(mask.labels)) > 1 for mask in masks]
    assert sum(found) >= len(found) / 2  # there was something to agree on
    return float(np.mean(same)), {len(own) for own in named}


def test_the_plain_path_labels_as_the_fast_one():
    settings = load_settings("emoji-voc")
    share, counts = agreement(settings, model="tiny", images=12, batch_size=4)
    assert counts == {1, 2, 3}
    assert share >= 0.9999


@pytest.mark.parametrize(
    "changes",
    [
        {"cluster.enabled": True, "capture.self_heads": (1,), "cat_cross.gamma": 1.6},
        {"refine.mode": "adaptive", "assign.background": "threshold"},
        {"refine.mode": "single", "assign.background": "none"},
        {"refine.mode": "none", "assign.ignore_low": 0.2, "assign.ignore_high": 0.6},
        {"capture.cross_weights": {1: 0.5, 2: 0.5}, "capture.cross_heads": {1: (0, 3), 2: (1,)}},
        {"capture.self_layer": "up_blocks.2.attentions.1"},
        {"capture.self_layer": "down_blocks.2.attentions.0"},
    ],
    ids=["clustered", "adaptive", "single", "band", "resolutions", "half grid", "quarter grid"],
)
def test_the_plain_path_knows_the_settings(changes):
    layers = ("down_blocks.1.attentions.1", "up_blocks.2.attentions.0", "up_blocks.3.attentions.0")
    settings = load_settings(
        "emoji-voc",
        overrides={"capture.cross_layers": (*layers, "up_blocks.3.attentions.1"), **changes},
    )
    share, _ = agreement(settings, model="tiny", images=4, batch_size=2)
    # A position between two clusters goes to either by rounding, and moves their means. On a grid
    # of half the side a tie that rounding decides is four times as many pixels.
    is_coarse = settings.capture.self_layer != SELF_LAYER
    assert share >= (0.999 if settings.cluster.enabled or is_coarse else 0.9999)


def test_the_plain_path_splits_prompts_and_reads_coarser_maps(random_model_folder):
    # 77 tokens hold two or three of these categories, spelled letter by letter.
    settings = load_settings("paper/voc")
    share, counts = agreement(settings, model=str(random_model_folder), images=6, batch_size=2)
    assert max(counts) == 3
    assert share >= 0.9999


def test_the_plain_path_notices_another_head():
    settings = load_settings("emoji-voc")
    other = load_settings("emoji-voc", overrides={"capture.self_heads": (0,)})
    reader = open_dataset("emoji-voc", split="val")
    sample = reader.sample(reader.image_ids[0])
    named = reader.label_set.select(np.unique(reader.ground_truth(sample.image_id).labels).tolist())
    pixels, size = fit_input(load_image(sample.image_path), settings, 128)
    masks = [
        PlainSegmenter(load_model("tiny"), own, reader.label_set).segment(pixels, named, size)
        for own in (settings, other)
    ]
    assert (masks[0].labels != masks[1].labels).any()


def test_an_image_without_categories_is_all_background():
    reader = open_dataset("emoji-voc", split="val")
    plain = PlainSegmenter(load_model("tiny"), load_settings("emoji-voc"), reader.label_set)
    mask = plain.segment(np.zeros((128, 128, 3), np.uint8), (), (4, 6))
    assert mask.labels.shape == (4, 6)
    assert not mask.labels.any()


def test_the_plain_path_refuses_what_it_does_not_know():
    settings = load_settings("emoji-voc", overrides={"cat_cross.apply": "keys"})
    label_set = open_dataset("emoji-voc", split="val").label_set
    with pytest.raises(SettingsError, match="--skip-reference"):
        PlainSegmenter(load_model("tiny"), settings, label_set)


def test_loops_leave_masks_and_count_from_the_first_batch(tmp_path, monkeypatch):
    settings = load_settings("emoji-voc", overrides={"runtime.device": "cpu"})
    fast = run_generate(settings, batch_size=2, images=4, out=tmp_path / "fast")
    plain = run_plain(settings, images=3, out=tmp_path / "plain")
    assert (fast.images, plain.images) == (4, 3)
    assert len(list((tmp_path / "fast").glob("*.png"))) == 4
    assert len(list((tmp_path / "plain").glob("*.png"))) == 3
    assert equal_pixels(tmp_path / "fast", tmp_path / "plain") >= 0.9999
    assert min(fast.peak_memory, plain.peak_memory) > 50 * 2**20  # PyTorch alone takes more

    files = []
    for index, second in enumerate((10.0, 10.5, 11.0, 13.0)):
        files.append(tmp_path / f"{index}.png")
        files[-1].write_bytes(b"")
        os.utime(files[-1], ns=(0, round(second * 1e9)))
    assert _rate(files, first=2) == pytest.approx(2 / 2.5)
    assert _rate(files, first=1) == pytest.approx(3 / 3.0)


def test_threads_are_as_before_a_loop(tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        settings = load_settings("emoji-voc", overrides={"runtime.device": "cpu"})
        run_generate(settings, batch_size=2, images=4, out=tmp_path / "masks")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_an_image_that_fails_is_no_figure(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("a", "b", "c", "d"):
        (tmp_path / "images" / f"{name}.jpg").write_bytes(b"no image")
    settings = load_settings(
        "folder",
        overrides={
            "root": tmp_path / "images",
            "categories": ("dog",),
            "model": "tiny",
            "runtime.device": "cpu",
        },
    )
    with pytest.raises(DataError, match="cannot be measured"):
        run_generate(settings, batch_size=2, images=4, out=tmp_path / "masks")


def test_equal_pixels_are_counted_over_the_masks_that_both_have(tmp_path):
    palette = np.zeros((256, 3), np.uint8)

    def write(path, values):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_mask(Mask(np.array(values, np.uint8)), palette))

    write(tmp_path / "one" / "a.png", [[0, 1], [2, 3]])
    write(tmp_path / "other" / "a.png", [[0, 1], [2, 4]])
    write(tmp_path / "one" / "deep" / "b.png", [[7, 7, 7, 7]])
    write(tmp_path / "other" / "deep" / "b.png", [[7, 7, 7, 7]])
    write(tmp_path / "other" / "c.png", [[9]])
    assert equal_pixels(tmp_path / "one", tmp_path / "other") == 7 / 8


def test_figures_that_follow_from_others():
    speed = made_up()
    assert speed.best.batch_size == 8
    assert speed.speedup == 2.0
    assert speed.speedup_of(speed.batches[0]) == 1.25
    assert speed.limit == 32.0  # 96 GFLOP/s over 3 GFLOP an image
    assert speed.share_of_limit(speed.best.loop) == 0.5
    assert made_up(plain=None).speedup is None


def test_the_json_holds_what_was_measured_and_what_follows():
    found = masks_to_dict(made_up())
    assert json.loads(json.dumps(found)) == found
    assert set(found) == {
        *("setup", "flop_per_image", "device_flop_per_second", "limit_images_per_second"),
        *("plain", "batches", "best_batch_size", "speedup"),
    }
    assert found["flop_per_image"] == {
        "vae": 10**9,
        "unet": 3 * 10**9,
        "unet_needed": 2 * 10**9,
        "needed": 3 * 10**9,
    }
    assert (found["best_batch_size"], found["speedup"]) == (8, 2.0)
    assert found["limit_images_per_second"] == 32.0
    assert found["plain"] == {
        "images": 8,
        "images_per_second": 8.0,
        "peak_memory": 2**29,
        "share_of_limit": 0.25,
    }
    assert found["batches"][1] == {
        "batch_size": 8,
        "images": 8,
        "images_per_second": 16.0,
        "peak_memory": 2**31,
        "share_of_limit": 0.5,
        "seconds_per_image": {
            "decode": 0.001,
            "vae": 0.002,
            "unet": 0.05,
            "refinement": 0.01,
            "assignment": 0.003,
            "write": 0.004,
        },
        "speedup": 2.0,
        "equal_pixels": 0.99999,
    }
    assert found["batches"][2]["seconds_per_image"] is None
    without = masks_to_dict(made_up(plain=None))
    assert (without["plain"], without["speedup"]) == (None, None)


def test_the_table_shows_every_batch_size():
    lines = masks_as_text(made_up()).splitlines()
    cells = [line.split() for line in lines]
    assert ["plain", "8.00", "1.00", "-", "25.0%", "0.50", *"------"] in cells
    stages = ["1.0", "2.0", "50.0", "10.0", "3.0", "4.0"]
    assert ["8", "16.00", "2.00", "99.999%", "50.0%", "2.00", *stages] in cells
    assert ["16", "15.00", "1.88", "99.998%", "46.9%", "4.00", *"------"] in cells
    assert "Best batch size 8: 2.00 times the plain path" in lines[-1]


def test_a_share_that_is_not_all_is_not_rounded_to_all():
    batches = (BatchResult(1, Loop(8, 10.0, 0), None, 0.9999999),)
    assert "99.999%" in masks_as_text(made_up(batches=batches))


def test_the_plot_is_a_png(tmp_path):
    lines = report.write(report.Report(made_up()), tmp_path)
    assert (tmp_path / "benchmark.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "benchmark.json").read_text())["masks"]["speedup"] == 2.0
    assert len(lines) == 2


def test_without_matplotlib_a_sentence_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(plot, "can_plot", lambda: False)
    lines = report.write(report.Report(made_up()), tmp_path)
    assert lines[-1] == plot.MISSING
    assert not (tmp_path / "benchmark.png").exists()
    assert (tmp_path / "benchmark.json").exists()
