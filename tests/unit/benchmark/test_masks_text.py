from made_up_benchmark import made_up

from iseg_cli.benchmark.mask_speed import BatchResult, Loop
from iseg_cli.benchmark.masks_text import masks_as_text


def test_the_table_shows_every_batch_size():
    lines = masks_as_text(made_up()).splitlines()
    cells = [line.split() for line in lines]
    assert ["plain", "8.00", "1.00", "-", "25.0%", "0.50", *"------"] in cells
    stages = ["1.0", "2.0", "50.0", "10.0", "3.0", "4.0"]
    assert ["8", "16.00", "2.00", "99.999%", "50.0%", "2.00", *stages] in cells
    assert ["16", "15.00", "1.88", "99.998%", "46.9%", "4.00", *"------"] in cells
    assert "Best batch size 8: 2.00 times the plain path" in lines[-1]


def test_a_share_that_is_not_all_is_not_rounded_to_all():
    batches = (BatchResult(1, Loop(8, 10.0, 0), None, 0.9999999),)
    assert "99.999%" in masks_as_text(made_up(batches=batches))
