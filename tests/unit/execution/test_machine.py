import subprocess
import sys

import pytest
import torch
from faults import out_of_memory

from iseg_cli.config import validate
from iseg_cli.errors import SettingsError
from iseg_cli.execution.machine import fit_batch, whole_image_threads
from iseg_cli.generation.plan import _try_out
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
    assert fit_batch(first, attempt_up_to(limit, sizes)) == f"made for {tried[-1]}"
    assert sizes == tried


def test_where_no_image_fits_it_is_said():
    with pytest.raises(SettingsError, match=r"not even one image .* --dtype float16"):
        fit_batch(4, attempt_up_to(0, []))


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    def attempt(size):
        raise RuntimeError("no kernel image")

    with pytest.raises(RuntimeError, match="no kernel image"):
        fit_batch(4, attempt)


@pytest.mark.parametrize("word", ["dog", "abcdefghij" * 9])
def test_a_batch_is_tried_out_in_full(random_model, word):
    """As on a GPU before a run begins; words that fit no prompt are left to their images."""
    segmenter = Segmenter(random_model, validate({}), batch_size=3)
    with out_of_memory(over=3) as asked:
        _try_out(segmenter, label_set_of([word, "cat"]))
    assert asked == [3]
    with out_of_memory(over=2), pytest.raises(torch.OutOfMemoryError):
        _try_out(segmenter, label_set_of([word, "cat"]))


@pytest.mark.parametrize(
    ("batch_size", "threads", "expected"),
    [(8, 2, 2), (8, 3, 2), (8, 16, 8), (7, 4, 1), (6, 4, 3), (1, 5, 5)],
)
def test_threads_share_out_whole_images(batch_size, threads, expected):
    assert whole_image_threads(batch_size, threads) == expected


FAULTS = """
import resource
import torch
from iseg_cli.execution.machine import keep_freed_memory

def faults():
    for _ in range(3):
        torch.zeros(1 << 24)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.zeros(1 << 24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


torch.set_num_threads(1)
print(faults())
keep_freed_memory()
print(faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_freed_memory_is_not_mapped_anew():
    """Page faults of 20 tensors of 64 MiB, each freed before the next one."""
    said = subprocess.check_output([sys.executable, "-c", FAULTS])
    before, after = map(int, said.split())
    assert before > 20 * after
