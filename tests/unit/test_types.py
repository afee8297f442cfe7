"""Runs of equal pixels, and which labels a mask has."""

from itertools import groupby

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from iseg_cli.types import Mask, run_starts

labels = hnp.arrays(np.uint8, (2, 12), elements=st.sampled_from([0, 1, 255]))


def test_runs_of_a_case_by_hand():
    assert run_starts(np.array([3, 3, 0, 0, 0, 3])).tolist() == [0, 2, 5]
    assert run_starts(np.array([3, 3, 0, 0]), np.array([1, 2, 2, 2])).tolist() == [0, 1, 2]
    assert run_starts(np.array([7])).tolist() == [0]
    assert run_starts(np.array([], dtype=np.uint8)).tolist() == []


@given(labels)
def test_runs_are_those_of_pairs_of_labels(pair):
    lengths = [len(list(run)) for _, run in groupby(zip(*pair.tolist(), strict=True))]
    assert run_starts(*pair).tolist() == np.cumsum([0, *lengths[:-1]]).tolist()


@given(labels)
def test_present_labels_are_the_distinct_ones(mask):
    assert Mask(mask).present() == np.unique(mask).tolist()


def test_an_empty_mask_has_no_label():
    assert Mask(np.zeros((0, 5), np.uint8)).present() == []
