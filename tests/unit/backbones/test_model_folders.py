"""Model folders as people have them: whole ones load, every other one is named in a sentence."""

import json
import shutil
from fnmatch import fnmatch
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from random_models import random_unet, write_json, write_tokenizer
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel

from iseg_cli.backbones import hub
from iseg_cli.backbones.families import FAMILIES, SUPPORTED
from iseg_cli.backbones.loading import load_model
from iseg_cli.backbones.noise_schedule import SUPPORTED as SCHEDULERS
from iseg_cli.backbones.noise_schedule import load_noise_schedule
from iseg_cli.backbones.single_files import lora_files
from iseg_cli.backbones.sources import LAYOUT, STEMS, download_command, unet_config
from iseg_cli.backbones.unet_layout import attended_side, attention_layout
from iseg_cli.backbones.vocabulary import load_tokenizer
from iseg_cli.backbones.weight_files import choose_weights, find_weights
from iseg_cli.clip.loading import load_clip
from iseg_cli.config.backbone import read_backbone
from iseg_cli.config.resources import TINY_CLIP, TINY_MODEL
from iseg_cli.errors import IsegError, ModelNotFoundError

CPU = torch.device("cpu")


@pytest.fixture
def folder(random_model_folder, tmp_path):
    """A copy of the random model that a test may change."""
    return Path(shutil.copytree(random_model_folder, tmp_path / "copy"))


def load(folder, **options):
    return load_model(str(folder), device=CPU, dtype=torch.float32, **options)


def refusal(folder):
    """Return what is said of a folder that cannot be loaded: always one error of ours."""
    with pytest.raises(ModelNotFoundError) as caught:
        load(folder)
    message = str(caught.value)
    assert "hf download" not in message  # a folder's fault is not mended by a download
    assert "repo" not in message
    return message


def edit(path, **values):
    write_json(path, {**json.loads(path.read_text("utf-8")), **values})


# --- Families -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pipeline", "family"),
    [
        ("StableDiffusion3Pipeline", "Stable Diffusion 3"),
        ("StableDiffusionXLPipeline", "Stable Diffusion XL"),
        ("StableDiffusionXLInpaintPipeline", "Stable Diffusion XL"),
        ("FluxPipeline", "FLUX.1"),
        ("Flux2KleinPipeline", "FLUX.2"),
        ("PixArtSigmaPipeline", "PixArt"),
        ("SanaPipeline", "Sana"),
        ("QwenImagePipeline", "Qwen-Image"),
        ("ZImagePipeline", "Z-Image"),
        ("KandinskyV22Pipeline", "Kandinsky"),
        ("IFPipeline", "DeepFloyd IF"),
        ("HunyuanDiTPipeline", "Hunyuan-DiT"),
        ("Lumina2Pipeline", "Lumina"),
        ("StableCascadeDecoderPipeline", "Stable Cascade"),
    ],
)
def test_a_family_is_said_by_its_name_before_any_weights(tmp_path, pipeline, family):
    write_json(tmp_path / "model_index.json", {"_class_name": pipeline})
    (tmp_path / "transformer").mkdir()
    message = refusal(tmp_path)
    assert f"is {family} ({pipeline}), which is not supported; {SUPPORTED}" in message


@pytest.mark.parametrize(
    "pipeline",
    [
        "StableDiffusionPipeline",
        "StableDiffusionImg2ImgPipeline",
        "LatentConsistencyModelPipeline",
        "StableDiffusionControlNetPipeline",
        "StableDiffusionInpaintPipeline",  # with a UNet of a latent's channels, as here
        "PipelineOfMyOwn",
    ],
)
def test_pipelines_of_the_same_parts_load(folder, pipeline):
    write_json(folder / "model_index.json", {"_class_name": pipeline})
    assert load(folder).image_size == 64


def test_every_family_that_is_named_is_a_pipeline_of_diffusers():
    known = [name for name in dir(diffusers) if name.endswith("Pipeline")]
    unknown = [start for start, _ in FAMILIES if not any(name.startswith(start) for name in known)]
    assert unknown == []
    assert not any("StableDiffusionPipeline".startswith(start) for start, _ in FAMILIES)


