"""`iseg benchmark` as a user runs it."""

import json

import pytest
from click.testing import CliRunner

from iseg_cli.benchmark import masks, report
from iseg_cli.benchmark.scoring import OtherSpeed, ScoringResult
from iseg_cli.cli import main


def iseg(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def quick(monkeypatch):
    """The matrix product takes no time."""
    monkeypatch.setattr(masks, "matrix_product_rate", lambda device, dtype, *, side: 1e9)


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
        return report.BenchmarkReport(None)

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

    found = report.BenchmarkReport(made_up())
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
