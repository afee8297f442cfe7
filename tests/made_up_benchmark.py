"""An invented result of a benchmark, for the tests of its reports."""

from dataclasses import replace

from iseg_cli.benchmark.limits import Arithmetic
from iseg_cli.benchmark.mask_speed import BatchResult, Loop, MaskSpeed, Setup, Stages


def made_up(**changes):
    """The invented result with some fields changed."""
    setup = Setup(
        "tiny", "emoji-voc", 128, "cpu", "a CPU", "float32", 2, 3, {"seed": 1}, {"torch": "2.13"}
    )
    stages = Stages(0.001, 0.002, 0.05, 0.01, 0.003, 0.004)
    batches = (
        BatchResult(1, Loop(8, 10.0, 2**30), stages, 1.0),
        BatchResult(8, Loop(8, 16.0, 2**31), stages, 0.99999),
        BatchResult(16, Loop(8, 15.0, 2**32), None, 0.99998),
    )
    arithmetic = Arithmetic(vae=10**9, unet=3 * 10**9, unet_needed=2 * 10**9)
    speed = MaskSpeed(setup, arithmetic, 96e9, batches, Loop(8, 8.0, 2**29))
    return replace(speed, **changes)
