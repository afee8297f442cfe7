"""Which backbone a model is, and what is read of it with the presets of any dataset."""

import json
import re
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from layouts import make_cityscapes, make_coco, make_folder, make_voc
from random_models import write_random_model
from safetensors.numpy import save_file

from iseg_cli.backbones.matching import find_backbone, fit_layers, match_layout, usual_settings
from iseg_cli.backbones.unet_layout import attention_layout
from iseg_cli.cli import main
from iseg_cli.config import Settings, load_settings, to_dict
from iseg_cli.config.backbone import read_backbone
from iseg_cli.config.resolve import resolve_settings
from iseg_cli.config.resources import TINY_MODEL
from iseg_cli.errors import SettingsError
from iseg_cli.segmentation.segmenter import Segmenter

SD15 = attention_layout({"attention_head_dim": 8})
SD21 = read_backbone("sd2.1-base")
TINY_CAPTURE = load_settings("emoji-voc").capture


def iseg(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def run_info(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def sd15(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stable Diffusion 1.5's layout, where every layer has 8 heads, with random weights."""
    folder = tmp_path_factory.mktemp("sd15") / "model"
    return write_random_model(folder, heads=8)


def resolve(*assignments: str, **options: object) -> tuple[Settings, list[str]]:
    notes: list[str] = []
    find = partial(find_backbone, tell=notes.append)
    return resolve_settings((), assignments, options, find_backbone=find), notes


# --- The backbone of a layout ---------------------------------------------------------------------


def test_a_model_is_known_by_its_layers_and_heads() -> None:
    assert match_layout(SD15) == read_backbone("sd1.5")
    assert match_layout(attention_layout({"attention_head_dim": [5, 10, 20, 20]})) == SD21
    assert match_layout(attention_layout({"attention_head_dim": 4})) is None


def test_heads_that_nobody_knows_are_all_read() -> None:
    fitted = fit_layers("x", attention_layout({"attention_head_dim": 4}))
    assert (fitted.name, fitted.capture, fitted.published) == ("x", SD21.capture, {})


def test_published_heads_stay_where_the_layers_that_are_read_have_them() -> None:
    layout = dict(attention_layout(SD21.unet))
    del layout["mid_block.attentions.0"]
    assert match_layout(layout) is None
    assert fit_layers("x", layout).published == SD21.published


def test_layers_that_a_model_lacks_are_replaced_by_its_own() -> None:
    small = attention_layout(
        {"attention_head_dim": 8, "layers_per_block": 1, "mid_block_type": None}
    )
    capture = fit_layers("x", small).capture
    # The model has layers of the default backbone at both resolutions.
    assert capture.cross_layers == (
        "down_blocks.2.attentions.0",
        "up_blocks.1.attentions.0",
        "up_blocks.1.attentions.1",
        "up_blocks.2.attentions.0",
        "up_blocks.2.attentions.1",
    )
    assert capture.self_layer == SD21.capture.self_layer
    # A model without any of them at L/2 is read at all of its layers there.
    odd = {name: block for name, block in SD15.items() if "up_blocks" not in name}
    odd = {name: block for name, block in odd.items() if name != "down_blocks.1.attentions.1"}
    capture = fit_layers("x", odd).capture
    assert capture.cross_layers == (
        "down_blocks.1.attentions.0",
        "down_blocks.2.attentions.0",
        "down_blocks.2.attentions.1",
    )
    assert capture.self_layer == "down_blocks.0.attentions.1"


# --- Settings, files and options ----------------------------------------------------------------


@pytest.mark.parametrize("dataset", ["voc", "coco", "context", "folder"])
def test_the_embedded_model_is_read_alike_for_every_dataset(dataset: str) -> None:
    settings, notes = resolve(dataset=dataset, model="tiny")
    assert settings.capture == TINY_CAPTURE
    assert not notes


def test_a_copy_of_the_embedded_model_is_known_by_its_layout(tmp_path: Path) -> None:
    copy = shutil.copytree(TINY_MODEL, tmp_path / "copy")
    settings, notes = resolve(dataset="voc", model=str(copy))
    assert settings.capture == TINY_CAPTURE
    assert not notes


def test_the_task_decides_the_noise_level_where_its_preset_names_one() -> None:
    settings, _ = resolve(dataset="cityscapes", model="tiny", task="unsupervised")
    assert settings.capture == load_settings("emoji-voc-unsupervised").capture
    assert settings.diffseg == load_settings("cityscapes").diffseg


def test_the_embedded_dataset_with_another_model() -> None:
    settings, notes = resolve(dataset="emoji-voc", model="sd2.1-base")
    assert settings.capture == load_settings("paper/voc").capture
    assert not notes


def test_precedence(tmp_path: Path) -> None:
    """The backbone's values, then the preset's, then those that the user gives."""
    path = tmp_path / "mine.yaml"
    path.write_text("capture: {timestep: 50}\n", "utf-8")
    settings = resolve_settings(
        [str(path)], ["capture.self_heads=[1]"], {"dataset": "voc", "model": "tiny"}
    )
    expected = {**TINY_CAPTURE.model_dump(), "timestep": 50, "self_heads": (1,)}
    assert settings.capture.model_dump() == expected
    voc = load_settings("voc", overrides={"model": "tiny"})
    rest = {name: value for name, value in to_dict(settings).items() if name != "capture"}
    assert rest == {name: value for name, value in to_dict(voc).items() if name != "capture"}


def test_heads_that_the_user_gives_stay(sd15: Path) -> None:
    heads = "capture.cross_heads={4: [1]}"
    capture = resolve(heads, dataset="voc", model=str(sd15))[0].capture
    assert (capture.cross_heads, capture.self_heads) == ({4: (1,)}, None)
    capture = resolve(heads, dataset="voc")[0].capture
    assert (capture.cross_heads, capture.self_heads) == ({4: (1,)}, (1, 2))


def test_the_model_may_stand_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("dataset: coco\nmodel: tiny\n", "utf-8")
    settings = resolve_settings([str(path)], (), {})
    assert (settings.dataset, settings.capture) == ("coco", TINY_CAPTURE)


def test_usual_settings() -> None:
    assert usual_settings("tiny") == load_settings("emoji-voc")
    assert usual_settings("sd2.1-base") == load_settings("voc")
    assert usual_settings("nowhere") == load_settings("voc", overrides={"model": "nowhere"})


def test_lora_in_the_folder_is_said_to_be_left_out(sd15: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(sd15, tmp_path / "copy"))
    path = copy / "pytorch_lora_weights.safetensors"
    name = "unet.up_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight"
    save_file({name: np.ones(1, np.float32)}, path)
    _, notes = resolve(dataset="folder", model=str(copy))
    assert notes == [f"{path} holds LoRA weights, which are not read"]


def test_a_model_like_no_backbone_is_told(random_model_folder: Path) -> None:
    settings, [note] = resolve(dataset="voc", model=str(random_model_folder))
    assert "all heads of the layers that fit are read" in note
    assert (settings.capture.heads, settings.capture.cross_heads) == (None, {})


# --- Commands -----------------------------------------------------------------------------------

TINY = ("--model", "tiny", "--batch-size", 1)


def test_generate_for_a_folder_with_the_embedded_model(tmp_path: Path) -> None:
    root, out = make_folder(tmp_path / "pictures"), tmp_path / "out"
    command = (
        *("generate", "--dataset", "folder", "--root", root, "--categories", "cat, dog"),
        *("--out", out, *TINY),
    )
    result = iseg(*command)
    assert result.exit_code == 0, result.output
    assert "note:" not in result.stderr
    recorded = run_info(out)["settings"]
    assert recorded["capture"] == to_dict(load_settings("emoji-voc"))["capture"]
    assert recorded["cluster"] == to_dict(load_settings("folder"))["cluster"]
    again = iseg(*command)
    assert again.exit_code == 0
    assert "2 were there already" in again.output
    # A run of other layers is another run.
    other = iseg(*command, "--set", "capture.timestep=100")
    assert other.exit_code == 2
    assert "capture.timestep 200 -> 100" in other.output


@pytest.mark.parametrize("dataset", ["voc", "coco"])
def test_generate_and_evaluate_with_the_embedded_model(tmp_path: Path, dataset: str) -> None:
    make = {"voc": make_voc, "coco": make_coco}[dataset]
    root, out = make(tmp_path / dataset), tmp_path / "out"
    split = () if dataset == "voc" else ("--labels", "annotations")
    result = iseg("generate", "--dataset", dataset, "--root", root, *split, "--out", out, *TINY)
    assert result.exit_code == 0, result.output
    result = iseg("evaluate", out)
    assert result.exit_code == 0, result.output
    assert "IoU %" in result.output


def test_segments_without_words_with_the_embedded_model(tmp_path: Path) -> None:
    root = make_cityscapes(tmp_path / "cityscapes")
    out = tmp_path / "out"
    result = iseg("generate", "--dataset", "cityscapes", "--root", root, "--out", out, *TINY)
    assert result.exit_code == 0, result.output
    assert run_info(out)["settings"]["capture"]["timestep"] == 300
    assert iseg("evaluate", out).exit_code == 0


def test_sweep_with_the_embedded_model(tmp_path: Path) -> None:
    root = make_voc(tmp_path / "voc")
    result = iseg(
        *("sweep", "--dataset", "voc", "--root", root, "--out", tmp_path / "sweep"),
        *("--grid", "refine.iterations=1,3", "--grid", "capture.timestep=50,200", *TINY),
    )
    assert result.exit_code == 0, result.output
    assert "what is read" not in result.stderr


def test_synthesize_with_settings_of_another_model(tmp_path: Path) -> None:
    result = iseg(
        *("synthesize", "--categories", "cat", "--per-category", 1, "--out", tmp_path / "drawn"),
        *("--config", "voc-synthesize", "--set", "synthesis.steps=2", *TINY),
    )
    assert result.exit_code == 0, result.output
    assert "what is read" not in result.stderr


def test_tag_with_the_embedded_clip(tmp_path: Path) -> None:
    root = make_voc(tmp_path / "voc")
    result = iseg(
        *("tag", "--dataset", "voc", "--root", root, "--out", tmp_path / "labels.json"),
        *("--set", "clip.model=tiny-clip", "--set", "clip.templates=['a photo of {}']"),
    )
    assert result.exit_code == 0, result.output
    assert "note:" not in result.stderr


def test_benchmark_with_the_embedded_model(tmp_path: Path) -> None:
    root = make_voc(tmp_path / "voc")
    result = iseg(
        *("benchmark", "--part", "masks", "--dataset", "voc", "--root", root, "--model", "tiny"),
        *("--images", 2, "--batch-size", 1, "--rounds", 1, "--out", tmp_path / "benchmark"),
        *("--device", "cpu"),
    )
    assert result.exit_code == 0, result.output
    assert "what is read" not in result.stderr


def test_a_folder_of_stable_diffusion_15s_layout(sd15: Path, tmp_path: Path) -> None:
    root, out = make_folder(tmp_path / "pictures"), tmp_path / "out"
    result = iseg(
        *("generate", "--dataset", "folder", "--root", root, "--categories", "cat, dog"),
        *("--model", sd15, "--out", out),
    )
    assert result.exit_code == 0, result.output
    assert "note:" not in result.stderr
    capture = run_info(out)["settings"]["capture"]
    assert (capture["cross_heads"], capture["self_heads"]) == ({}, None)
    assert capture["cross_layers"] == to_dict(load_settings("folder"))["capture"]["cross_layers"]
    # From Python the same settings are taken without asking.
    segmenter = Segmenter.from_pretrained(str(sd15), device="cpu")
    assert segmenter.settings.capture.self_heads is None
    mask = segmenter.segment(next(root.glob("*.jpg")), categories=["cat", "dog"])
    assert set(np.unique(mask.labels)) <= {0, 1, 2}


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("capture.self_heads=[1, 9]", r"capture.self_heads is \[1, 9\], but .* heads 0 to 7"),
        ("capture.cross_heads={4: [99]}", "asks for head 99 at L/4, but .* heads 0 to 39"),
        (
            "capture.self_layer=up_blocks.9.attentions.1",
            "has no such attention .did you mean up_blocks.3.attentions.1",
        ),
    ],
)
def test_what_is_given_and_does_not_fit_is_an_error(
    sd15: Path, tmp_path: Path, assignment: str, said: str
) -> None:
    root = make_folder(tmp_path / "pictures")
    result = iseg(
        *("generate", "--dataset", "folder", "--root", root, "--categories", "cat"),
        *("--model", sd15, "--out", tmp_path / "out", "--set", assignment),
    )
    assert result.exit_code == 2
    assert re.search(said, result.output), result.output


def test_the_error_of_python_users_says_what_to_do(sd15: Path) -> None:
    segmenter = Segmenter.from_pretrained(
        str(sd15), settings=load_settings("coco", assignments=["capture.self_heads=[8]"])
    )
    with pytest.raises(SettingsError, match="name some of these, or null for all of them"):
        segmenter.segment(np.zeros((8, 8, 3), np.uint8), categories=["cat"])
