"""VOC's annotations: names in their words, and documents that no reader should trust."""

from pathlib import Path

import pytest
from layouts import make_voc

from iseg_cli.errors import DataError
from iseg_cli.readers.voc import VocReader
from iseg_cli.readers.voc_annotations import object_names


def document(*names: str) -> str:
    objects = "".join(f"<object><name>{name}</name></object>" for name in names)
    return f"<annotation>{objects}</annotation>"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_encodings_of_xml(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.xml"
    declared = encoding.removesuffix("-sig")
    text = f'<?xml version="1.0" encoding="{declared}"?>\n' + document("caf\u00e9")
    path.write_bytes(text.encode(encoding))
    assert object_names(path) == ["caf\u00e9"]


def test_an_objects_own_name_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(
        "<annotation><name>no</name><object><part><name>head</name></part>"
        "<name> dining\n table </name></object><object><name>a&amp;b</name></object></annotation>",
        "utf-8",
    )
    assert object_names(path) == ["dining table", "a&b"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (document("cat", ""), "object 2 has no name"),
        ("<annotation><object/></annotation>", "object 1 has no name"),
        ('<!DOCTYPE a [<!ENTITY x "y">]>' + document("&x;"), "declares the entity 'x'"),
        ('<!DOCTYPE a [<!ENTITY x SYSTEM "/etc/passwd">]>' + document("&x;"), "the entity 'x'"),
        ('<!DOCTYPE a [<!ENTITY % x "y">]>' + document("cat"), "declares the entity 'x'"),
        (document("&x;"), "is no readable annotation"),
        ("<?xml version='1.0' encoding='gbk'?>" + document("cat"), "is no readable annotation"),
        ("<?xml version='1.0' encoding='none-such'?>" + document(), "is no readable annotation"),
        ("\n<?xml version='1.0'?>" + document("cat"), "is no readable annotation"),
        ("{}", "is no readable annotation"),
    ],
)
def test_a_document_that_is_refused_is_named(tmp_path: Path, content: str, sentence: str) -> None:
    path = tmp_path / "a.xml"
    path.write_text(content, "utf-8")
    with pytest.raises(DataError, match=sentence) as raised:
        object_names(path)
    assert str(path) in str(raised.value)


def test_a_document_type_without_entities_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text('<!DOCTYPE annotation SYSTEM "voc.dtd">' + document("cat"), "utf-8")
    assert object_names(path) == ["cat"]


def test_annotations_name_classes_in_the_words_of_the_table(tmp_path: Path) -> None:
    root = make_voc(tmp_path)
    path = root / "Annotations" / "2007_000032.xml"
    path.write_text(document("Person", "plane", "tv monitor", "_background_", "person"), "utf-8")
    found = VocReader(root, split="train").annotated("2007_000032")
    assert [category.name for category in found] == ["aeroplane", "person", "tvmonitor"]
    path.rename(path.with_suffix(".XML"))
    assert VocReader(root, split="train").annotated("2007_000032") == found
