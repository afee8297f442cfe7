import shutil
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from random_models import write_json
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, CLIPTokenizer

from iseg_cli.backbones import hub
from iseg_cli.backbones.latents import encode
from iseg_cli.backbones.loading import choose_device, choose_dtype, load_model
from iseg_cli.backbones.sources import LAYOUT
from iseg_cli.config.backbone import read_backbone
from iseg_cli.errors import ModelNotFoundError, SettingsError

FIRST, MIRROR = read_backbone("sd2.1-base").hub

CPU = torch.device("cpu")
PARTS = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
}


def load(folder, dtype=torch.float32):
    return load_model(str(folder), device=CPU, dtype=dtype)


@pytest.fixture
def folder(random_model_folder, tmp_path):
    """A copy that a test may change."""
    return Path(shutil.copytree(random_model_folder, tmp_path / "copy"))


def weights(folder, part):
    return folder / part / f"{PARTS[part]}.safetensors"


def change(folder, part, rename=lambda name: name, convert=lambda tensor: tensor, suffix=""):
    """Write a part's weights anew."""
    state = {rename(k): convert(v) for k, v in load_file(weights(folder, part)).items()}
    save_file(state, folder / part / f"{PARTS[part]}{suffix}.safetensors", {"format": "pt"})


def assert_same_weights(one, other):
    one, other = one.state_dict(), other.state_dict()
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def test_a_folder_is_loaded_as_it_is(random_model, random_model_folder):
    model = random_model
    assert (model.name, model.source) == (str(random_model_folder),) * 2
    assert (model.latent_side, model.vae_factor, model.image_size) == (16, 4, 64)
    assert model.max_tokens == 77
    state = load_file(weights(random_model_folder, "unet"))
    assert all(torch.equal(v, state[k]) for k, v in model.unet.state_dict().items())
    for module in (model.unet, model.vae, model.text_encoder):
        assert not module.training
        assert not any(parameter.requires_grad for parameter in module.parameters())


def test_no_decoder_stays_in_memory(random_model):
    names = {name.split(".")[0] for name, _ in random_model.vae.named_parameters()}
    assert names == {"encoder", "quant_conv"}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_weights_are_cast_to_the_type_asked_for(random_model_folder, dtype):
    model = load(random_model_folder, dtype)
    assert model.dtype == dtype
    for module in (model.unet, model.vae, model.text_encoder):
        assert {parameter.dtype for parameter in module.parameters()} == {dtype}
    state = load_file(weights(random_model_folder, "unet"))
    assert torch.equal(model.unet.conv_in.weight, state["conv_in.weight"].to(dtype))


def test_weights_in_half_precision_come_first(folder, random_model):
    for part in PARTS:
        change(folder, part, convert=lambda tensor: 2 * tensor.half(), suffix=".fp16")
    model = load(folder)
    for ours, its in (
        (model.unet.conv_in, random_model.unet.conv_in),
        (model.vae.quant_conv, random_model.vae.quant_conv),
        (
            model.text_encoder.get_input_embeddings(),
            random_model.text_encoder.get_input_embeddings(),
        ),
    ):
        assert ours.weight.dtype == torch.float32
        assert torch.equal(ours.weight, 2 * its.weight.half().float())


def test_one_part_alone_may_be_in_half_precision(folder, random_model):
    change(folder, "unet", convert=torch.Tensor.half, suffix=".fp16")
    weights(folder, "unet").unlink()
    model = load(folder)
    assert torch.equal(model.unet.conv_in.weight, random_model.unet.conv_in.weight.half().float())
    assert_same_weights(model.vae, random_model.vae)


@pytest.mark.parametrize("part", PARTS)
def test_nothing_but_safetensors_is_loaded(folder, part):
    torch.save(load_file(weights(folder, part)), weights(folder, part).with_suffix(".bin"))
    weights(folder, part).rename(folder / part / "elsewhere")
    with pytest.raises(ModelNotFoundError, match=f"{part} has no safetensors weights"):
        load(folder)


