"""CLIP from files to points: loading, texts, patches; transformers' own forward is the oracle."""

import json
import shutil
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from random_models import write_json
from safetensors.torch import load_file, save_file

from iseg_cli.backbones import hub
from iseg_cli.clip import loading
from iseg_cli.clip.loading import CLIP_B16, LAYOUT, load_clip
from iseg_cli.clip.text import ENSEMBLE, TextEmbedder
from iseg_cli.clip.vision import read_patches, read_whole, to_pixels
from iseg_cli.errors import ModelNotFoundError, PromptError

CPU = torch.device("cpu")


def load(folder, dtype=torch.float32):
    return load_clip(str(folder), device=CPU, dtype=dtype)


@pytest.fixture
def folder(random_clip_folder, tmp_path):
    """A copy that a test may change."""
    return Path(shutil.copytree(random_clip_folder, tmp_path / "copy"))


def pictures(count, height=32, width=32):
    return np.random.default_rng(5).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


# --- loading ---


def test_a_folder_is_loaded_as_it_is(random_clip, random_clip_folder):
    clip = random_clip
    assert (clip.name, clip.source, clip.revision) == (*(str(random_clip_folder),) * 2, None)
    assert (clip.image_size, clip.patch_size, clip.blocks, clip.max_tokens) == (32, 8, 6, 77)
    assert (clip.mean, clip.std) == ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    assert clip.scale == pytest.approx(1 / 0.07, rel=1e-3)  # what an untrained CLIP starts from
    state = load_file(random_clip_folder / "model.safetensors")
    assert all(torch.equal(v, state[k]) for k, v in clip.model.state_dict().items())
    assert not clip.model.training


def test_without_a_preprocessor_pixels_are_scaled_as_openai_does(folder):
    (folder / "preprocessor_config.json").unlink()
    clip = load(folder)
    white = to_pixels(clip, np.full((1, 1, 1, 3), 255, dtype=np.uint8))[0, :, 0, 0]
    np.testing.assert_allclose(white, [1.930337, 2.074884, 2.145897], rtol=1e-5)
    write_json(folder / "preprocessor_config.json", {"image_mean": [0.5, 0.5]})
    with pytest.raises(ModelNotFoundError, match="three numbers"):
        load(folder)


def test_half_precision_files_come_first_and_are_cast(folder, random_clip):
    state = {k: v.half() for k, v in load_file(folder / "model.safetensors").items()}
    save_file(state, folder / "model.fp16.safetensors", {"format": "pt"})
    clip = load(folder)
    weight = clip.model.visual_projection.weight
    assert weight.dtype == torch.float32
    assert torch.equal(weight, random_clip.model.visual_projection.weight.half().float())
    assert load(folder, torch.float16).model.visual_projection.weight.dtype == torch.float16
    assert clip.fingerprint() != random_clip.fingerprint()


def test_what_is_no_clip_is_refused(folder, tmp_path):
    for name in ("vit-b", "./no/such/folder"):
        with pytest.raises(ModelNotFoundError, match=r"neither tiny-clip, a folder .* clip\.model"):
            load_clip(name, device=CPU, dtype=torch.float32)
    with pytest.raises(ModelNotFoundError, match="no safetensors weights"):
        load(tmp_path)
    state = load_file(folder / "model.safetensors")
    del state["visual_projection.weight"]
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelNotFoundError, match="lack visual_projection"):
        load(folder)


def test_offline_the_message_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(ModelNotFoundError) as caught:
        load_clip(CLIP_B16, device=CPU, dtype=torch.float32)
    assert f"hf download {CLIP_B16}" in str(caught.value)
    assert "clip.model=tiny-clip" in str(caught.value)


class Offer:
    def __init__(self, author, git_reference):
        self.author, self.git_reference = author, git_reference


def test_a_repository_without_safetensors_is_read_as_the_hub_converted_it(
    monkeypatch, tmp_path, random_clip_folder, random_clip
):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    small = ["config.json", "merges.txt", "vocab.json"]
    files = {None: [*small, "pytorch_model.bin"], "refs/pr/5": [*small, "model.safetensors"]}
    offers = [Offer("somebody", "refs/pr/3"), Offer("SFconvertbot", "refs/pr/5")]
    asked = []

    def download(repo_id, revision, patterns, *, local_files_only):
        if local_files_only:
            raise OSError("nothing here")
        asked.append((revision, patterns))
        return str(random_clip_folder)

    monkeypatch.setattr(hub, "_list_files", lambda repo_id, revision: files[revision])
    monkeypatch.setattr(hub, "_download", download)
    monkeypatch.setattr(hub.HfApi, "get_repo_discussions", lambda *_, **__: iter(offers))
    clip = load_clip(CLIP_B16, device=CPU, dtype=torch.float32)
    [(revision, patterns)] = asked
    assert revision == "refs/pr/5"
    assert "model.safetensors" in patterns
    assert "pytorch_model.bin" not in patterns
    assert clip.fingerprint() == random_clip.fingerprint()

    offers.pop()  # nobody else's pull request will do
    with pytest.raises(ModelNotFoundError, match="no safetensors weights for its model"):
        load_clip(CLIP_B16, device=CPU, dtype=torch.float32)