def test_an_unknown_pipeline_without_a_unet_is_named(tmp_path):
    write_json(tmp_path / "model_index.json", {"_class_name": "NewPipeline"})
    (tmp_path / "transformer").mkdir()
    assert "is a NewPipeline without a UNet, which is not supported" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("channels", "kind"),
    [(9, "an inpainting UNet"), (8, "InstructPix2Pix"), (7, "an upscaling"), (5, "depth")],
)
def test_unets_that_take_more_than_a_latent(folder, channels, kind):
    edit(folder / "unet" / "config.json", in_channels=channels)
    message = refusal(folder)
    assert kind in message
    assert f"{channels} input channels where a latent has 4" in message


@pytest.mark.parametrize(
    ("part", "values", "said"),
    [
        ("unet", {"addition_embed_type": "text_time"}, "Stable Diffusion XL's kind"),
        ("unet", {"encoder_hid_dim_type": "image_proj"}, "takes more than a text"),
        ("unet", {"class_embed_type": "projection"}, "takes more than a text"),
        ("unet", {"_class_name": "UNet3DConditionModel"}, "an? UNet3DConditionModel as its unet"),
        ("unet", {"down_block_types": ["SimpleCrossAttnDownBlock2D"] * 4}, "DeepFloyd's"),
        ("unet", {"sample_size": None}, "sample_size None; it must be the side"),
        ("unet", {"sample_size": [16, 32]}, r"sample_size \[16, 32\]"),
        ("unet", {"attention_head_dim": [2, 4]}, "config.json: the configuration of the UNet"),
        ("unet", {"cross_attention_dim": 64}, "gives 32 channels, but its unet takes 64"),
        ("vae", {"_class_name": "VQModel"}, "a VQModel as its vae"),
        ("vae", {"latent_channels": 16}, "4 input channels where a latent has 16"),
        ("text_encoder", {"architectures": ["T5EncoderModel"]}, "a T5EncoderModel as its text"),
        ("text_encoder", {"architectures": ["BertModel"]}, "a BertModel as its text_encoder"),
    ],
)
def test_parts_of_another_kind(folder, part, values, said):
    edit(folder / part / "config.json", **values)
    with pytest.raises(ModelNotFoundError, match=said):
        load(folder)


def test_a_side_may_be_given_twice(folder):
    edit(folder / "unet" / "config.json", sample_size=[16, 16])
    model = load(folder)
    assert (model.latent_side, model.image_size) == (16, 64)


def test_a_folder_of_one_part_is_said_to_be_that(random_model_folder, tmp_path):
    unet = random_model_folder / "unet"
    assert "is one part of a model (UNet2DConditionModel)" in refusal(unet)
    assert "is one part of a model (clip_text_model)" in refusal(
        random_model_folder / "text_encoder"
    )
    net = ControlNetModel(
        block_out_channels=(16,),
        down_block_types=("DownBlock2D",),
        norm_num_groups=4,
        conditioning_embedding_out_channels=(4, 4),
        layers_per_block=1,
    )
    net.save_pretrained(tmp_path)
    assert "is a ControlNet (ControlNetModel) and not a whole model" in refusal(tmp_path)


def lora(path):
    name = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: torch.ones(4, 32)}, path)
    return path


def test_lora_is_told_from_a_model(tmp_path):
    path = lora(tmp_path / "pytorch_lora_weights.safetensors")
    assert "holds a LoRA and no model" in refusal(tmp_path)
    assert f"model {path} is a LoRA and not a model" in refusal(path)


def test_lora_inside_a_model_is_found(folder):
    assert lora_files(folder) == []
    first = lora(folder / "pytorch_lora_weights.safetensors")
    second = lora(folder / "unet" / "detail.safetensors")
    assert lora_files(folder) == [first, second]
    assert load(folder).image_size == 64


def test_single_files_are_said_to_be_that(tmp_path):
    whole = tmp_path / "v1-5.safetensors"
    save_file({"model.diffusion_model.input_blocks.0.0.weight": torch.ones(1)}, whole)
    assert "is a single file of weights, which is not supported: convert it" in refusal(whole)
    for name in ("v1-5.ckpt", "model.gguf", "weights.bin"):
        (tmp_path / name).write_bytes(b"x")
        assert "is a single file of weights" in refusal(tmp_path / name)
    (tmp_path / "broken.safetensors").write_bytes(b"x")
    assert "is not a readable safetensors file" in refusal(tmp_path / "broken.safetensors")
    (tmp_path / "notes.txt").write_text("x")
    assert "is a file, not a folder" in refusal(tmp_path / "notes.txt")
    only = tmp_path / "only"
    only.mkdir()
    shutil.copy(whole, only)
    assert "holds a single file of weights (v1-5.safetensors)" in refusal(only)


