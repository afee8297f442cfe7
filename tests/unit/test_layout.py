"""The tests mirror the package: `tests/unit/<package>/test_<module>.py` tests one module."""

import importlib.util
import pkgutil
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PACKAGE = TESTS.parent / "iseg_cli"

MODULES_LACKING = {
    "backbones/test_model_folders": "damaged and unusual folders, through every loader of a part",
    "clip/test_tagger_blocks": "the agreement of all blocks, through the image transformer",
    "image_labels/test_labelers": "every labeler keeps the protocol",
    "ops/test_examples": "the examples in the docstrings of all operations",
    "readers/coco/test_fuzz": "any JSON, through every module of COCO",
    "readers/test_image_fuzz": "damaged files, through decoding and sizes",
    "test_layout": "the layout of the tests",
    "test_shapes": "the checks of shapes in every package that has them",
}
"""Test files without a module of their name, and what each tests."""

UNIT_TESTS = [
    path.relative_to(TESTS / "unit").with_suffix("").as_posix()
    for path in sorted((TESTS / "unit").rglob("test_*.py"))
]
HELPERS = sorted(path.stem for path in TESTS.glob("*.py") if path.stem != "conftest")


def module_of(test: str) -> Path:
    """The module, or the package, that a unit test is about."""
    folder, _, name = test.rpartition("/")
    package = PACKAGE / folder / name.removeprefix("test_")
    return package if package.is_dir() else package.with_suffix(".py")


@pytest.mark.parametrize("test", UNIT_TESTS)
def test_a_unit_test_has_the_name_of_its_module(test: str) -> None:
    assert module_of(test).exists() or test in MODULES_LACKING


def test_every_exception_is_needed() -> None:
    assert set(MODULES_LACKING) <= set(UNIT_TESTS)
    assert not [test for test in MODULES_LACKING if module_of(test).exists()]


def test_unit_tests_have_no_other_files() -> None:
    """Helpers of several test files lie in tests/, where every test finds them."""
    others = [path for path in (TESTS / "unit").rglob("*.py") if not path.stem.startswith("test_")]
    assert others == []


@pytest.mark.parametrize("helper", HELPERS)
def test_a_helper_hides_no_installed_module(helper: str) -> None:
    """Helpers are imported by plain names, so a package of that name would be out of reach."""
    elsewhere = [folder for folder in sys.path if Path(folder or ".").resolve() != TESTS]
    assert helper not in sys.stdlib_module_names
    assert {found.name for found in pkgutil.iter_modules(elsewhere)}.isdisjoint({helper})
    assert Path(importlib.util.find_spec(helper).origin).parent == TESTS