@pytest.mark.parametrize("reference", ["main", "refs/pr/5"])
def test_what_was_downloaded_needs_no_network(tmp_path, monkeypatch, random_clip_folder, reference):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    repository = tmp_path / "hub" / "models--owner--name"
    (repository / "refs" / reference).parent.mkdir(parents=True)
    (repository / "refs" / reference).write_text("0" * 40)
    snapshot = shutil.copytree(random_clip_folder, repository / "snapshots" / ("0" * 40))
    monkeypatch.setattr(hub, "_list_files", None)
    assert load_clip("owner/name", device=CPU, dtype=torch.float32).revision == "0" * 40
    Path(snapshot, "merges.txt").unlink()
    assert not hub.is_downloaded("owner/name", LAYOUT)


def test_the_embedded_clip_is_looked_for_in_the_package(monkeypatch, random_clip_folder):
    monkeypatch.setattr(loading, "TINY_CLIP", random_clip_folder)
    clip = load_clip("tiny-clip", device=CPU, dtype=torch.float32)
    assert (clip.name, clip.source) == ("tiny-clip", str(random_clip_folder))


# --- texts ---


def test_a_class_is_the_mean_of_its_sentences(random_clip):
    templates = ("a photograph of {}", "{} and other object", "{}")
    ours = TextEmbedder(random_clip, templates).embed(["dog", "potted plant"])
    for row, words in zip(ours, ("dog", "potted plant"), strict=True):
        units = []
        for template in templates:
            tokens = random_clip.tokenizer(template.replace("{}", words), return_tensors="pt")
            with torch.inference_mode():
                point = random_clip.model.get_text_features(**tokens).pooler_output[0].double()
            units.append(point / point.norm())
        mean = torch.stack(units).mean(dim=0)
        np.testing.assert_allclose(row, mean / mean.norm(), atol=1e-5)
    assert float(ours[0] @ ours[1]) < 0.99


def test_no_word_changes_another_ones_bits(random_clip):
    alone = TextEmbedder(random_clip).embed(["cat"])
    among = TextEmbedder(random_clip).embed(["a photograph of a dog and a bus", "cat", "dog"])
    assert torch.equal(alone[0], among[1])


def test_each_word_is_embedded_once(random_clip, monkeypatch):
    texts = TextEmbedder(random_clip, ["{}"])
    first = texts.embed(["dog", "cat"])
    monkeypatch.setattr(random_clip.model, "get_text_features", None)
    assert torch.equal(texts.embed(["cat", "dog"]), first[[1, 0]])


def test_words_are_never_cut_short(random_clip):
    with pytest.raises(PromptError, match=r"'x{90}' are too long .* 77 tokens"):
        TextEmbedder(random_clip, ["a {}"]).embed(["dog", "x" * 90])


def test_the_sentences_of_the_evaluation():
    assert len(set(ENSEMBLE)) == 85
    assert all(template.count("{}") == 1 for template in ENSEMBLE)
    for template in ("a photo of a {}.", "itap of my {}.", "this is one {} in the scene."):
        assert template in ENSEMBLE


# --- images ---


def test_the_whole_image_is_seen_as_transformers_sees_it(random_clip):
    pixels = to_pixels(random_clip, pictures(3))
    with torch.inference_mode():
        theirs = random_clip.model.get_image_features(pixel_values=pixels).pooler_output
    torch.testing.assert_close(read_whole(random_clip, pixels), theirs, rtol=1e-5, atol=1e-6)
    everything = torch.ones(3, 16, dtype=torch.bool)
    seen = read_whole(random_clip, pixels, everything)
    torch.testing.assert_close(seen, theirs, rtol=1e-5, atol=1e-6)