@pytest.mark.parametrize("name", ["models/v1-5.safetensors", "v1-5.ckpt", "a/b/c.safetensors"])
def test_a_single_file_that_is_not_there_is_no_hub_id(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert f"model {name} is no file that exists; check --model" in refusal(name)


# --- Parts that are missing or broken -----------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ("unet", "unet/config.json"),
        ("vae", "vae/config.json"),
        ("text_encoder", "text_encoder/config.json"),
        ("tokenizer", "tokenizer/tokenizer.json"),
        ("scheduler", "scheduler/scheduler_config.json"),
    ],
)
def test_a_part_that_is_missing_is_named(folder, part, named):
    shutil.rmtree(folder / part)
    assert f"{folder / named} is missing" in refusal(folder)


CONTENTS = {
    "deleted": None,
    "empty": b"",
    "object": b"{}",
    "list": b"[]",
    "null": b"null",
    "number": b"1e999",
    "text": b'"text"',
    "garbage": bytes(range(256)),
    "half": b'{"_class_name": "Stable',
    "deep": b"[" * 100_000,
    "wrong": b'{"_class_name": 3, "model_max_length": {}, "architectures": 7, "pad_token": []}',
}
JSON_FILES = sorted(path.relative_to(TINY_MODEL) for path in TINY_MODEL.rglob("*.json"))
MAY_LACK = {"model_index.json", "tokenizer/tokenizer_config.json"}
"""Without these, or with an empty object in the second, a model is whole enough to load."""


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("name", JSON_FILES, ids=str)
def test_every_file_that_is_damaged_is_named(tmp_path, name, content):
    folder = Path(shutil.copytree(TINY_MODEL, tmp_path / "tiny"))
    if CONTENTS[content] is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(CONTENTS[content])
    fine = content == "deleted" or (content == "object" and "tokenizer_config" in str(name))
    if fine and str(name) in MAY_LACK:
        assert load(folder).max_tokens == 32
        return
    with pytest.raises(IsegError) as caught:
        load(folder)
    part = name if content != "wrong" or "tokenizer" not in str(name) else "tokenizer"
    assert str(folder / part) in str(caught.value)


WEIGHTS = (
    "unet/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
    "text_encoder/model.safetensors",
)
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 123\n"


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_that_are_cut_short_are_named(folder, name):
    path = folder / name
    whole = path.read_bytes()
    damaged = "is cut short or damaged; download it again"
    cases = {b"": damaged, whole[:5]: damaged, whole[:100]: damaged, whole[:-1]: damaged}
    cases |= {whole + b"x": damaged, bytes(64): damaged, b"<html>" * 9: damaged}
    cases[POINTER] = "is a pointer of Git LFS, not weights; run git lfs pull in its folder"
    for content, said in cases.items():
        path.write_bytes(content)
        assert refusal(folder).endswith(f"{path} {said}")


@pytest.mark.parametrize(
    ("part", "values", "said"),
    [
        ("unet", {"block_out_channels": [16, 32, 32, 32]}, "has the shape (32), and (16) is"),
        (
            "text_encoder",
            {"intermediate_size": 48},
            "fc1.bias has the shape (64), and (48) is expected",
        ),
        ("text_encoder", {"max_position_embeddings": 10}, "has the shape (77, 32), and (10, 32)"),
    ],
)
def test_weights_that_do_not_fit_are_one_sentence(folder, capfd, part, values, said):
    """Transformers prints a table of them, diffusers gives advice that is no help here."""
    edit(folder / part / "config.json", **values)
    sentence = refusal(folder)
    assert f"the weights in {folder / part} do not fit its config.json: " in sentence
    assert said in sentence
    assert sentence.endswith(" is expected")
    assert capfd.readouterr() == ("", "")


def test_what_the_libraries_log_about_weights_is_not_printed(folder, capfd):
    edit(folder / "unet" / "config.json", of_a_later_version=1)
    for name in WEIGHTS:
        weights = load_file(folder / name)
        save_file({**weights, "further": torch.zeros(1)}, folder / name)
    load(folder)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "preprocessor_config.json"])
def test_every_file_of_a_clip_that_is_damaged_is_named(tmp_path, name, content):
    folder = Path(shutil.copytree(TINY_CLIP, tmp_path / "clip"))
    if CONTENTS[content] is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(CONTENTS[content])
    if name == "preprocessor_config.json" and content in ("deleted", "object", "wrong"):
        assert load_clip(str(folder), device=CPU, dtype=torch.float32).image_size == 128
        return
    with pytest.raises(IsegError) as caught:
        load_clip(str(folder), device=CPU, dtype=torch.float32)
    assert str(folder) in str(caught.value)
    assert "hf download" not in str(caught.value)


