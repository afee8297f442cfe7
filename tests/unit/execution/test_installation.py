"""What `iseg info` prints: versions, devices, models, datasets."""

import platform
from importlib.metadata import version
from types import SimpleNamespace

import pytest
import torch
from layouts import make_voc

from iseg_cli.config.resources import TINY_CLIP, TINY_MODEL
from iseg_cli.execution import installation
from iseg_cli.execution.installation import collect
from iseg_cli.readers.registry import DATASETS, dataset_info


def test_versions_are_those_of_the_installed_packages() -> None:
    found = dict(collect()["Versions"])
    assert found["python"] == platform.python_version()
    assert found["torch"] == version("torch")
    assert found["iseg-cli"] == version("iseg-cli")


def test_devices_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "choose_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    threads = f"{torch.get_num_threads()} threads"
    assert collect()["Devices"] == [("auto", "cpu in float32"), ("cpu", threads)]


def test_every_gpu_has_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    cards = [("NVIDIA T4", 15.6), ("NVIDIA A100", 79.2)]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(cards))
    monkeypatch.setattr(
        torch.cuda,
        "get_device_properties",
        lambda i: SimpleNamespace(name=cards[i][0], total_memory=cards[i][1] * 2**30),
    )
    assert collect()["Devices"][2:] == [
        ("cuda:0", "NVIDIA T4, 16 GiB"),
        ("cuda:1", "NVIDIA A100, 79 GiB"),
    ]


@pytest.mark.parametrize(
    ("downloaded", "word"), [(True, "downloaded, "), (False, "not downloaded, ")]
)
def test_models_are_embedded_downloaded_or_on_the_hub(monkeypatch, downloaded, word) -> None:
    monkeypatch.setattr(installation, "is_downloaded", lambda *arguments: downloaded)
    found = dict(collect()["Models"])
    assert found["tiny"] == f"embedded, {TINY_MODEL}"
    assert found["tiny-clip"] == f"embedded, {TINY_CLIP}"
    assert found["CLIP ViT-B/16"].startswith(word)
    assert any(value.startswith(word) for name, value in found.items() if name.startswith("sd2.1"))


def test_datasets_are_where_their_variable_says(tmp_path, monkeypatch) -> None:
    for info in DATASETS.values():
        monkeypatch.delenv(info.environment, raising=False)
    monkeypatch.chdir(tmp_path)
    found = dict(collect()["Datasets"])
    assert list(found) == list(DATASETS)
    variable = dataset_info("voc").environment
    assert found["voc"] == f"not found; pass --root or set {variable}"
    assert found["emoji-voc"].startswith("found, ")
    root = make_voc(tmp_path)
    monkeypatch.setenv(variable, str(root))
    assert dict(collect()["Datasets"])["voc"] == f"found, {root}"
