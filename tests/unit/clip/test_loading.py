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
from iseg_cli.clip.vision import to_pixels
from iseg_cli.errors import ModelNotFoundError

CPU = torch.device("cpu")


def load(folder, dtype=torch.float32):
    return load_clip(str(folder), device=CPU, dtype=dtype)


@pytest.fixture
def folder(random_clip_folder, tmp_path):
    """A copy that a test may change."""
    return Path(shutil.copytree(random_clip_folder, tmp_path / "copy"))


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


def test_config_and_weights_of_another_kind(folder):
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"]["hidden_size"] = 64
    write_json(folder / "config.json", config)
    with pytest.raises(ModelNotFoundError, match="could not be loaded"):
        load(folder)
