import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import typedwave
from typedwave.errors import (
    AnnotationError,
    ContractError,
    IdOutOfRangeError,
    Mismatch,
    Origin,
    ShapeError,
    StateError,
)

WRONG = Mismatch(
    "x",
    "has the wrong shape",
    (("expected", 'Float "B C"', "C = 3"), ("got", "f32[7, 5]", "axis 1 is 5")),
)
UNLIKE = Mismatch("the result", "is not a tensor", (("expected", "f", ""), ("got", "None", "")))

words = st.text("abc[]().=\n ", max_size=6)
mismatches = st.builds(
    Mismatch, words, words, st.lists(st.tuples(words, words, words), max_size=3).map(tuple)
)
errors: st.SearchStrategy[Callable[[], ContractError]] = st.builds(
    lambda kind, where, found, origins, suggestion: kind(
        where, found, origins=origins, suggestion=suggestion
    ),
    st.sampled_from([ContractError, ShapeError, StateError]),
    words,
    st.lists(mismatches, min_size=1, max_size=3),
    st.lists(st.builds(Origin, words, words, words), max_size=2),
    st.none() | words,
)


def test_one_mismatch_is_a_table_under_the_first_line() -> None:
    error = ShapeError("layers.2 (Linear)", [WRONG])
    assert str(error) == (
        "layers.2 (Linear): x has the wrong shape\n"
        '  expected  Float "B C"   C = 3\n'
        "  got       f32[7, 5]     axis 1 is 5"
    )


def test_several_mismatches_have_a_table_each() -> None:
    error = ShapeError(
        "f",
        [WRONG, UNLIKE],
        origins=[Origin("C", "3", "weight f32[2, 3]"), Origin("*B", "[]", "y f32[]")],
        suggestion="Linear(5, 2)",
    )
    assert str(error) == (
        "f: x has the wrong shape; the result is not a tensor\n"
        "  x\n"
        '    expected  Float "B C"   C = 3\n'
        "    got       f32[7, 5]     axis 1 is 5\n"
        "  the result\n"
        "    expected  f\n"
        "    got       None\n"
        "  C = 3 comes from weight f32[2, 3]\n"
        "  *B = [] comes from y f32[]\n"
        "  perhaps   Linear(5, 2)"
    )


def test_remarks_stand_under_one_another_whatever_the_rows_without_one_need() -> None:
    rows = (("declared", "a", "x"), ("was", "much longer", ""), ("became", "bbb", "y"))
    assert str(StateError("M", [Mismatch("s", "drifted", rows)])) == (
        "M: s drifted\n  declared  a     x\n  was       much longer\n  became    bbb   y"
    )


@given(errors)
def test_an_error_survives_pickling_and_copying_with_its_facts_and_its_text(
    error: ContractError,
) -> None:
    for restored in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(restored) is type(error)
        assert str(restored) == str(error)
        assert restored.where == error.where
        assert restored.mismatches == error.mismatches
        assert restored.origins == error.origins
        assert restored.suggestion == error.suggestion
        assert restored.args == error.args


def test_the_facts_of_an_error_are_attributes() -> None:
    error = StateError("M", [WRONG], origins=[Origin("C", "3", "y")])
    assert error.where == "M"
    assert error.mismatches == (WRONG,)
    assert error.mismatches[0].subject == "x"
    assert error.mismatches[0].problem == "has the wrong shape"
    assert error.mismatches[0].facts[1] == ("got", "f32[7, 5]", "axis 1 is 5")
    assert error.origins == (Origin("C", "3", "y"),)
    assert error.suggestion is None
    assert ShapeError("M", [WRONG], suggestion="a").suggestion == "a"
    assert ShapeError("M", [WRONG]).origins == ()


@pytest.mark.parametrize("kind", [ContractError, ShapeError, StateError, AnnotationError])
def test_a_broken_contract_is_a_type_error(kind: type[Exception]) -> None:
    assert issubclass(kind, TypeError)
    assert not issubclass(kind, ValueError)


def test_shape_and_state_errors_are_told_apart() -> None:
    assert issubclass(ShapeError, ContractError)
    assert issubclass(StateError, ContractError)
    assert not issubclass(ShapeError, StateError)
    assert not issubclass(StateError, ShapeError)
    assert not issubclass(AnnotationError, ContractError)


@pytest.mark.parametrize("caught", [ValueError, IndexError, IdOutOfRangeError])
def test_an_id_out_of_range_is_a_value_error_and_what_torch_raises(caught: Any) -> None:
    with pytest.raises(caught) as error:
        raise IdOutOfRangeError("id 9")
    assert str(error.value) == "id 9"
    assert not isinstance(error.value, TypeError)


def test_errors_that_users_catch_are_public() -> None:
    for kind in (AnnotationError, ContractError, IdOutOfRangeError, ShapeError, StateError):
        assert getattr(typedwave, kind.__name__) is kind
