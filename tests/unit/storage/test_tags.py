"""The file of labels of `iseg tag`."""

import pytest

from iseg_cli.errors import PredictionsError
from iseg_cli.storage.tags import TagFile


def test_tags_of_no_image_do_not_block_the_next(tmp_path):
    path = tmp_path / "labels.json"
    with TagFile.start(path, {"model": "tiny"}, about={}):
        pass
    with TagFile.start(path, {"model": "clip"}, about={}) as file:
        assert file.scores == {}
        file.add({"a": [0.5]})
    with (
        pytest.raises(PredictionsError, match='model "clip" -> "tiny"'),
        TagFile.start(path, {"model": "tiny"}, about={}),
    ):
        pass
    with TagFile.start(path, {"model": "clip"}, about={}) as file:
        assert file.scores.keys() == {"a"}
