"""The shapes in the signatures are checked while tests run, in every module that pytest names."""

import importlib
from collections.abc import Callable
from importlib.util import find_spec

import pytest
import torch
from jaxtyping import TypeCheckError

from iseg_cli.attention.attention_extractor import AttentionOutput
from iseg_cli.ops.maps import AttentionMaps
from iseg_cli.ops.refine import refine
from iseg_cli.segmentation.segments import Segments


def test_the_checked_modules_exist(pytestconfig: pytest.Config) -> None:
    """The hook says nothing of a name that no module has, and would check nothing."""
    *names, checker = pytestconfig.getoption("jaxtyping_packages").split(",")
    assert checker == "beartype.beartype"
    assert [name for name in names if find_spec(name) is None] == []
    for name in names:
        loader = importlib.import_module(name).__spec__.loader
        assert type(loader).__name__ == "_JaxtypingLoader", name


def wrong_argument() -> object:
    """Category maps of 4 positions and self-attention of 5."""
    return refine(torch.rand(1, 4, 2), torch.rand(1, 5, 5), iterations=1)


def wrong_rank() -> object:
    """Category maps without a batch."""
    return refine(torch.rand(4, 2), torch.rand(1, 4, 4), iterations=1)


def wrong_type() -> object:
    """Whole numbers as self-attention."""
    return refine(torch.rand(1, 4, 2), torch.ones(1, 4, 4, dtype=torch.int64), iterations=1)


def wrong_field() -> object:
    """A value whose fields disagree on the number of categories."""
    return AttentionMaps(torch.rand(1, 4, 3), torch.rand(1, 4, 4), 2, torch.ones(1, 2).bool())


def wrong_field_of_attention() -> object:
    """Cross-attention of 4 positions and self-attention of 9."""
    return AttentionOutput(torch.rand(1, 4, 2), torch.rand(1, 9, 9), None)


def wrong_field_of_segments() -> object:
    """Maps of segments that are not square."""
    return Segments(torch.zeros(2, 3, dtype=torch.int64), torch.rand(1, 4, 5))


@pytest.mark.parametrize(
    "make",
    [
        wrong_argument, wrong_rank, wrong_type,
        wrong_field, wrong_field_of_attention, wrong_field_of_segments,
    ],
)  # fmt: skip
def test_a_wrong_shape_is_an_error(make: Callable[[], object]) -> None:
    with pytest.raises(TypeCheckError):
        make()


def test_right_shapes_are_none() -> None:
    maps, attention = torch.rand(1, 4, 2), torch.full((1, 4, 4), 0.25)
    assert refine(maps, attention, iterations=1).shape == (1, 4, 2)
    AttentionMaps(maps, attention, 2, torch.ones(1, 2).bool())
