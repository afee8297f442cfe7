"""Finding datasets: by argument, environment, usual folder; errors have every folder tried."""

from pathlib import Path

import pytest
from layouts import (
    MAKERS,
    make_cityscapes,
    make_coco,
    make_coco_object,
    make_context,
    make_folder,
    make_voc,
)

from iseg_cli.errors import DatasetNotFoundError, SettingsError
from iseg_cli.readers.base import Reader
from iseg_cli.readers.label_tables import load_label_set
from iseg_cli.readers.registry import DATASETS, dataset_info, find_root, open_dataset


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for info in DATASETS.values():
        monkeypatch.delenv(info.environment, raising=False)
    (tmp_path / "current").mkdir()
    monkeypatch.chdir(tmp_path / "current")


def test_the_datasets_of_the_design() -> None:
    assert set(DATASETS) == {*MAKERS, "emoji-voc"}
    for name, info in DATASETS.items():
        assert info.name == name
        assert info.default_split in info.splits
        for label_set in info.label_sets:
            assert load_label_set(label_set).name == label_set


def test_the_docs_name_every_dataset_split_and_variable() -> None:
    page = (Path(__file__).parents[3] / "docs" / "datasets.md").read_text("utf-8")
    for name, info in DATASETS.items():
        assert f"## {name}" in page
        section = page.split(f"## {name}\n")[1].split("\n## ")[0]
        for word in (*info.splits, *info.label_sets, info.environment):
            assert f"`{word}`" in section, f"{name}: {word}"
        for marker in info.markers:
            assert marker in section


@pytest.mark.parametrize("name", MAKERS)
def test_a_root_that_is_given_is_opened_with_the_default_split(tmp_path: Path, name: str) -> None:
    root = MAKERS[name](tmp_path)
    reader = open_dataset(name, root=root)
    assert isinstance(reader, Reader)
    assert (reader.name, reader.root, reader.split) == (name, root, DATASETS[name].default_split)


@pytest.mark.parametrize("name", MAKERS)
def test_the_environment_names_a_root(tmp_path: Path, name: str, monkeypatch) -> None:
    root = MAKERS[name](tmp_path)
    monkeypatch.setenv(f"ISEG_{name.upper().replace('-', '_')}_ROOT", str(root))
    assert open_dataset(name).root == root
    # What is given goes before the environment.
    with pytest.raises(DatasetNotFoundError, match="elsewhere"):
        open_dataset(name, root=tmp_path / "elsewhere")


def test_the_environments_name_has_no_dashes(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("ISEG_EMOJI_VOC_ROOT", str(tmp_path / "nowhere"))
    with pytest.raises(DatasetNotFoundError, match=r"nowhere.*set ISEG_EMOJI_VOC_ROOT"):
        open_dataset("emoji-voc")


@pytest.mark.parametrize("base", [".", "data", "datasets"])
def test_the_usual_places_are_tried(tmp_path: Path, base: str) -> None:
    make_voc(tmp_path / "current" / base)
    make_coco(tmp_path / "current" / base)
    make_cityscapes(tmp_path / "current" / base)
    assert find_root(dataset_info("voc")) == Path(base) / "VOCdevkit" / "VOC2012"
    assert find_root(dataset_info("coco")) == Path(base) / "coco"
    assert find_root(dataset_info("cityscapes")) == Path(base) / "cityscapes"


def test_two_years_of_voc_are_told_apart(tmp_path: Path) -> None:
    voc, context = make_voc(tmp_path), make_context(tmp_path)
    assert open_dataset("voc", root=tmp_path).root == voc
    assert open_dataset("context", root=tmp_path / "VOCdevkit").root == context


def test_coco_alone_is_no_cocostuff(tmp_path: Path) -> None:
    root = make_coco(tmp_path, split="val2017")
    assert find_root(dataset_info("coco-object"), tmp_path) == root
    with pytest.raises(DatasetNotFoundError, match="no dataset cocostuff27, a folder with stuff"):
        find_root(dataset_info("cocostuff27"), tmp_path)
    make_coco_object(tmp_path)  # with PNGs of COCO-Stuff
    assert find_root(dataset_info("cocostuff27"), tmp_path) == root


def test_a_root_may_hold_the_dataset_in_its_usual_place(tmp_path: Path) -> None:
    root = make_voc(tmp_path)
    for given in (root, root.parent, root.parent.parent):
        assert open_dataset("voc", root=given).root == root


def test_emoji_voc_is_there_without_a_root() -> None:
    reader = open_dataset("emoji-voc")
    assert reader.split == "val"
    assert len(reader) == 300


def test_an_error_names_every_place_that_was_tried(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError) as raised:
        open_dataset("voc")
    sentence = str(raised.value)
    places = ("VOCdevkit/VOC2012", "VOC2012", "data/VOCdevkit/VOC2012", "datasets/VOC2012")
    for word in (*places, "JPEGImages", "--root", "ISEG_VOC_ROOT", "docs/datasets.md"):
        assert word in sentence
    with pytest.raises(DatasetNotFoundError, match=f"at {tmp_path}/x, {tmp_path}/x/VOCdevkit"):
        open_dataset("voc", root=tmp_path / "x")


def test_a_folder_has_to_be_told_where_it_is() -> None:
    with pytest.raises(DatasetNotFoundError, match="has no usual folder; pass --root"):
        open_dataset("folder")


def test_an_unknown_dataset_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(SettingsError, match=r"no dataset 'cityscape' \(did you mean cityscapes\?"):
        open_dataset("cityscape")


def test_label_sets(tmp_path: Path) -> None:
    root = make_cityscapes(tmp_path)
    reader = open_dataset("cityscapes", root=root, label_set="cityscapes-27")
    assert reader.label_set.name == "cityscapes-27"
    assert open_dataset("cityscapes", root=root).label_set.name == "cityscapes"
    with pytest.raises(SettingsError, match=r"'city-27' \(did you mean cityscapes-27\?\)"):
        open_dataset("cityscapes", root=root, label_set="city-27")
    with pytest.raises(SettingsError, match="voc has no label set 'coco'; it has voc"):
        open_dataset("voc", root=make_voc(tmp_path), label_set="coco")
    assert open_dataset("voc", root=make_voc(tmp_path), label_set="voc").label_set.name == "voc"


def test_extras_are_for_folders(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    reader = open_dataset("folder", root=root, categories=["cat", "dog"])
    assert [c.name for c in reader.label_set.categories] == ["cat", "dog"]
    assert open_dataset("folder", root=root, label_set="coco").label_set.name == "coco"
    with pytest.raises(SettingsError, match="voc has its own categories and masks"):
        open_dataset("voc", root=make_voc(tmp_path), categories=["cat"])
