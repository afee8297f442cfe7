"""Files of labels from people and tools: names of images, headings, numbers, words."""

import contextlib
import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import Pictures

from iseg_cli.errors import DataError, SettingsError
from iseg_cli.image_labels import choose_labeler, names_in_file, read_labels_file
from iseg_cli.image_labels.finder import ImageFinder
from iseg_cli.readers.folder import label_set_of
from iseg_cli.readers.label_tables import load_label_set
from iseg_cli.types import LabelSet, Sample

PETS = label_set_of(["cat", "dog", "traffic light"])
VOC = load_label_set("voc")
IMAGES = Pictures("x.jpg", "y.jpg", "zoo/panda.JPG")


def found(
    path: Path, content: object, *, images: Pictures = IMAGES, label_set: LabelSet = PETS
) -> dict[str, list[str]]:
    """The names of the categories that a file lists for its images."""
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    path.write_text(text, "utf-8")
    labeler = read_labels_file(path, label_set, images)
    read = {}
    for image_id in images.image_ids:
        with contextlib.suppress(DataError):
            read[image_id] = [c.name for c in labeler.labels(Sample(image_id, images.root))]
    return read


def notes(path: Path, images: Pictures = IMAGES, label_set: LabelSet = PETS) -> tuple[str, ...]:
    return read_labels_file(path, label_set, images).notes


# --- names of images -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        "zoo/panda",
        "zoo/panda.JPG",
        "zoo/panda.jpg",
        "zoo/panda.png",
        "./zoo/panda.jpg",
        "/zoo/panda.jpg",
        "zoo\\panda.jpg",
        ".\\zoo\\panda.JPG",
        "pictures/zoo/panda.jpg",
        "/data/pictures/zoo/panda.JPG",
        "panda.jpg",
        "panda",
    ],
)
@pytest.mark.parametrize("name", ["l.json", "l.csv", "l.txt"])
def test_an_image_may_be_called_in_many_ways(tmp_path: Path, key: str, name: str) -> None:
    separator = "," if name == "l.csv" else " "
    content = {key: ["cat"]} if name == "l.json" else f"{key}{separator}cat\n"
    assert found(tmp_path / name, content) == {"zoo/panda": ["cat"]}
    assert notes(tmp_path / name) == ()


def test_the_folder_of_a_datasets_images_may_stand_in_front() -> None:
    images = Pictures("JPEGImages/a.jpg", root="/data/VOC2012")
    images.image_ids, images.files = ("a",), {"a": images.root / "JPEGImages" / "a.jpg"}
    for key in ("a", "a.jpg", "JPEGImages/a.jpg", "VOC2012/JPEGImages/a.jpg", "JPEGImages/a"):
        assert ImageFinder(images)(key) == "a", key
    assert ImageFinder(images)("SegmentationClass/a.png") is None


def test_the_whole_path_comes_before_the_file_name() -> None:
    find = ImageFinder(Pictures("a.jpg", "zoo/a.jpg", "zoo/b.jpg", "park/b.jpg"))
    assert (find("a.jpg"), find("a"), find("zoo/a.jpg")) == ("a", "a", "zoo/a")
    assert (find("zoo/b"), find("park/b.png")) == ("zoo/b", "park/b")
    for name in ("b", "b.jpg"):
        with pytest.raises(DataError, match="may be the image 'zoo/b' or 'park/b'; write the path"):
            find(name)


def test_names_that_are_ids_but_for_the_ending_ask_for_no_path() -> None:
    class Blind(Pictures):
        def image_path(self, image_id: str) -> Path:
            raise AssertionError("no path is needed")

    find = ImageFinder(Blind("zoo/a.jpg", "B.v2.jpg", "u\u0308.jpg"))
    assert (find("zoo/a"), find("zoo\\a.JPG"), find("./zoo/a.png")) == ("zoo/a",) * 3
    assert (find("B.v2"), find("B.v2.jpeg"), find("\u00fc.jpg")) == ("B.v2", "B.v2", "u\u0308")