@pytest.mark.parametrize("value", ["text", [], {}, -1, 0, 1.5, True, 1e30])
@pytest.mark.parametrize(
    "where",
    [
        ("unet", "block_out_channels"),
        ("unet", "norm_num_groups"),
        ("unet", "layers_per_block"),
        ("vae", "block_out_channels"),
        ("vae", "layers_per_block"),
        ("text_encoder", "num_attention_heads"),
        ("text_encoder", "hidden_act"),
        ("text_encoder", "max_position_embeddings"),
    ],
    ids="/".join,
)
def test_values_of_other_types_are_no_traceback(folder, where, value):
    part, key = where
    edit(folder / part / "config.json", **{key: value})
    said = None
    try:
        load(folder)
    except IsegError as error:
        said = str(error)
    assert said is None or str(folder / part) in said


# --- Tokenizers ---------------------------------------------------------------------------------


def test_a_tokenizer_of_two_tokens_is_refused(folder):
    """Without its vocabulary the library makes up one: nonsense went in without a word."""
    for name in ("vocab.json", "merges.txt", "special_tokens_map.json"):
        (folder / "tokenizer" / name).unlink()
    assert f"{folder / 'tokenizer' / 'tokenizer.json'} is missing, and so are" in refusal(folder)


@pytest.mark.parametrize("missing", ["vocab.json", "merges.txt"])
def test_half_of_a_slow_tokenizer_is_refused(folder, missing):
    (folder / "tokenizer" / missing).unlink()
    assert f"{folder / 'tokenizer' / missing} is missing" in refusal(folder)


def test_the_vocabulary_must_fit_the_text_encoder(folder):
    tokenizer = folder / "tokenizer"
    size = len(json.loads((tokenizer / "vocab.json").read_text("utf-8")))
    few = write_tokenizer(tokenizer, words=("dog",))
    assert 2 * few > size  # not told from a text encoder with places to spare
    load(folder)
    many = write_tokenizer(tokenizer, words=[f"word{i}" for i in range(400)])
    message = refusal(folder)
    assert (
        f"has {many} tokens, up to number {many - 1}, but the text encoder knows {size}" in message
    )
    edit(folder / "text_encoder" / "config.json", vocab_size=49408)
    state = load_file(folder / "text_encoder" / "model.safetensors")
    [name] = [key for key in state if key.endswith("token_embedding.weight")]
    state[name] = torch.zeros(49408, state[name].shape[1])
    save_file(state, folder / "text_encoder" / "model.safetensors", {"format": "pt"})
    assert "but the text encoder knows 49408; take the tokenizer that belongs" in refusal(folder)