@pytest.mark.parametrize("part", PARTS)
def test_weights_that_are_missing_are_not_made_up(folder, part):
    state = load_file(weights(folder, part))
    name = next(k for k in state if "decoder" not in k and k.endswith("weight"))
    del state[name]
    save_file(state, weights(folder, part), {"format": "pt"})
    with pytest.raises(ModelNotFoundError, match="lack"):
        load(folder)


def test_the_decoder_may_be_missing(folder, random_model):
    state = load_file(weights(folder, "vae"))
    kept = {k: v for k, v in state.items() if not k.startswith(("decoder", "post_quant"))}
    assert len(kept) < len(state)
    save_file(kept, weights(folder, "vae"), {"format": "pt"})
    assert_same_weights(load(folder).vae, random_model.vae)


@pytest.mark.parametrize("part", PARTS)
def test_a_broken_file_is_named(folder, part):
    content = weights(folder, part).read_bytes()
    weights(folder, part).write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelNotFoundError, match="could not be loaded"):
        load(folder)


def test_the_files_of_sd21_are_understood(folder, random_model):
    """Names of weights as older releases wrote them, which the published files still have."""
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def rename(name):
        for new, before in old.items():
            name = name.replace(f".attentions.0.{new}.", f".attentions.0.{before}.")
        return name

    change(folder, "vae", rename)
    assert any(".query." in name for name in load_file(weights(folder, "vae")))
    change(folder, "text_encoder", lambda name: f"text_model.{name.removeprefix('text_model.')}")
    state = load_file(weights(folder, "text_encoder"))
    state["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    save_file(state, weights(folder, "text_encoder"), {"format": "pt"})
    model = load(folder)
    assert_same_weights(model.vae, random_model.vae)
    assert_same_weights(model.text_encoder, random_model.text_encoder)


def test_the_tokenizer_of_sd21_pads_with_its_first_token(random_model_folder, random_model):
    assert not (random_model_folder / "tokenizer" / "tokenizer.json").exists()
    tokenizer = random_model.tokenizer
    assert (tokenizer.pad_token, tokenizer.pad_token_id) == ("!", 0)
    ids = tokenizer("a dog", padding="max_length", max_length=77).input_ids
    known = tokenizer.get_vocab()
    words = [known["<|startoftext|>"], known["a</w>"], known["dog</w>"], known["<|endoftext|>"]]
    assert ids == words + [0] * 73


def test_both_layouts_of_a_tokenizer_agree(folder, random_model, tmp_path):
    random_model.tokenizer.save_pretrained(tmp_path / "new")
    assert (tmp_path / "new" / "tokenizer.json").exists()
    shutil.rmtree(folder / "tokenizer")
    shutil.copytree(tmp_path / "new", folder / "tokenizer")
    model = load(folder)
    assert isinstance(model.tokenizer, CLIPTokenizer)
    assert model.max_tokens == 77
    for text in ("a photograph of dog and Potted  plant", "café, naïve", ""):
        options = {"padding": "max_length", "max_length": 77, "return_offsets_mapping": True}
        assert dict(model.tokenizer(text, **options)) == dict(
            random_model.tokenizer(text, **options)
        )


def test_the_scheduler_adds_noise_as_the_models_own(random_model):
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    np.testing.assert_allclose(
        random_model.scheduler.alphas_cumprod.double(), np.cumprod(1 - betas), rtol=1e-4
    )


def test_unknown_names_explain_themselves():
    with pytest.raises(ModelNotFoundError, match=r"none of sd1\.5, .*, no folder that exists"):
        load_model("sd3", device=CPU)
    with pytest.raises(ModelNotFoundError, match="none of"):
        load_model("./no/such/folder", device=CPU)


def test_a_folder_that_is_no_model_is_named(tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"holds no model: model_index\.json and "):
        load(tmp_path)


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def test_offline_the_message_says_what_was_tried(empty_cache):
    with pytest.raises(ModelNotFoundError) as caught:
        load_model("sd2.1-base", device=CPU)
    message = str(caught.value)
    for part in (FIRST, MIRROR, "--model tiny", "hf download"):
        assert part in message
    with pytest.raises(ModelNotFoundError, match="owner/name"):
        load_model("owner/name", device=CPU)


class FakeHub:
    """Stands for the hub's client: a repository of files, and a record of what was asked for."""

    def __init__(self, monkeypatch, repositories, folder):
        self.repositories, self.folder = repositories, folder
        self.asked, self.downloaded = [], []
        monkeypatch.setattr(hub, "_list_files", self.list_files)
        monkeypatch.setattr(hub, "_download", self.download)

    def list_files(self, repo_id, revision):
        self.asked.append(repo_id if revision is None else f"{repo_id}@{revision}")
        if repo_id not in self.repositories:
            raise OSError(f"there is no {repo_id}")
        return self.repositories[repo_id]

    def download(self, repo_id, revision, patterns, *, local_files_only):
        if local_files_only:
            raise OSError("nothing here")
        self.downloaded.append((repo_id, patterns))
        return str(self.folder)


FILES = [f"{p}/{stem}{end}" for p, stem in PARTS.items() for end in (".bin", ".safetensors")]


def test_the_mirror_is_tried_when_the_first_place_fails(
    monkeypatch, random_model_folder, random_model
):
    fake = FakeHub(monkeypatch, {MIRROR: FILES}, random_model_folder)
    model = load_model("sd2.1-base", device=CPU, dtype=torch.float32)
    assert fake.asked == [FIRST, MIRROR]
    assert {repo for repo, _ in fake.downloaded} == {MIRROR}
    assert model.name == "sd2.1-base"
    assert_same_weights(model.unet, random_model.unet)


def test_one_revision_of_a_repository(monkeypatch, random_model_folder):
    fake = FakeHub(monkeypatch, {"owner/name": FILES}, random_model_folder)
    model = load_model("owner/name@v2", device=CPU)
    assert fake.asked == ["owner/name@v2"]
    assert model.revision is None  # this fake's folder is no snapshot


@pytest.mark.parametrize("half", [True, False])
def test_only_what_is_needed_is_downloaded(monkeypatch, random_model_folder, half):
    halves = [name.replace(".safetensors", ".fp16.safetensors") for name in FILES] if half else []
    fake = FakeHub(monkeypatch, {"owner/name": FILES + halves}, random_model_folder)
    load_model("owner/name", device=CPU)
    [(_, first), (_, patterns)] = fake.downloaded
    ending = ".fp16.safetensors" if half else ".safetensors"
    wanted = {f"{part}/{stem}{ending}" for part, stem in PARTS.items()}
    assert {p for p in patterns if "safetensors" in p} == wanted
    assert set(first) == set(patterns) - wanted  # the model's family is told from these
    assert {"model_index.json", "tokenizer/*"} <= set(first)
    assert not any("bin" in pattern for pattern in patterns)


def test_a_repository_without_safetensors_is_refused(monkeypatch, random_model_folder):
    names = [name for name in FILES if not name.startswith("unet") or name.endswith("bin")]
    fake = FakeHub(monkeypatch, {"owner/name": names}, random_model_folder)
    with pytest.raises(ModelNotFoundError, match="no safetensors weights for its unet"):
        load_model("owner/name", device=CPU)
    assert not any("safetensors" in pattern for _, own in fake.downloaded for pattern in own)


def snapshot(tmp_path, monkeypatch, source, parts):
    """Put parts of a model where the hub's client keeps what it downloaded."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    repository = tmp_path / "hub" / "models--owner--name"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    for part in parts:
        shutil.copytree(source / part, repository / "snapshots" / ("0" * 40) / part)


def test_what_was_downloaded_needs_no_network(tmp_path, monkeypatch, random_model_folder):
    snapshot(tmp_path, monkeypatch, random_model_folder, (*PARTS, "tokenizer", "scheduler"))
    monkeypatch.setattr(hub, "_list_files", None)
    assert hub.is_downloaded("owner/name", LAYOUT)
    model = load_model("owner/name", device=CPU, dtype=torch.float32)
    assert model.revision == "0" * 40


@pytest.mark.parametrize("missing", ["unet", "tokenizer", "scheduler"])
def test_half_a_download_is_taken_up_again(tmp_path, monkeypatch, random_model_folder, missing):
    parts = {*PARTS, "tokenizer", "scheduler"} - {missing}
    snapshot(tmp_path, monkeypatch, random_model_folder, parts)
    assert not hub.is_downloaded("owner/name", LAYOUT)


def test_fingerprints_tell_models_apart(folder, random_model):
    assert load(folder).fingerprint() == random_model.fingerprint()
    state = load_file(weights(folder, "unet"))
    state["up_blocks.3.attentions.1.transformer_blocks.0.attn1.to_q.weight"] *= 1.01
    save_file(state, weights(folder, "unet"), {"format": "pt"})
    assert load(folder).fingerprint() != random_model.fingerprint()


def test_devices_and_types_are_chosen_by_name(monkeypatch):
    assert choose_device("cpu") == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device() == CPU
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    for name in ("cuda", "cuda:3", "mps", "toaster"):
        with pytest.raises(SettingsError, match=f"device {name}"):
            choose_device(name)
    assert choose_dtype("auto", CPU) == torch.float32
    assert choose_dtype("auto", torch.device("cuda")) == torch.float16
    assert choose_dtype("bfloat16", CPU) == torch.bfloat16
    with pytest.raises(SettingsError, match="int32"):
        choose_dtype("int32", CPU)


def test_a_text_encoder_keeps_its_values(random_model, random_model_folder):
    """What the loader returns computes what transformers' own loading computes."""
    own = CLIPTextModel.from_pretrained(random_model_folder / "text_encoder").eval()
    ids = random_model.tokenizer("a dog", return_tensors="pt").input_ids
    with torch.inference_mode():
        assert torch.equal(own(ids)[0], random_model.text_encoder(ids)[0])


def test_json_of_another_kind_is_refused(folder):
    write_json(folder / "unet" / "config.json", {"_class_name": "AutoencoderKL"})
    with pytest.raises(ModelNotFoundError, match="an AutoencoderKL as its unet, not a UNet2DCond"):
        load(folder)


# --- Another autoencoder ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny_vae_folder(tmp_path_factory):
    """The class of TAESD, with random weights: it divides by 4 as the random model's own does."""
    folder = tmp_path_factory.mktemp("taesd")
    torch.manual_seed(3)
    channels = {"encoder_block_out_channels": (8,) * 3, "decoder_block_out_channels": (8,) * 3}
    blocks = {"num_encoder_blocks": (1, 1, 1), "num_decoder_blocks": (1, 1, 1)}
    AutoencoderTiny(**channels, **blocks).save_pretrained(folder)
    return folder


def test_a_tiny_autoencoder_takes_the_place_of_the_models_own(random_model_folder, tiny_vae_folder):
    model = load_model(
        str(random_model_folder), device=CPU, dtype=torch.float32, vae=str(tiny_vae_folder)
    )
    own = load(random_model_folder)
    assert (model.vae_factor, model.image_size) == (own.vae_factor, own.image_size)
    assert model.fingerprint() != own.fingerprint()
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    with torch.inference_mode():
        latents = encode(model, images, batch_size=2)
        pixels = torch.tensor(images, dtype=torch.float32).permute(0, 3, 1, 2) / 127.5 - 1
        expected = AutoencoderTiny.from_pretrained(tiny_vae_folder).eval().encode(pixels).latents
    assert latents.shape == (2, 4, 16, 16)
    torch.testing.assert_close(latents, expected)


def test_taesd_is_looked_for_on_the_hub(random_model_folder):
    with pytest.raises(
        ModelNotFoundError, match=r"autoencoder taesd .*madebyollin/taesd.*--vae own"
    ):
        load_model(str(random_model_folder), device=CPU, dtype=torch.float32, vae="taesd")


def test_convolutions_have_their_channels_last(random_model):
    for layer in (random_model.unet.conv_in, random_model.vae.encoder.conv_in):
        assert layer.weight.is_contiguous(memory_format=torch.channels_last)
