"""Sentences that errors are made of."""

from hypothesis import given
from hypothesis import strategies as st

from iseg_cli.errors import first_of


def test_one_reason_stands_as_it_is_and_several_by_number():
    assert first_of(["a is damaged"]) == "a is damaged"
    assert first_of(["a", "b", "c"]) == "(1) a; (2) b; (3) c"
    assert first_of(["a", "b", "c", "d", "e"]) == "(1) a; (2) b; (3) c; and 2 more"
    assert first_of(["a", "b"], most=1) == "(1) a; and 1 more"


@given(st.integers(2, 50), st.integers(1, 5))
def test_named_and_further_reasons_are_all_of_them(number, most):
    parts = first_of(["reason"] * number, most).split("; ")
    named = [part for part in parts if part.endswith(") reason")]
    further = sum(int(part.split()[1]) for part in parts if part.startswith("and "))
    assert len(named) == min(number, most)
    assert len(named) + further == number