def test_merges_that_were_cut_short_are_refused(folder):
    path = folder / "tokenizer" / "merges.txt"
    lines = path.read_text("utf-8").splitlines()
    path.write_text("\n".join(lines[: len(lines) // 2]), "utf-8")
    assert "merges.txt has" in refusal(folder)
    path.write_bytes(b"\xff\xfe\x00")
    assert str(folder / "tokenizer") in refusal(folder)


def test_special_tokens_that_the_vocabulary_lacks(folder):
    edit(folder / "tokenizer" / "tokenizer_config.json", pad_token="[PAD]")
    edit(folder / "tokenizer" / "special_tokens_map.json", pad_token="[PAD]")
    assert "the vocabulary in" in refusal(folder)  # one more token than the encoder has places


def test_a_limit_that_the_tokenizer_leaves_out_is_the_text_encoders(folder):
    path = folder / "tokenizer" / "tokenizer_config.json"
    content = json.loads(path.read_text("utf-8"))
    del content["model_max_length"]
    write_json(path, content)
    assert load(folder).max_tokens == 77
    edit(path, model_max_length=20)
    assert load(folder).max_tokens == 20


def test_the_end_that_a_clip_looks_for(random_clip_folder, tmp_path):
    """CLIP's embedding of a text is read at its end token."""
    folder = Path(shutil.copytree(random_clip_folder, tmp_path / "clip"))
    config = json.loads((folder / "config.json").read_text("utf-8"))
    size = config["text_config"]["vocab_size"]
    config["text_config"]["eos_token_id"] = size - 3
    write_json(folder / "config.json", config)
    with pytest.raises(ModelNotFoundError, match=rf"with token {size - 1}, but .* for {size - 3}"):
        load_clip(str(folder), device=CPU, dtype=torch.float32)
    config["text_config"]["eos_token_id"] = 2  # as files from before transformers 4.31
    write_json(folder / "config.json", config)
    assert load_clip(str(folder), device=CPU, dtype=torch.float32).max_tokens == 77


def test_the_embedded_tokenizers_fit():
    for folder, config in ((TINY_MODEL / "tokenizer", TINY_MODEL / "text_encoder"),):
        text = CLIPTextModel.from_pretrained(config).config
        assert load_tokenizer(folder, text, check_end=True).eos_token_id == text.eos_token_id


# --- Schedulers ---------------------------------------------------------------------------------


def test_the_defaults_are_those_of_the_classes():
    """What a file leaves out is the default of its own class, which are not all the same."""
    import inspect

    for name, defaults in SCHEDULERS.items():
        if name == "DPMSolverSDEScheduler":  # needs a package that is not there
            continue
        parameters = inspect.signature(getattr(diffusers, name).__init__).parameters
        assert {key: parameters[key].default for key in defaults} == dict(defaults), name


NAMES = sorted(set(SCHEDULERS) - {"DPMSolverSDEScheduler"})


@pytest.mark.filterwarnings("ignore:__array_wrap__")  # diffusers' KDPM2 under NumPy 2
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"},
        {"beta_schedule": "squaredcos_cap_v2"},
    ],
    ids=["defaults", "stable diffusion", "cosine"],
)
def test_every_scheduler_with_betas_gives_its_own_noise(tmp_path, name, values):
    write_json(tmp_path / "scheduler_config.json", {"_class_name": name, **values})
    ours = load_noise_schedule(tmp_path)
    own = getattr(diffusers, name).from_config(values)
    expected = torch.cumprod(1 - own.betas, dim=0)
    torch.testing.assert_close(ours.alphas_cumprod, expected.float(), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_betas_may_be_listed(tmp_path, name):
    betas = [0.001 * i for i in range(1, 11)]
    config = {"_class_name": name, "trained_betas": betas, "num_train_timesteps": 10}
    write_json(tmp_path / "scheduler_config.json", config)
    kept = load_noise_schedule(tmp_path).alphas_cumprod
    np.testing.assert_allclose(kept, np.cumprod(1 - np.array(betas)), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "schedule"),
    [("DDPMScheduler", "sigmoid"), ("DDPMScheduler", "laplace"), ("HeunDiscreteScheduler", "exp")],
)
def test_schedules_that_other_classes_have_alone(tmp_path, name, schedule):
    config = {"_class_name": name, "beta_schedule": schedule}
    write_json(tmp_path / "scheduler_config.json", config)
    own = getattr(diffusers, name)(beta_schedule=schedule)
    torch.testing.assert_close(
        load_noise_schedule(tmp_path).alphas_cumprod, torch.cumprod(1 - own.betas, dim=0)
    )


def test_the_noise_of_stable_diffusion_by_hand(tmp_path):
    config = {
        "_class_name": "EulerDiscreteScheduler",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "timestep_spacing": "trailing",
        "interpolation_type": "linear",
        "use_karras_sigmas": False,
        "prediction_type": "v_prediction",
    }
    write_json(tmp_path / "scheduler_config.json", config)
    schedule = load_noise_schedule(tmp_path)
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    kept = np.cumprod(1 - betas)
    noisy = schedule.add_noise(torch.ones(1), torch.zeros(1), torch.tensor([100]))
    assert float(noisy) == pytest.approx(kept[100] ** 0.5, rel=1e-4)
    # With betas rescaled to no signal at the last step, all steps change; the last one is noise.
    edit(tmp_path / "scheduler_config.json", rescale_betas_zero_snr=True)
    rescaled = load_noise_schedule(tmp_path)
    roots = np.sqrt(kept)
    expected = ((roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])) ** 2
    np.testing.assert_allclose(rescaled.alphas_cumprod, expected, rtol=1e-3, atol=1e-6)
    assert schedule.config.prediction_type == "v_prediction"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, "names FlowMatchEulerDiscrete"),
        (
            {"_class_name": "EDMEulerScheduler"},
            r"names EDMEulerScheduler, .* are read \(DDIM, .* UniPC",
        ),
        ({"_class_name": "EDMDPMSolverMultistepScheduler"}, "names EDMDPMSolverMultistep"),
        ({"_class_name": "NewScheduler"}, "names NewScheduler"),
        ({"_class_name": None}, "names no class of scheduler"),
        ({"_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": True}, "flow matching"),
        ({"prediction_type": "flow_prediction"}, "flow matching"),
        ({"prediction_type": "x"}, "prediction_type 'x'; it must be one of epsilon"),
        ({"_class_name": "EulerDiscreteScheduler", "timestep_type": "continuous"}, "continuous"),
        ({"beta_schedule": "spiral"}, "has values that no noise comes from"),
        ({"beta_end": 12}, r"its betas are not in \[0, 1\]"),
        ({"beta_end": "much"}, "has values that no noise comes from"),
        ({"num_train_timesteps": 0}, "has values that no noise comes from"),
        ({"trained_betas": 3}, "has values that no noise comes from"),
        ({"trained_betas": [0.1] * 5}, "has values that no noise comes from"),
    ],
)
def test_noise_of_another_kind_is_refused_before_weights_are_read(folder, values, said):
    path = folder / "scheduler" / "scheduler_config.json"
    edit(path, **values)
    for part, stem in STEMS.items():  # no weights are there to be read
        (folder / part / f"{stem}.safetensors").unlink()
    with pytest.raises(ModelNotFoundError, match=said) as caught:
        load(folder)
    assert str(path) in str(caught.value)


