"""`iseg benchmark` as a user runs it."""

import json
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner

from iseg_cli.benchmark import report, run
from iseg_cli.benchmark.run import ARCHITECTURE, Plan, benchmark_settings, measure_masks
from iseg_cli.benchmark.scoring import OtherSpeed, ScoringResult
from iseg_cli.cli import main
from iseg_cli.config import load_settings
from iseg_cli.errors import SettingsError


def iseg(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def quick(monkeypatch):
    """A matrix product that takes no time to speak of."""
    monkeypatch.setattr(run, "matrix_product_rate", lambda device, dtype, *, side: 1e9)


def test_masks_on_a_few_images(tmp_path, quick):
    result = iseg(
        "benchmark", "--part=masks", "--model=tiny", "--device=cpu", "--images=4",
        "--batch-size=2,1", "--rounds=1", f"--out={tmp_path}", "--fail-under-speedup=1e-9",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "benchmark.json").read_text())["masks"]
    assert [batch["batch_size"] for batch in found["batches"]] == [1, 2]
    assert [batch["images"] for batch in found["batches"]] == [4, 4]
    assert all(batch["equal_pixels"] >= 0.9999 for batch in found["batches"])
    assert all(min(batch["seconds_per_image"].values()) > 0 for batch in found["batches"])
    best = max(batch["images_per_second"] for batch in found["batches"])
    assert found["speedup"] == pytest.approx(best / found["plain"]["images_per_second"])
    assert found["limit_images_per_second"] == 1e9 / found["flop_per_image"]["needed"]
    setup = found["setup"]
    assert (setup["model"], setup["device"], setup["dtype"]) == ("tiny", "cpu", "float32")
    assert setup["settings"]["ent_self"]["step_size"] == 0.1  # the preset of emoji-voc
    assert (tmp_path / "benchmark.png").exists()
    assert "times the plain path" in result.stdout
    assert f"wrote {tmp_path / 'benchmark.json'}" in result.stderr


def test_without_the_plain_path(tmp_path, quick):
    result = iseg(
        "benchmark", "--part=masks", "--model=tiny", "--device=cpu", "--images=2",
        "--batch-size=1", "--rounds=2", "--skip-reference", f"--out={tmp_path}",
        "--set=refine.iterations=2",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "benchmark.json").read_text())["masks"]
    assert (found["plain"], found["speedup"]) == (None, None)
    assert found["batches"][0]["equal_pixels"] is None
    assert found["setup"]["settings"]["refine"]["iterations"] == 2


def test_options_become_settings(tmp_path, monkeypatch):
    plans = []

    def measured(plan, *, with_scoring, tell):
        plans.append((plan, with_scoring))
        return report.Report(None)

    monkeypatch.setattr(report, "measure", measured)
    result = iseg(
        "benchmark", "--model=tiny", "--compile", "--vae=taesd", "--split=train",
        "--dtype=bfloat16", "--batch-size=4,2,4", "--config=paper/voc", f"--out={tmp_path}",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    [(plan, with_scoring)] = plans
    settings = plan.settings
    assert (settings.compile, settings.vae, settings.split) == (True, "taesd", "train")
    assert (settings.dataset, settings.runtime.dtype) == ("emoji-voc", "bfloat16")
    assert settings.ent_self.log == "natural"  # the paper's
    assert (plan.images, plan.batch_sizes, plan.rounds, plan.with_plain) == (None, (2, 4), 3, True)
    assert with_scoring
    iseg("benchmark", "--model=tiny", "--part=masks", f"--out={tmp_path}")
    plan, with_scoring = plans[-1]
    assert (plan.settings.compile, plan.batch_sizes, with_scoring) == (False, None, False)


@pytest.mark.parametrize(("bar", "code"), [(1.99, 0), (2.0, 0), (2.01, 1)])
def test_a_ratio_under_the_bar_ends_with_1(tmp_path, monkeypatch, bar, code):
    from made_up_benchmark import made_up

    found = report.Report(made_up())
    monkeypatch.setattr(report, "measure", lambda *_, **__: found)
    result = iseg(
        "benchmark", "--part=masks", "--model=tiny", f"--out={tmp_path}",
        f"--fail-under-speedup={bar}",
    )  # fmt: skip
    assert result.exit_code == code, result.output
    assert ("below 2.01" in result.stderr) == (code == 1)
    assert (tmp_path / "benchmark.json").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--fail-under-speedup=2", "--skip-reference"], "needs masks"),
        (["--fail-under-speedup=2", "--part=scoring"], "needs masks"),
        (["--batch-size=two"], "neither auto nor numbers"),
        (["--batch-size=1,0"], "neither auto nor numbers"),
        (["--images=1"], "x>=2"),
        (["--batch-size=8", "--images=15"], "a batch size of 8 takes 16 images"),
        (["--set=fusion=clip-entropy"], "by diffusion alone"),
        (["--set=labels=clip"], "by diffusion alone"),
        (["--set=refine.iteratoins=3"], "did you mean refine.iterations?"),
    ],
)
def test_wrong_usage_ends_with_2(tmp_path, arguments, words):
    result = iseg(
        "benchmark", "--model=tiny", "--device=cpu", "--images=4", f"--out={tmp_path}", *arguments
    )
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert not list(tmp_path.iterdir())