def test_two_ids_of_one_composed_form_are_ambiguous_unless_written_so() -> None:
    find = ImageFinder(Pictures("u\u0308.jpg", "\u00fc.png"))
    assert (find("u\u0308"), find("\u00fc")) == ("u\u0308", "\u00fc")
    with pytest.raises(DataError, match="may be the image"):
        find("\u00fc.jpg")


def test_other_paths_and_endings_are_no_images() -> None:
    find = ImageFinder(Pictures("a.jpg", "zoo/b.jpg", "my photo.v2.jpg"))
    for name in ("park/a.jpg", "xzoo/b.jpg", "oo/b", "a.txt", "my photo", "my photo.v1", "", "."):
        assert find(name) is None, name
    assert find("my photo.v2") == find("my photo.v2.jpg") == "my photo.v2"


@given(
    st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=3),
    st.sampled_from([".jpg", ".JPEG", ".png"]),
)
def test_every_path_below_the_root_is_found(parts: list[str], ending: str) -> None:
    image_id = "/".join(parts)
    find = ImageFinder(Pictures(image_id + ending, "other/one.jpg"))
    for name in (image_id, image_id + ending, f"./{image_id}{ending.lower()}", parts[-1]):
        assert find(name) == image_id


def test_an_ambiguous_name_is_refused_with_its_line(tmp_path: Path) -> None:
    images = Pictures("zoo/b.jpg", "park/b.jpg")
    with pytest.raises(DataError, match=r"l\.csv, line 2: 'b' may be the image 'zoo/b' or 'park/b"):
        found(tmp_path / "l.csv", "zoo/b,cat\nb,dog\n", images=images)
    with pytest.raises(DataError, match=r"l\.json, image b\.jpg: 'b\.jpg' may be the image"):
        found(tmp_path / "l.json", {"b.jpg": ["dog"]}, images=images)