# --- Weights in several files -------------------------------------------------------------------


def shard(folder, part, *, variant=None, size="300KB"):
    """Write a part of a model anew, in several files."""
    kind = {"unet": UNet2DConditionModel, "text_encoder": CLIPTextModel}[part]
    module = kind.from_pretrained(folder / part)
    if variant == "fp16":
        module = module.half()
    for path in (folder / part).glob("*.safetensors"):
        path.unlink()
    module.save_pretrained(folder / part, max_shard_size=size, variant=variant)
    return sorted(path.name for path in (folder / part).glob("*.safetensors"))


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_weights_in_several_files_load(folder, random_model, variant):
    shards = shard(folder, "unet", variant=variant)
    shard(folder, "text_encoder", variant=variant, size="20KB")
    suffix = "" if variant is None else ".fp16"
    assert len(shards) > 2
    assert shards[0] == f"diffusion_pytorch_model{suffix}-00001-of-{len(shards):05}.safetensors"
    model = load(folder)
    for part in ("unet", "text_encoder"):
        whole = getattr(random_model, part).state_dict()
        for name, tensor in getattr(model, part).state_dict().items():
            expected = whole[name] if variant is None else whole[name].half().float()
            assert torch.equal(tensor, expected), name
    # The fingerprint is of all of them: a change in the last file changes it.
    before = model.fingerprint()
    last = folder / "unet" / shards[-1]
    state = load_file(last)
    state = {name: tensor * 1.5 for name, tensor in state.items()}
    save_file(state, last, {"format": "pt"})
    assert load(folder).fingerprint() != before


def test_half_precision_in_several_files_beside_full_precision_in_one(folder, random_model):
    whole = folder / "unet" / "diffusion_pytorch_model.safetensors"
    kept = whole.read_bytes()
    shard(folder, "unet", variant="fp16")
    whole.write_bytes(kept)
    weight = load(folder).unet.conv_in.weight
    assert torch.equal(weight, random_model.unet.conv_in.weight.half().float())


def test_half_precision_in_one_file_beside_full_precision_in_several(folder, random_model):
    state = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    shard(folder, "unet")
    halves = {name: 2 * tensor.half() for name, tensor in state.items()}
    save_file(
        halves, folder / "unet" / "diffusion_pytorch_model.fp16.safetensors", {"format": "pt"}
    )
    weight = load(folder).unet.conv_in.weight
    assert torch.equal(weight, 2 * random_model.unet.conv_in.weight.half().float())


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_a_file_of_weights_that_is_missing_is_named(folder, part):
    shards = shard(folder, part, size="20KB" if part == "text_encoder" else "300KB")
    (folder / part / shards[1]).unlink()
    assert f"{folder / part / shards[1]} is missing (1 of {len(shards)} files" in refusal(folder)


def test_files_of_weights_without_their_index(folder):
    shard(folder, "unet", variant="fp16")
    index = folder / "unet" / "diffusion_pytorch_model.safetensors.index.fp16.json"
    kept = index.read_bytes()
    index.unlink()
    assert f"{index} is missing, the index of" in refusal(folder)
    for content in (b"[]", b"{}", b'{"weight_map": {"a": 3}}', b'{"weight_map": []}', kept[:99]):
        index.write_bytes(content)
        assert str(index) in refusal(folder)


