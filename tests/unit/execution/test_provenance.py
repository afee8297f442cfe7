"""What run.json records of a run that begins."""

import datetime
import platform
from dataclasses import replace
from importlib.metadata import version

import pytest
import torch
from layouts import make_voc

from iseg_cli.config import load_settings, to_dict
from iseg_cli.execution.provenance import VERSIONS, describe_run
from iseg_cli.readers.registry import open_dataset
from iseg_cli.storage import SYNTHESIS
from iseg_cli.types import Category


@pytest.fixture
def reader(tmp_path):
    return open_dataset("voc", root=make_voc(tmp_path), split="val")


def describe(model, reader, settings=None, **changes):
    given = {"label_source": "masks", "batch_size": 4, "images": 2, **changes}
    return describe_run(settings or load_settings("voc"), model, reader, **given)


def test_a_run_of_a_dataset(random_model, random_model_folder, reader, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = load_settings("voc", overrides={"model": str(random_model_folder), "seed": 7})
    before = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    info = describe(random_model, reader, settings, limit=2)
    after = datetime.datetime.now(datetime.timezone.utc)
    assert (info.dataset, info.root, info.split) == ("voc", str(reader.root.resolve()), "val")
    assert (info.task, info.label_source) == ("wsss", "masks")
    assert info.model == {
        "name": str(random_model_folder),
        "revision": random_model.revision,
        "fingerprint": random_model.fingerprint(),
    }
    assert info.settings == to_dict(settings)
    assert (info.seed, info.batch_size, info.images, info.limit) == (7, 4, 2, 2)
    assert (info.dtype, info.device) == ("float32", "cpu")
    assert before <= datetime.datetime.fromisoformat(info.created) <= after
    assert info.versions == {
        "python": platform.python_version(),
        **{name: version(name) for name in VERSIONS},
    }
    assert (info.categories, info.crop_side) == (None, None)


def test_categories_and_clip_of_the_user(random_model, reader):
    chosen = (Category(1, "cat", "kitten"), Category(2, "dog", "dog"))
    clip = {"name": "tiny-clip", "fingerprint": "00ff"}
    info = describe(random_model, reader, categories=chosen, clip=clip)
    assert info.categories == ("cat", "dog")
    assert info.model["clip"] == clip
    assert info.model["fingerprint"] == random_model.fingerprint()


def test_the_side_of_a_crop_is_the_models(random_model, reader):
    cropped = load_settings("voc", overrides={"crop": "center"})
    assert describe(random_model, reader, cropped).crop_side == random_model.image_size == 64
    assert describe(random_model, None, cropped).crop_side is None  # drawn images are not cropped


def test_a_run_that_draws_its_images(random_model):
    info = describe(random_model, None, load_settings("voc-synthesize"), label_source="prompts")
    assert (info.root, info.split, info.task) == (None, "train", SYNTHESIS)


def test_the_type_of_the_model_is_recorded(random_model, reader):
    half = replace(random_model, dtype=torch.float16)
    assert describe(half, reader).dtype == "float16"