@pytest.mark.parametrize(("file", "key"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_forms_of_unicode_meet(tmp_path: Path, file, key) -> None:
    name, other = (unicodedata.normalize(form, "caf\u00e9") for form in (file, key))
    assert name != other
    for content in ({other: ["dog"]}, {f"{other}.jpg": ["dog"]}):
        read = found(tmp_path / "l.json", content, images=Pictures(f"{name}.jpg"))
        assert read == {name: ["dog"]}


def test_of_two_forms_the_equal_one_is_meant() -> None:
    composed, apart = "caf\u00e9", "cafe\u0301"
    find = ImageFinder(Pictures(f"{apart}.jpg", f"{composed}.jpg"))
    assert (find(apart), find(composed)) == (apart, composed)


def test_names_with_blanks(tmp_path: Path) -> None:
    images = Pictures("my cat 1.jpg", "your.jpg")
    expected = {"my cat 1": ["cat", "dog"], "your": ["dog"]}
    for lines in (
        "my cat 1.jpg cat dog\nyour dog\n",
        "my cat 1 cat dog\nyour.jpg dog\n",
        '"my cat 1" cat dog\n"your" dog\n',
        "my cat 1,cat,dog\nyour dog\n",
        "my cat 1\tcat dog\nyour\tdog\n",
    ):
        assert found(tmp_path / "l.txt", lines, images=images) == expected, lines


def test_lines_about_one_image_are_united(tmp_path: Path) -> None:
    for name, content in (
        ("l.csv", "x.jpg,dog\nx.jpg,cat\nx,dog\ny,cat\n"),
        ("l.json", '{"x": ["dog"], "x.jpg": ["cat"], "x": ["dog"], "y": ["cat"]}'),
    ):
        assert found(tmp_path / name, content) == {"x": ["cat", "dog"], "y": ["cat"]}


def test_names_of_no_image_are_counted_and_listed(tmp_path: Path) -> None:
    path = tmp_path / "l.txt"
    assert found(path, "x cat\n" + "".join(f"2007_{n} dog\n" for n in range(5))) == {"x": ["cat"]}
    (note,) = notes(path)
    assert note == (
        f"{path} has 5 names of no image of split all in /data/pictures: "
        "'2007_0', '2007_1', '2007_2' and 2 more"
    )


def test_a_name_that_begins_like_a_comment(tmp_path: Path) -> None:
    images = Pictures("#1.jpg", "x.jpg")
    read = found(tmp_path / "l.txt", "# of x\n#1 cat\nx dog\n", images=images)
    assert read == {"#1": ["cat"], "x": ["dog"]}


# --- headings ------------------------------------------------------------------------------------

TABLES = {
    "image,class": "image,class\nx.jpg,cat\ny.jpg,dog\n",
    "filename;labels": "filename;labels\r\nx.jpg;cat\r\ny.jpg;dog\r\n",
    "id;label": "\ufeffid;label\nx;cat\ny;dog\n",
    "image_id,label": "image_id,label\nx,cat\ny,dog\n",
    "with tabs": "file\tkind\nx.jpg\tcat\ny.jpg\tdog\n",
    "with blanks": "image label\nx.jpg cat\ny.jpg dog\n",
    "in quotes": '"Image Name","Class"\n"x.jpg","cat"\n"y.jpg","dog"\n',
    "behind a comment": "# mine\n\nimage,class\nx.jpg,cat\ny.jpg,dog\n",
    "further columns": "filename,width,height,class,xmin\nx.jpg,640,480,cat,3\ny.jpg,6,4,dog,0\n",
    "a split": "image,label,split\nx,cat,train\ny,dog,val\n",
    "pandas' index": ",filename,label\n0,x.jpg,cat\n1,y.jpg,dog\n",
    "image behind": "label,image\ncat,x.jpg\ndog,y.jpg\n",
    "one-hot": "filename,cat,dog\nx.jpg,1,0\ny.jpg,0,1\n",
    "one-hot, blanks": "filename, cat, dog, bird\nx.jpg, 1.0, 0.0, 0\ny.jpg, 0, True, \n",
    "no heading": "x,cat\ny,dog\n",
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_heading_is_no_image_and_no_class(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "l.csv"
    assert found(path, TABLES[kind]) == {"x": ["cat"], "y": ["dog"]}
    assert ["is a heading" in note for note in notes(path)] == [True] * (kind != "no heading")
    assert names_in_file(path, IMAGES) == ("cat", "dog")


def test_columns_without_a_heading_are_labels(tmp_path: Path) -> None:
    read = found(tmp_path / "l.csv", "image,labels\nx.jpg,cat,dog\ny.jpg\n")
    assert read == {"x": ["cat", "dog"], "y": []}
    read = found(tmp_path / "l.csv", "image,label1,label2\nx.jpg,cat,dog\ny.jpg,cat,\n")
    assert read == {"x": ["cat", "dog"], "y": ["cat"]}


def test_columns_of_classes_count_without_a_table(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    path.write_text("filename,bird,cat\nx.jpg,1,1\ny.jpg,0,1\nzoo/panda.jpg,0,0\n", "utf-8")
    names = names_in_file(path, IMAGES)
    assert names == ("bird", "cat")
    read = found(path, path.read_text("utf-8"), label_set=label_set_of(names))
    assert read == {"x": ["bird", "cat"], "y": ["cat"], "zoo/panda": []}


def test_columns_of_ids_are_no_classes(tmp_path: Path) -> None:
    # 1 is the class cat, not "the image has a label".
    path = tmp_path / "l.csv"
    assert found(path, "image,label\nx,1\ny,2\n") == {"x": ["cat"], "y": ["dog"]}
    assert found(path, "image,label\nx,1\ny,1\n") == {"x": ["cat"], "y": ["cat"]}
    assert found(path, "z,1\nx,1\ny,1\n") == {"x": ["cat"], "y": ["cat"]}


def test_a_first_line_of_classes_is_an_image_from_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    assert found(path, "other.jpg,dog\nx.jpg,cat\n") == {"x": ["cat"]}
    (note,) = notes(path)
    assert note.endswith("has 1 name of no image of split all in /data/pictures: 'other.jpg'")


def test_a_marked_column_of_no_class_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"l\.csv, line 3: .* no category 'zebra'"):
        found(tmp_path / "l.csv", "filename,cat,zebra\nx.jpg,1,0\ny.jpg,0,1\n")
    read = found(tmp_path / "l.csv", "filename,cat,Unlabeled\nx.jpg,1,0\ny.jpg,0,0\n")
    assert read == {"x": ["cat"], "y": []}


# --- labels --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cell",
    [
        "cat|dog",
        "cat;dog",
        '"cat, dog"',
        "\"['cat', 'dog']\"",
        "cat dog",
        "Dog|CAT",
        "1|2",
        "1.0;2.0",
    ],
)
def test_a_cell_may_hold_several_labels(tmp_path: Path, cell: str) -> None:
    assert found(tmp_path / "l.csv", f"x.jpg,{cell}\n") == {"x": ["cat", "dog"]}


@pytest.mark.parametrize(
    "content",
    [
        {"x": ["cat", "dog"]},
        {"x": "cat, dog"},
        {"x": ["Cat", "DOG", "background"]},
        {"labels": {"x.jpg": ["cat", "dog"]}},
        {"synonym_matching": {"x.jpg": ["cat", "dog"]}},
        [{"image": "x.jpg", "labels": ["cat", "dog"]}],
        [{"file_name": "x.jpg", "label": "cat"}, {"file_name": "x.jpg", "label": "dog"}],
        {"mine": [{"imageName": "x", "classes": [1.0, 2]}]},
        {"x": [1, 2.0]},
    ],
)
def test_forms_of_json(tmp_path: Path, content: object) -> None:
    assert found(tmp_path / "l.json", content) == {"x": ["cat", "dog"]}
    if isinstance(content, dict):  # a mapping is known without its ending
        assert found(tmp_path / "labels", content) == {"x": ["cat", "dog"]}


def test_a_record_a_line(tmp_path: Path) -> None:
    lines = '{"file_name": "x.jpg", "label": "cat"}\n\n{"file_name": "y.jpg", "labels": []}\n'
    assert found(tmp_path / "l.jsonl", lines) == {"x": ["cat"], "y": []}


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("aeroplane", "aeroplane"),
        ("AEROPLANE", "aeroplane"),
        ("plane", "aeroplane"),
        ("Dining  Table", "diningtable"),
        ("potted plant", "pottedplant"),
        ("tv monitor", "tvmonitor"),
        # the words of the lists that come with iSeg's released code
        ("people", "person"),
        ("buses", "bus"),
        ("table", "diningtable"),
        ("monitor", "tvmonitor"),
        ("plant", "pottedplant"),
    ],
)
def test_words_of_the_table_name_classes(tmp_path: Path, word: str, name: str) -> None:
    assert found(tmp_path / "l.json", {"x.jpg": [word]}, label_set=VOC) == {"x": [name]}


@pytest.mark.parametrize("name", ["background", "Background", "_background_", "__BACKGROUND__"])
def test_the_background_may_be_named_and_is_passed_over(tmp_path: Path, name: str) -> None:
    assert found(tmp_path / "l.json", {"x": [name, "dog"], "y": name}) == {"x": ["dog"], "y": []}
    assert names_in_file(tmp_path / "l.json", IMAGES) == ("dog",)


def test_names_in_a_file_are_one_whatever_their_case(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    path.write_text("x,Dog\ny,dog,red  Panda,DOG\nzoo/panda,Red panda\n", "utf-8")
    names = names_in_file(path, IMAGES)
    assert names == ("Dog", "red Panda")
    read = found(path, path.read_text("utf-8"), label_set=label_set_of(names))
    assert read == {"x": ["Dog"], "y": ["Dog", "red Panda"], "zoo/panda": ["red Panda"]}


# --- numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["x 0\ny 18\n", "other 0\nx 18\n", "x,0\n", '{"x": [0]}'])
def test_a_list_that_counts_from_0_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(DataError) as raised:
        found(tmp_path / "l.txt", content, label_set=VOC)
    assert "0 is no class of label set voc, whose ids are 1 to 20" in str(raised.value)
    assert "if this list counts from 0, add 1 to every number (aeroplane is 1)" in str(raised.value)


def test_0_is_a_class_where_the_table_says_so(tmp_path: Path) -> None:
    streets = load_label_set("cityscapes")
    assert found(tmp_path / "l.txt", "x 0 1\n", label_set=streets) == {"x": ["road", "sidewalk"]}


def test_numbers_beyond_the_table_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no category with id 21; its ids are 1 to 20"):
        found(tmp_path / "l.txt", "x 21\n", label_set=VOC)
    with pytest.raises(DataError, match="ids of the dataset's own files, write names"):
        found(tmp_path / "l.txt", "x 90\n", label_set=load_label_set("coco"))
    with pytest.raises(DataError, match="no category '99999999999'"):
        found(tmp_path / "l.txt", "x 99999999999\n", label_set=VOC)


def test_a_number_may_be_the_name_of_a_class(tmp_path: Path) -> None:
    digits = label_set_of(["0", "1", "2"])
    assert found(tmp_path / "l.txt", "x 0 2\n", label_set=digits) == {"x": ["0", "2"]}


# --- one of several lists -------------------------------------------------------------------------


RELEASED = {
    "synonym_matching": {"x.jpg": ["cat"], "y.jpg": ["dog"]},
    "image_similarity": {"x.jpg": ["dog"], "y.jpg": []},
}


def chosen(spec: str, images: Pictures = IMAGES) -> list[list[str]]:
    """The labels of `x` and `y` under a value of `--labels`."""
    labeler = choose_labeler(spec, label_set=PETS, images=images)
    assert labeler.name == spec
    return [[c.name for c in labeler.labels(Sample(i, images.root))] for i in ("x", "y")]


def test_one_of_the_lists_in_a_file_is_chosen_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "l.json"
    path.write_text(json.dumps(RELEASED), "utf-8")
    assert chosen(f"file:{path}#synonym_matching") == [["cat"], ["dog"]]
    assert chosen(f"file:{path}#image_similarity") == [["dog"], []]
    assert names_in_file(path, IMAGES, chosen="image_similarity") == ("dog",)
    with pytest.raises(DataError, match=f"choose one with {path}#synonym_matching$"):
        choose_labeler(f"file:{path}", label_set=PETS, images=IMAGES)
    with pytest.raises(
        DataError, match=r"no list .image.; it has .synonym_matching., .image_similarity."
    ):
        choose_labeler(f"file:{path}#image", label_set=PETS, images=IMAGES)


def test_a_file_with_the_mark_in_its_own_name_is_that_file(tmp_path: Path) -> None:
    path = tmp_path / "run #2.json"
    path.write_text(json.dumps({"x": ["cat"], "y": []}), "utf-8")
    assert chosen(f"file:{path}") == [["cat"], []]
    with pytest.raises(DataError, match="there is no file of labels"):
        choose_labeler(f"file:{tmp_path / 'z.json'}#2", label_set=PETS, images=IMAGES)


def test_prompts_may_be_one_of_several_lists_and_lines_have_none(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps({"a": {"x": "a cat", "y": "?"}, "b": {"x": "a dog", "y": "?"}}))
    assert chosen(f"prompts:{path}#b") == [["dog"], []]
    (tmp_path / "l.txt").write_text("x cat")
    for kind in ("file", "prompts"):
        with pytest.raises(DataError, match=r"l\.txt has no list 'b'$"):
            choose_labeler(f"{kind}:{tmp_path / 'l.txt'}#b", label_set=PETS, images=IMAGES)


def test_a_file_in_place_of_a_source_is_recognized(tmp_path: Path) -> None:
    path = tmp_path / "l.txt"
    path.write_text("x cat")
    with pytest.raises(SettingsError, match=f"but a file; pass file:{path}$"):
        choose_labeler(str(path), label_set=PETS, images=IMAGES)