def test_scoring_alone(tmp_path, monkeypatch):
    asked = []

    def measured(**options):
        asked.append(options)
        others = (
            OtherSpeed("scikit-learn", 3.0, 8.0, True, ""),
            OtherSpeed("cityscapesScripts", 1.0, None, None, "not installed"),
        )
        return ScoringResult(50, (1024, 2048), 2, 10**6, 0.5, 2.0, others)

    monkeypatch.setattr(report, "measure_scoring", measured)
    result = iseg("benchmark", "--part=scoring", f"--out={tmp_path}")
    assert result.exit_code == 0, result.output
    assert asked == [{}]
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["iseg", "evaluate", "2.00", "25.0", "-", "-"] in rows
    assert ["scikit-learn", "8.00", "6.2", "4.00", "times", "yes"] in rows
    assert ["cityscapesScripts", *"----"] in rows
    assert "cityscapesScripts: not installed." in result.stdout
    found = json.loads((tmp_path / "benchmark.json").read_text())
    assert found["masks"] is None
    assert found["scoring"]["ratios"] == {"scikit-learn": 4.0, "cityscapesScripts": None}
    assert found["scoring"]["masks_per_second"] == 25.0
    assert found["scoring"]["others"][0]["seconds"] == 8.0
    assert not (tmp_path / "benchmark.png").exists()


def test_help_has_an_example():
    result = iseg("benchmark", "--help")
    assert result.exit_code == 0
    assert "iseg benchmark --batch-size 1,2,4,8" in result.output
    assert "Exit codes" in result.output


def test_the_architecture_gets_the_settings_of_the_released_code():
    settings = benchmark_settings((), (), {"model": ARCHITECTURE})
    voc = load_settings("voc")
    assert settings.dataset == "emoji-voc"
    assert settings.model == ARCHITECTURE
    assert (settings.capture, settings.cluster) == (voc.capture, voc.cluster)
    own = benchmark_settings(("paper/voc",), (), {"model": ARCHITECTURE})
    assert own.capture.self_heads is None


@pytest.mark.parametrize(("device", "model"), [("cuda", ARCHITECTURE), ("cpu", "tiny")])
def test_what_is_measured_unasked(monkeypatch, device, model):
    monkeypatch.setattr(run, "choose_device", lambda name: torch.device(device))
    assert benchmark_settings((), (), {"model": None}).model == model


def rates(monkeypatch, by_size, *, plain=10.0):
    """Put loops of known speed in place of real ones; return the batch sizes that ran."""
    ran = []

    def generate(settings, *, batch_size, images, out):
        ran.append(batch_size)
        if by_size[batch_size] is None:
            raise SettingsError("8 images do not fit into the memory of cuda")
        return run.Loop(images, by_size[batch_size], 7)

    monkeypatch.setattr(run, "run_generate", generate)
    monkeypatch.setattr(run, "run_plain", lambda *_, images, out: run.Loop(images, plain, 7))
    monkeypatch.setattr(run, "equal_pixels", lambda one, other: 1.0)
    monkeypatch.setattr(run, "_time_all_stages", lambda settings, sizes, *_: dict.fromkeys(sizes))
    monkeypatch.setattr(run, "_count", lambda settings: (SimpleNamespace(needed=1), 128))
    return ran


def plan_of(**changes):
    settings = load_settings("emoji-voc", overrides={"runtime.device": "cpu"})
    return Plan(settings, images=64, rounds=1, **changes)


def test_batch_sizes_are_tried_until_they_no_longer_pay(monkeypatch, quick):
    ran = rates(monkeypatch, {1: 10.0, 2: 15.0, 4: 15.7, 8: 30.0})
    speed = measure_masks(plan_of(), tell=lambda _: None)
    assert ran == [1, 2, 4]  # 15.7 is not 1.05 times 15
    assert speed.best.batch_size == 4
    assert speed.speedup == pytest.approx(1.57)


def test_batch_sizes_end_with_the_memory(monkeypatch, quick):
    ran = rates(monkeypatch, {1: 10.0, 2: 15.0, 4: None})
    told = []
    speed = measure_masks(plan_of(), tell=told.append)
    assert ran == [1, 2, 4]
    assert [batch.batch_size for batch in speed.batches] == [1, 2]
    assert "batch size 4 does not fit into memory" in told


def test_where_not_one_image_fits_the_reason_is_told(monkeypatch, quick):
    rates(monkeypatch, {1: None})
    with pytest.raises(SettingsError, match="do not fit into the memory"):
        measure_masks(plan_of(), tell=lambda _: None)


def test_batch_sizes_end_with_the_images(monkeypatch, quick):
    ran = rates(monkeypatch, {2**power: 2.0**power for power in range(8)})
    measure_masks(plan_of(), tell=lambda _: None)
    assert ran == [1, 2, 4, 8, 16, 32]  # of 64 images two batches


def test_named_batch_sizes_all_run(monkeypatch, quick):
    ran = rates(monkeypatch, {2: 20.0, 16: 1.0})
    speed = measure_masks(plan_of(batch_sizes=(2, 16)), tell=lambda _: None)
    assert ran == [2, 16]
    assert speed.best.batch_size == 2


def test_the_median_of_the_rounds_counts(monkeypatch, quick):
    settings = load_settings("emoji-voc", overrides={"runtime.device": "cpu"})
    rates(monkeypatch, {})
    fast, plain = iter([10.0, 50.0, 20.0]), iter([5.0, 8.0, 1.0])
    folders = []

    def generate(settings, *, batch_size, images, out):
        folders.append(out)
        return run.Loop(images, next(fast), 100 + len(folders))

    monkeypatch.setattr(run, "run_generate", generate)
    monkeypatch.setattr(run, "run_plain", lambda *_, images, out: run.Loop(images, next(plain), 7))
    plan = Plan(settings, images=8, batch_sizes=(4,), rounds=3)
    speed = measure_masks(plan, tell=lambda _: None)
    assert speed.best.loop.images_per_second == 20.0
    assert speed.plain.images_per_second == 5.0
    assert speed.speedup == 4.0
    assert speed.best.loop.peak_memory == 101  # that of the first round
    assert len(set(folders)) == 3  # a folder that is there would be resumed
