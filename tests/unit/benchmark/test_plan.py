import pytest
import torch

from iseg_cli.benchmark import plan
from iseg_cli.benchmark.plan import ARCHITECTURE, benchmark_settings
from iseg_cli.config import load_settings


def test_the_architecture_gets_the_settings_of_the_released_code():
    settings = benchmark_settings((), (), {"model": ARCHITECTURE})
    voc = load_settings("voc")
    assert settings.dataset == "emoji-voc"
    assert settings.model == ARCHITECTURE
    assert (settings.capture, settings.cluster) == (voc.capture, voc.cluster)
    own = benchmark_settings(("paper/voc",), (), {"model": ARCHITECTURE})
    assert own.capture.self_heads is None


@pytest.mark.parametrize(("device", "model"), [("cuda", ARCHITECTURE), ("cpu", "tiny")])
def test_what_is_measured_unasked(monkeypatch, device, model):
    monkeypatch.setattr(plan, "choose_device", lambda name: torch.device(device))
    assert benchmark_settings((), (), {"model": None}).model == model