def test_weights_of_another_name_are_said(folder):
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    path.rename(path.with_name("diffusion_pytorch_model.non_ema.safetensors"))
    assert "only diffusion_pytorch_model.non_ema.safetensors" in refusal(folder)
    torch.save({}, path.with_suffix(".bin"))
    assert "only diffusion_pytorch_model.bin: files of that kind may run code" in refusal(folder)


# --- The hub ------------------------------------------------------------------------------------

SD21_FILES = (
    ".gitattributes",
    "README.md",
    "feature_extractor/preprocessor_config.json",
    "model_index.json",
    "scheduler/scheduler_config.json",
    *(f"text_encoder/{name}" for name in ("config.json", "pytorch_model.bin")),
    *(f"text_encoder/model{end}" for end in (".safetensors", ".fp16.safetensors")),
    *(f"tokenizer/{name}" for name in ("merges.txt", "vocab.json", "tokenizer_config.json")),
    "tokenizer/special_tokens_map.json",
    *(
        f"{part}/{name}"
        for part in ("unet", "vae")
        for name in (
            "config.json",
            *(
                f"diffusion_pytorch_model{end}"
                for end in (".bin", ".fp16.bin", ".safetensors", ".fp16.safetensors")
            ),
        )
    ),
    *(
        f"v2-1_512-{kind}-pruned.{end}"
        for kind in ("ema", "nonema")
        for end in ("ckpt", "safetensors")
    ),
)
"""The files of a repository laid out as Stable Diffusion 2.1-base is published."""

NEEDED = {
    "model_index.json",
    "scheduler/scheduler_config.json",
    "tokenizer/merges.txt",
    "tokenizer/vocab.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/special_tokens_map.json",
    "text_encoder/config.json",
    "text_encoder/model.fp16.safetensors",
    "unet/config.json",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.fp16.safetensors",
}


def matching(patterns, names=SD21_FILES):
    return {name for name in names if any(fnmatch(name, pattern) for pattern in patterns)}


def test_the_hint_and_the_download_fetch_the_same_files():
    import shlex

    words = shlex.split(download_command("owner/name"))
    assert words[:3] == ["hf", "download", "owner/name"]
    assert words[3::2] == ["--include"] * len(words[4::2])  # one pattern each, as the tool wants
    assert matching(words[4::2]) == NEEDED
    assert matching([*LAYOUT.small, *hub._weights("x/y", LAYOUT, SD21_FILES)]) == NEEDED


def test_the_docs_give_the_same_hint():
    root = Path(__file__).parents[3]
    pages = [root / "README.md", *sorted((root / "docs").glob("*.md"))]
    command = download_command(read_backbone("sd2.1-base").hub[0]).replace(" --", " \\\n  --")
    found = [page.name for page in pages if command in page.read_text()]
    assert found == ["models.md"]


@pytest.mark.parametrize("half", [True, False])
def test_the_index_and_every_file_of_it_are_downloaded(half):
    suffix = ".fp16" if half else ""
    stem = f"unet/diffusion_pytorch_model{suffix}"
    index = f"unet/diffusion_pytorch_model.safetensors.index{suffix}.json"
    shards = [f"{stem}-0000{i}-of-00002.safetensors" for i in (1, 2)]
    names = [name for name in SD21_FILES if not name.startswith("unet/diff")]
    if half:  # full precision lies beside it, in one file
        names.append("unet/diffusion_pytorch_model.safetensors")
    names += [index, *shards]
    patterns = hub._weights("x/y", LAYOUT, names)
    assert matching(patterns, names) == {
        index,
        *shards,
        "text_encoder/model.fp16.safetensors",
        "vae/diffusion_pytorch_model.fp16.safetensors",
    }


def test_a_download_that_lacks_a_file_of_weights_is_not_whole(folder):
    shards = shard(folder, "unet")
    assert hub._is_whole(folder, LAYOUT)
    (folder / "unet" / shards[0]).unlink()
    assert not hub._is_whole(folder, LAYOUT)


