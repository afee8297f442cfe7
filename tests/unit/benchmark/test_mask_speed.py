import json

from made_up_benchmark import made_up

from iseg_cli.benchmark.mask_speed import masks_to_dict


def test_figures_that_follow_from_others():
    speed = made_up()
    assert speed.best.batch_size == 8
    assert speed.speedup == 2.0
    assert speed.speedup_of(speed.batches[0]) == 1.25
    assert speed.limit == 32.0  # 96 GFLOP/s over 3 GFLOP an image
    assert speed.share_of_limit(speed.best.loop) == 0.5
    assert made_up(plain=None).speedup is None


def test_the_json_holds_what_was_measured_and_what_follows():
    found = masks_to_dict(made_up())
    assert json.loads(json.dumps(found)) == found
    assert set(found) == {
        *("setup", "flop_per_image", "device_flop_per_second", "limit_images_per_second"),
        *("plain", "batches", "best_batch_size", "speedup"),
    }
    assert found["flop_per_image"] == {
        "vae": 10**9,
        "unet": 3 * 10**9,
        "unet_needed": 2 * 10**9,
        "needed": 3 * 10**9,
    }
    assert (found["best_batch_size"], found["speedup"]) == (8, 2.0)
    assert found["limit_images_per_second"] == 32.0
    assert found["plain"] == {
        "images": 8,
        "images_per_second": 8.0,
        "peak_memory": 2**29,
        "share_of_limit": 0.25,
    }
    assert found["batches"][1] == {
        "batch_size": 8,
        "images": 8,
        "images_per_second": 16.0,
        "peak_memory": 2**31,
        "share_of_limit": 0.5,
        "seconds_per_image": {
            "decode": 0.001,
            "vae": 0.002,
            "unet": 0.05,
            "refinement": 0.01,
            "assignment": 0.003,
            "write": 0.004,
        },
        "speedup": 2.0,
        "equal_pixels": 0.99999,
    }
    assert found["batches"][2]["seconds_per_image"] is None
    without = masks_to_dict(made_up(plain=None))
    assert (without["plain"], without["speedup"]) == (None, None)
