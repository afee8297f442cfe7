"""The benchmark of scoring: all tools have the same counts."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from iseg_cli.benchmark import scoring, street_masks
from iseg_cli.benchmark.scoring import OtherSpeed, ScoringResult, measure_scoring
from iseg_cli.benchmark.street_masks import mask_pair, write_masks

pytestmark = pytest.mark.filterwarnings("ignore")  # cityscapesscripts' own


def test_all_sides_count_the_same_pixels():
    result = measure_scoring(masks=3, size=(40, 64), workers=1)
    assert [other.name for other in result.others] == ["scikit-learn", "cityscapesScripts"]
    assert [other.equal for other in result.others] == [True, True]
    assert [other.least_ratio for other in result.others] == [3, 1]
    assert (result.masks, result.size, result.workers) == (3, (40, 64), 1)
    assert result.masks_per_second == 3 / result.seconds
    assert result.file_bytes > 6 * 67  # no PNG is smaller
    assert "NumPy" in result.others[1].note


def test_workers_count_the_same_and_are_chosen_as_the_command_chooses():
    assert measure_scoring(masks=1, size=(16, 16), others=()).workers == 1
    result = measure_scoring(masks=20, size=(16, 16), workers=2, others=["scikit-learn"])
    assert (result.workers, result.others[0].equal) == (2, True)


def test_counts_that_differ_are_told(monkeypatch):
    def wrong(pairs):
        counts = scoring._count_scikit_learn(pairs)
        counts[0, 0] += 1
        return counts

    other = replace(scoring._OTHERS["scikit-learn"], count=wrong)
    monkeypatch.setitem(scoring._OTHERS, "scikit-learn", other)
    result = measure_scoring(masks=2, size=(16, 16), workers=1, others=["scikit-learn"])
    assert result.others[0].equal is False
    assert not result.passed


@pytest.mark.parametrize(
    ("name", "module"),
    [("scikit-learn", "sklearn.metrics"), ("cityscapesScripts", scoring.CITYSCAPES_SCRIPT)],
)
def test_who_is_not_installed_says_so(monkeypatch, name, module):
    monkeypatch.setitem(sys.modules, module, None)
    result = measure_scoring(masks=1, size=(16, 16), workers=1, others=[name])
    (other,) = result.others
    assert (other.seconds, other.equal, other.note) == (None, None, "not installed")
    assert result.ratio(other) is None
    assert result.passed


def test_ratios_are_held_against_what_is_meant():
    def result(scikit_learn: float, script: float) -> ScoringResult:
        others = (
            OtherSpeed("scikit-learn", 3.0, scikit_learn, True, ""),
            OtherSpeed("cityscapesScripts", 1.0, script, True, ""),
        )
        return ScoringResult(50, (1024, 2048), 2, 1000, 0.1, 2.0, others)

    good = result(6.0, 2.0)
    assert [good.ratio(other) for other in good.others] == [3, 1]
    assert good.masks_per_second == 25
    assert good.passed
    assert not result(5.9, 9.0).passed
    assert not result(9.0, 1.9).passed


def test_masks_are_areas_and_the_same_for_a_seed(tmp_path):
    truth, prediction = mask_pair(np.random.default_rng(3), (96, 160), 34)
    again = mask_pair(np.random.default_rng(3), (96, 160), 34)
    np.testing.assert_array_equal((truth, prediction), again)
    assert truth.max() < 34
    assert len(np.unique(truth)) > 5
    assert (truth[:, 1:] == truth[:, :-1]).mean() > 0.9
    assert 0.3 < (truth == prediction).mean() < 1
    write_masks(tmp_path, masks=2, size=(96, 160), labels=34, seed=3)
    files = [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*.png"))]
    assert files == [f"{kind}/00000{n}.png" for kind in ("predictions", "truth") for n in (0, 1)]
    first = np.asarray(Image.open(tmp_path / "truth" / "000001.png"))
    np.testing.assert_array_equal(first, mask_pair(np.random.default_rng([3, 1]), (96, 160), 34)[0])


def test_many_masks_repeat_the_first_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(street_masks, "DISTINCT", 3)
    write_masks(tmp_path, masks=7, size=(24, 32), labels=34, seed=0)
    for kind in ("predictions", "truth"):
        contents = [path.read_bytes() for path in sorted((tmp_path / kind).iterdir())]
        assert contents == [*contents[:3], *contents[:3], contents[0]]
        assert len(set(contents)) == 3
