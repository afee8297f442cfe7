import pytest
import torch
from faults import out_of_memory

from iseg_cli.config import validate
from iseg_cli.errors import BatchMemoryError, SettingsError
from iseg_cli.execution.batch_size import (
    choose_batch_size,
    choose_clip_batch_size,
    first_that_fits,
    halve,
    try_out,
    with_batch_size,
)
from iseg_cli.readers.folder import label_set_of
from iseg_cli.segmentation.segmenter import Segmenter


def attempt_up_to(limit, tried):
    """An attempt that has memory for so many images."""

    def attempt(size):
        tried.append(size)
        if size > limit:
            raise torch.OutOfMemoryError
        return f"made for {size}"

    return attempt


@pytest.mark.parametrize(
    ("first", "limit", "tried"),
    [(8, 32, [8]), (32, 8, [32, 16, 8]), (32, 3, [32, 16, 8, 4, 2]), (6, 1, [6, 3, 1])],
)
def test_a_batch_is_halved_until_it_fits(first, limit, tried):
    sizes = []
    assert first_that_fits(first, attempt_up_to(limit, sizes)) == f"made for {tried[-1]}"
    assert sizes == tried


def test_where_no_image_fits_it_is_said():
    with pytest.raises(SettingsError, match=r"not even one image .* --dtype float16"):
        first_that_fits(4, attempt_up_to(0, []))


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    def attempt(size):
        raise RuntimeError("no kernel image")

    with pytest.raises(RuntimeError, match="no kernel image"):
        first_that_fits(4, attempt)


@pytest.mark.parametrize("word", ["dog", "abcdefghij" * 9])
def test_a_batch_is_tried_out_in_full(random_model, word):
    """As on a GPU before a run begins; words that fit no prompt are left to their images."""
    segmenter = Segmenter(random_model, validate({}), batch_size=3)
    with out_of_memory(over=3) as asked:
        try_out(segmenter, label_set_of([word, "cat"]))
    assert asked == [3]
    with out_of_memory(over=2), pytest.raises(torch.OutOfMemoryError):
        try_out(segmenter, label_set_of([word, "cat"]))


def test_the_number_asked_for_comes_first_then_that_of_the_earlier_run(random_model):
    auto = validate({})
    assert choose_batch_size(with_batch_size(auto, 3), random_model, earlier=5) == 3
    assert choose_batch_size(auto, random_model, earlier=5) == 5
    assert choose_batch_size(auto, random_model) in (1, 8)
    assert choose_clip_batch_size(auto) == 8
    assert choose_clip_batch_size(with_batch_size(auto, 3)) == 3


@pytest.mark.parametrize(("size", "is_free"), [(8, False), (1, True)])
def test_what_cannot_be_halved_is_raised_again(size, is_free):
    assert halve(BatchMemoryError("8 images do not fit", 8), is_free=True) == 4
    with pytest.raises(BatchMemoryError, match="do not fit"):
        halve(BatchMemoryError("they do not fit", size), is_free=is_free)
