"""The folder of a sweep."""

from dataclasses import replace

import numpy as np
import pytest
from stored_runs import RUN

from iseg_cli.errors import PredictionsError
from iseg_cli.storage.sweeps import ImageCounts, SweepFolder


def test_a_sweep_that_counted_nothing_does_not_block_the_next(tmp_path):
    SweepFolder.start(tmp_path, RUN).close()
    other = replace(RUN, seed=1)
    counts = ImageCounts("a", (0,), (0, 255), ("base",), np.array([[[3, 1]]]))
    with SweepFolder.start(tmp_path, other) as folder:
        folder.add(counts)
    with pytest.raises(PredictionsError, match="holds a sweep of another base"):
        SweepFolder.start(tmp_path, RUN)
    with SweepFolder.start(tmp_path, other) as folder:
        assert [c.image_id for c in folder.read()] == ["a"]
