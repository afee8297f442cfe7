"""Threads and memory of a CPU."""

import subprocess
import sys

import pytest

from iseg_cli.execution.device import whole_image_threads


@pytest.mark.parametrize(
    ("batch_size", "threads", "expected"),
    [(8, 2, 2), (8, 3, 2), (8, 16, 8), (7, 4, 1), (6, 4, 3), (1, 5, 5)],
)
def test_threads_share_out_whole_images(batch_size, threads, expected):
    assert whole_image_threads(batch_size, threads) == expected


FAULTS = """
import resource
import torch
from iseg_cli.execution.device import keep_freed_memory

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
