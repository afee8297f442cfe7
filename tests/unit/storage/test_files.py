"""Files are whole or absent."""

import os

import pytest

from iseg_cli.errors import PredictionsError
from iseg_cli.storage import (
    write_atomically,
)
from iseg_cli.storage.files import atomic_file


def test_a_file_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "deep" / "file"
    write_atomically(path, b"old")
    with path.open("rb") as reader:
        write_atomically(path, b"new")
        assert reader.read() == b"old"  # another file has taken the name: none was half written
    assert path.read_bytes() == b"new"
    assert os.listdir(path.parent) == ["file"]


def test_an_error_while_writing_keeps_the_old_file(tmp_path):
    def fail_half_way():
        with atomic_file(path) as file:
            file.write(b"new")
            raise RuntimeError("half way")

    path = tmp_path / "file"
    write_atomically(path, b"old")
    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_in_place_of_a_folder_is_a_sentence(tmp_path):
    write_atomically(tmp_path / "file", b"")
    with pytest.raises(PredictionsError, match="cannot write"):
        write_atomically(tmp_path / "file" / "mask.png", b"")


def test_others_may_read_what_is_written(tmp_path):
    write_atomically(tmp_path / "file", b"")
    (tmp_path / "plain").touch()
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode
