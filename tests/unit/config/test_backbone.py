"""The files configs/backbones/*.yaml; a new one is checked here without a line of its own."""

import pytest

from iseg_cli.backbones.sources import sources, unet_config
from iseg_cli.backbones.unet_layout import attention_layout
from iseg_cli.config import load_settings
from iseg_cli.config.backbone import (
    backbone_names,
    fill_capture,
    named_backbone,
    read_backbone,
)
from iseg_cli.config.layers import merge, preset_layers
from iseg_cli.config.resources import preset_names
from iseg_cli.errors import SettingsError


@pytest.mark.parametrize("name", backbone_names())
def test_a_backbone_names_layers_and_heads_that_its_unet_has(name: str) -> None:
    backbone = read_backbone(name)
    layout, capture = attention_layout(backbone.unet), backbone.capture
    assert sources(name)
    assert capture.self_layer in layout
    order = [layer for layer in layout if layer in capture.cross_layers]
    assert list(capture.cross_layers) == order  # as the model runs them
    weighed = {divisor for divisor, weight in capture.cross_weights.items() if weight}
    assert {layout[layer].divisor for layer in order} == weighed
    for heads in backbone.published.values():
        for divisor, chosen in heads.cross_heads.items():
            counts = [layout[n].heads for n in order if layout[n].divisor == divisor]
            assert max(chosen) < sum(counts)
            assert len(set(chosen)) == len(chosen)
        assert max(heads.self_heads or (0,)) < layout[capture.self_layer].heads


@pytest.mark.parametrize("name", backbone_names())
def test_no_two_backbones_have_the_same_layers_and_heads(name: str) -> None:
    layouts = [attention_layout(read_backbone(other).unet) for other in backbone_names()]
    assert layouts.count(attention_layout(read_backbone(name).unet)) == 1


@pytest.mark.parametrize("name", [n for n in backbone_names() if read_backbone(n).folder])
def test_an_embedded_model_is_as_its_file_says(name: str) -> None:
    config = unet_config(name)
    assert attention_layout(config) == attention_layout(read_backbone(name).unet)
    assert read_backbone(name).image_size == 8 * config["sample_size"]


def test_a_name_stands_for_its_backbone() -> None:
    assert named_backbone("sd1.5").name == "sd1.5"
    assert named_backbone("some/folder") == named_backbone("sd2.1-base")
    assert not any(name.startswith("backbones") for name in preset_names())


def test_values_that_are_given_stay() -> None:
    tiny = read_backbone("tiny")
    filled = fill_capture({"timestep": None, "self_layer": "x", "self_heads": None}, tiny)
    assert (filled["timestep"], filled["self_layer"]) == (200, "x")
    assert (filled["heads"], filled["cross_heads"], filled["self_heads"]) == (None, {}, None)
    sd21 = read_backbone("sd2.1-base")
    assert fill_capture({"heads": "coco"}, sd21)["self_heads"] == (1, 2)
    assert fill_capture({"heads": "coco", "self_heads": None}, sd21)["self_heads"] is None


def test_every_preset_names_a_list_of_heads_that_exists() -> None:
    """A list that no backbone has would be read as all heads, and nobody would be told."""
    known = {None}.union(*(read_backbone(name).published for name in backbone_names()))
    presets = [merge(preset_layers(name)) for name in preset_names()]
    assert {preset.get("capture", {}).get("heads") for preset in presets} <= known
    settings = load_settings("voc", overrides={"model": "sd2.1-base"})
    assert (settings.capture.heads, settings.capture.self_heads) == ("voc", (1, 2))
    assert load_settings("voc", overrides={"model": "sd1.5"}).capture.heads is None


def test_a_list_that_a_user_names_must_exist(tmp_path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("capture: {heads: voc}\n", "utf-8")
    with pytest.raises(SettingsError, match="the backbone tiny has no published lists of heads"):
        load_settings("emoji-voc", files=[path])