def test_another_family_on_the_hub_is_named_before_its_weights(monkeypatch, tmp_path):
    write_json(tmp_path / "model_index.json", {"_class_name": "FluxPipeline"})
    asked = []

    def download(repo_id, revision, patterns, *, local_files_only):
        if local_files_only:
            raise OSError("nothing here")
        asked.extend(patterns)
        return str(tmp_path)

    monkeypatch.setattr(hub, "_download", download)
    monkeypatch.setattr(hub, "_list_files", lambda *_: ["model_index.json", "flux.safetensors"])
    with pytest.raises(ModelNotFoundError, match=r"owner/name is FLUX\.1 \(FluxPipeline\)"):
        load_model("owner/name", device=CPU)
    assert not any("safetensors" in pattern for pattern in asked)


def test_the_configuration_alone(monkeypatch, random_model_folder, tmp_path):
    assert unet_config(str(random_model_folder))["sample_size"] == 16
    assert unet_config("tiny")["sample_size"] == 32
    assert unet_config(str(tmp_path)) is None
    assert unet_config("nowhere") is None
    asked = []

    def download(repo_id, revision, patterns, *, local_files_only):
        asked.append((repo_id, revision, patterns, local_files_only))
        if local_files_only:
            raise OSError("nothing here")
        return str(random_model_folder)

    monkeypatch.setattr(hub, "_download", download)
    assert unet_config("owner/name@v2")["sample_size"] == 16
    names = ["unet/config.json"]
    assert asked == [("owner/name", "v2", names, True), ("owner/name", "v2", names, False)]


# --- Which files, and where attention stands ----------------------------------------------------


@pytest.mark.parametrize(
    ("names", "variant", "index", "shards"),
    [
        (["m.safetensors"], None, None, 1),
        (["m.safetensors", "m.fp16.safetensors"], "fp16", None, 1),
        (["m-00001-of-00002.safetensors", "m.safetensors.index.json"], None, True, 1),
        (["m.fp16-1-of-2.safetensors", "m.safetensors.index.fp16.json"], "fp16", True, 1),
        (["m.safetensors.index.json", "m.fp16.safetensors"], "fp16", None, 1),
        (["m.safetensors", "m.safetensors.index.fp16.json"], "fp16", True, 0),
    ],
)
def test_which_files_are_chosen(names, variant, index, shards):
    files = choose_weights(names, "m")
    assert (files.variant, files.index is not None, len(files.shards)) == (
        variant,
        bool(index),
        shards,
    )
    assert choose_weights([name.replace("m", "other", 1) for name in names], "m") is None


def test_find_weights_of_no_folder(tmp_path):
    with pytest.raises(OSError, match="no safetensors weights"):
        find_weights(tmp_path / "nowhere", "model")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"heads": 8},
        {"heads": (1, 2, 4, 4), "sample_size": 20},
    ],
)
def test_the_layout_is_that_of_the_modules(options):
    unet = random_unet(**options)
    layout = attention_layout(unet.config)
    found = {
        name.removesuffix(".transformer_blocks.0.attn1"): module.heads
        for name, module in unet.named_modules()
        if name.endswith(".transformer_blocks.0.attn1")
    }
    # Modules are listed with the middle block last, and run with it in the middle.
    assert {name: block.heads for name, block in layout.items()} == found
    rooms = [name.split("_")[0] for name in layout]
    assert rooms == sorted(rooms, key=["down", "mid", "up"].index)
    side = unet.config.sample_size
    seen = {}
    hooks = [
        unet.get_submodule(f"{name}.transformer_blocks.0.attn1").register_forward_pre_hook(
            lambda module, args, kwargs, name=name: seen.update(
                {name: (kwargs.get("hidden_states", args[0] if args else None)).shape[1]}
            ),
            with_kwargs=True,
        )
        for name in layout
    ]
    with torch.inference_mode():
        unet(torch.zeros(1, 4, side, side), 0, encoder_hidden_states=torch.zeros(1, 7, 32))
    for hook in hooks:
        hook.remove()
    sides = {name: attended_side(unet.config, name, side=side) for name in layout}
    assert {name: one**2 for name, one in sides.items()} == seen


def test_unets_of_fewer_layers():
    small = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(32, 64),
        layers_per_block=1,
        mid_block_type=None,
        attention_head_dim=8,
        cross_attention_dim=32,
        norm_num_groups=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )
    assert {name: (b.heads, b.divisor) for name, b in attention_layout(small.config).items()} == {
        "down_blocks.0.attentions.0": (8, 1),
        "up_blocks.1.attentions.0": (8, 1),
        "up_blocks.1.attentions.1": (8, 1),
    }
    # A configuration of 2022 leaves out what was the only way then.
    old = {"attention_head_dim": 8, "block_out_channels": [320, 640, 1280, 1280]}
    assert len(attention_layout(old)) == 16