def test_the_class_token_sees_only_what_is_visible(random_clip):
    """With one block left, patches that it cannot see cannot matter."""
    pixels = to_pixels(random_clip, pictures(1)).repeat(2, 1, 1, 1)
    pixels[1, :, 8:, 8:] = 0  # the last three rows and columns of patches
    visible = torch.zeros(2, 16, dtype=torch.bool)
    visible[:, :4] = True
    layers = random_clip.model.vision_model.encoder.layers
    random_clip.model.vision_model.encoder.layers = layers[:1]
    try:
        one, other = read_whole(random_clip, pixels, visible)
        torch.testing.assert_close(one, other)
        assert not torch.allclose(*read_whole(random_clip, pixels))
    finally:
        random_clip.model.vision_model.encoder.layers = layers


def test_attention_is_that_of_transformers(random_clip_folder, random_clip):
    eager = type(random_clip.model).from_pretrained(
        random_clip_folder, attn_implementation="eager", local_files_only=True
    )
    pixels = to_pixels(random_clip, pictures(2))
    with torch.inference_mode():
        theirs = eager.vision_model(pixel_values=pixels, output_attentions=True).attentions
    ours = read_patches(random_clip, pixels).attention
    assert ours.shape == (6, 2, 16, 16)
    for block in range(6):  # the last one as well, although its patches keep to themselves
        expected = theirs[block].mean(dim=1)[:, 1:, 1:]
        torch.testing.assert_close(ours[block], expected, rtol=1e-4, atol=1e-6)
        assert float(expected.max()) > 0.15  # far from uniform
    alone = read_patches(random_clip, pixels, values_alone=True).attention
    assert torch.equal(alone, ours)


def test_the_last_block_keeps_patches_to_themselves(random_clip, monkeypatch):
    """An attention whose softmax is the identity gives the same as the value path."""
    pixels = to_pixels(random_clip, pictures(2))
    ours = read_patches(random_clip, pixels).features
    last = random_clip.model.vision_model.encoder.layers[-1].self_attn

    def by_itself(hidden_states, **_):
        return last.out_proj(last.v_proj(hidden_states)), None

    monkeypatch.setattr(last, "forward", by_itself)
    with torch.inference_mode():
        seen = random_clip.model.vision_model(pixel_values=pixels)
        hidden = random_clip.model.vision_model.post_layernorm(seen.last_hidden_state)
        theirs = random_clip.model.visual_projection(hidden)
    torch.testing.assert_close(ours, theirs[:, 1:], rtol=1e-4, atol=1e-5)


def test_values_alone_leave_out_the_rest_of_the_last_block(random_clip):
    pixels = to_pixels(random_clip, pictures(2))
    ours = read_patches(random_clip, pixels, values_alone=True).features
    vision = random_clip.model.vision_model
    last = vision.encoder.layers[-1]
    with torch.inference_mode():
        entered = vision.pre_layrnorm(vision.embeddings(pixels))
        for layer in vision.encoder.layers[:-1]:
            entered = layer(entered, None)
        values = last.self_attn.out_proj(last.self_attn.v_proj(last.layer_norm1(entered)))
        theirs = random_clip.model.visual_projection(vision.post_layernorm(values))
    torch.testing.assert_close(ours, theirs[:, 1:], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(ours, read_patches(random_clip, pixels).features, atol=0.1)


def test_other_sizes_resize_the_positions(random_clip):
    """With every position alike, a patch of a larger image is at home wherever it lies."""
    reading = read_patches(random_clip, to_pixels(random_clip, pictures(2, height=48, width=24)))
    assert reading.features.shape == (2, 6 * 3, 16)
    assert reading.attention.shape == (6, 2, 18, 18)
    weight = random_clip.model.vision_model.embeddings.position_embedding.weight
    before = weight.clone()
    grid = torch.arange(16, dtype=torch.float32).reshape(4, 4)
    try:
        weight[1:] = grid.reshape(16, 1)
        from iseg_cli.clip.vision import _positions

        halved = _positions(weight, 2, 8)[0, 1:, 0].reshape(2, 8)
    finally:
        weight.copy_(before)
    # Rows 0 and 1 meet in the middle, and so do 2 and 3; columns are drawn apart to quarters.
    np.testing.assert_allclose(halved[:, 0], [2, 10])
    np.testing.assert_allclose(halved[0], [2, 2.25, 2.75, 3.25, 3.75, 4.25, 4.75, 5])


def test_config_and_weights_of_another_kind(folder):
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"]["hidden_size"] = 64
    write_json(folder / "config.json", config)
    with pytest.raises(ModelNotFoundError, match="could not be loaded"):
        load(folder)
