import doctest

import pytest

from iseg_cli.config import validate
from iseg_cli.segmentation import refinement
from iseg_cli.segmentation.refinement import AdaptiveStop, RefineSteps, refine_steps

CHOSEN = {"iterations": 7, "min_iterations": 2, "tolerance": 0.25}


def settings(mode, **refine):
    return validate({"refine": {"mode": mode, **CHOSEN, **refine}, "ent_self": {"step_size": 0.05}})


def test_each_mode_has_its_steps():
    ent_self = settings("iterative").ent_self
    expected = {
        "none": RefineSteps(None, 0),
        "single": RefineSteps(None, 1),
        "naive": RefineSteps(None, 7),
        "iterative": RefineSteps(ent_self, 7),
        "adaptive": RefineSteps(ent_self, 7, AdaptiveStop(0.25, 2)),
    }
    assert {mode: refine_steps(settings(mode)) for mode in expected} == expected


def test_without_a_product_no_entropy_is_reduced():
    assert refine_steps(settings("iterative", iterations=0)) == RefineSteps(None, 0)


@pytest.mark.parametrize("mode", ["none", "single", "naive", "iterative"])
def test_a_fixed_number_of_products_is_shareable(mode):
    assert refine_steps(settings(mode)).is_shareable


def test_an_adaptive_number_of_products_is_not_shareable():
    assert not refine_steps(settings("adaptive")).is_shareable


def test_the_example_is_true():
    failed, tried = doctest.testmod(refinement)
    assert (failed, tried) == (0, 2)
