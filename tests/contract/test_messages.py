from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from drifting import (
    BatchNormOfTheLecture,
    DisagreesWithItself,
    Drifts,
    ReturnsNothing,
    SwapsResultAxes,
)
from jaxtyping import Float, Int, Int32, Int64, Shaped
from torch import Tensor, nn
from torch.nn import Parameter

from typedwave import ContractError, ShapeError, StateError, typed
from typedwave.nn import BatchNorm1d, Embedding, FlattenConsecutive, Linear

zeros = torch.zeros


def message(call: Callable[[], Any], kind: type[ContractError] = ShapeError) -> str:
    """The text of the one error of a call; it is told by one exception and no notes."""
    with pytest.raises(ContractError) as caught:
        call()
    error = caught.value
    assert type(error) is kind
    assert error.__cause__ is None
    assert error.__suppress_context__
    assert not hasattr(error, "__notes__")
    return str(error)


@typed
def attend(
    q: Float[Tensor, "B T C"], k: Float[Tensor, "B S C"], scale: float = 1.0
) -> Float[Tensor, "B T S"]:
    return q @ k.mT * scale


def test_a_last_axis_that_does_not_fit_a_layer() -> None:
    model = nn.Sequential(nn.Tanh(), nn.Sequential(nn.Tanh(), Linear(20, 27)))
    assert message(lambda: model(zeros(32, 8, 21))) == (
        "1.1 (Linear): x has the wrong shape\n"
        '  expected  Float "*B in_features"   in_features = 20\n'
        "  got       f32[32, 8, 21]           axis -1 is 21\n"
        "  in_features = 20 comes from 1.1.weight f32[27, 20]\n"
        "  perhaps   Linear(in_features=21)"
    )


def test_a_layer_that_is_called_alone() -> None:
    assert message(lambda: BatchNorm1d(3)(zeros(7, 5))) == (
        "BatchNorm1d: x has the wrong shape\n"
        '  expected  Float "*B num_features"   num_features = 3\n'
        "  got       f32[7, 5]                 axis -1 is 5\n"
        "  num_features = 3 comes from weight f32[3]\n"
        "  perhaps   BatchNorm1d(num_features=5)"
    )


def test_the_first_tensor_that_gave_a_size_is_named() -> None:
    layer = BatchNorm1d(3, affine=False)
    assert "num_features = 3 comes from running_mean f32[3]" in message(lambda: layer(zeros(7, 5)))


def test_a_wrong_number_of_axes() -> None:
    assert message(lambda: attend(zeros(2, 3), zeros(2, 5, 7))) == (
        "attend: q has the wrong shape\n"
        '  expected  Float "B T C"\n'
        "  got       f32[2, 3]   it has 2 axes"
    )
    assert message(lambda: attend(zeros(2), zeros(2, 5, 7))) == (
        "attend: q has the wrong shape\n"
        '  expected  Float "B T C"\n'
        "  got       f32[2]   it has 1 axis"
    )


def test_two_arguments_that_are_wrong_at_once() -> None:
    @typed
    def mix(x: Float[Tensor, "B C"], y: Float[Tensor, "B C"], z: Int[Tensor, "B"]) -> None: ...

    assert message(lambda: mix(zeros(2, 3), zeros(5, 7), zeros(2))) == (
        "test_two_arguments_that_are_wrong_at_once.<locals>.mix: "
        "y has the wrong shape; z has the wrong dtype\n"
        "  y\n"
        '    expected  Float "B C"   B = 2, C = 3\n'
        "    got       f32[5, 7]     axis 0 is 5, axis 1 is 7\n"
        "  z\n"
        '    expected  Int "B"\n'
        "    got       f32[2]   its dtype is float32\n"
        "  B = 2 comes from x f32[2, 3]\n"
        "  C = 3 comes from x f32[2, 3]\n"
        "  perhaps   z.long()"
    )


def test_a_name_that_two_arguments_disagree_about() -> None:
    assert message(lambda: attend(zeros(2, 3, 5), zeros(2, 4, 7))) == (
        "attend: k has the wrong shape\n"
        '  expected  Float "B S C"   C = 5\n'
        "  got       f32[2, 4, 7]    axis 2 is 7\n"
        "  C = 5 comes from q f32[2, 3, 5]"
    )


def test_a_variadic_name_that_two_arguments_disagree_about() -> None:
    @typed
    def add(x: Float[Tensor, "*B C"], y: Float[Tensor, "*B C"]) -> None: ...

    assert message(lambda: add(zeros(2, 3, 5), zeros(4, 5))) == (
        "test_a_variadic_name_that_two_arguments_disagree_about.<locals>.add: "
        "y has the wrong shape\n"
        '  expected  Float "*B C"   *B = [2, 3]\n'
        "  got       f32[4, 5]      *B is [4]\n"
        "  *B = [2, 3] comes from x f32[2, 3, 5]"
    )


def test_too_few_axes_beside_a_variadic_name() -> None:
    assert message(lambda: Linear(3, 2)(zeros(()))) == (
        "Linear: x has the wrong shape\n"
        '  expected  Float "*B in_features"   in_features = 3\n'
        "  got       f32[]                    it has 0 axes\n"
        "  in_features = 3 comes from weight f32[2, 3]"
    )


class Pairs(nn.Module):
    """Has arithmetic on what it knows of itself."""

    def __init__(self, n: int, wrong: int = 0) -> None:
        super().__init__()
        self.n, self.wrong = n, wrong

    @typed
    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T//{self.n} C*{self.n}"]:
        B, T, C = x.shape  # noqa: N806  # axes
        return x.new_zeros(B, T // self.n + self.wrong, C * self.n)


def test_arithmetic_with_an_attribute() -> None:
    assert message(lambda: nn.Sequential(Pairs(2, wrong=1))(zeros(3, 8, 5))) == (
        "0 (Pairs): the result has the wrong shape\n"
        '  expected  Float "B T//{self.n} C*{self.n}"   T//2 = 4\n'
        "  got       f32[3, 5, 10]                      axis 1 is 5\n"
        "  T = 8 comes from x f32[3, 8, 5]"
    )


def test_an_attribute_alone_as_an_axis() -> None:
    class Sized:
        n = 4

        @typed
        def f(self, x: Float[Tensor, "{self.n} C"]) -> None: ...

    assert message(lambda: Sized().f(zeros(3, 5))) == (
        "test_an_attribute_alone_as_an_axis.<locals>.Sized.f: x has the wrong shape\n"
        '  expected  Float "{self.n} C"   {self.n} = 4\n'
        "  got       f32[3, 5]            axis 0 is 3"
    )


def test_a_fixed_axis() -> None:
    @typed
    def rotate(x: Float[Tensor, "N 3"], matrix: Float[Tensor, "rows=3 3"]) -> None: ...

    assert message(lambda: rotate(zeros(5, 4), zeros(4, 4))) == (
        "test_a_fixed_axis.<locals>.rotate: x has the wrong shape; matrix has the wrong shape\n"
        "  x\n"
        '    expected  Float "N 3"\n'
        "    got       f32[5, 4]   axis 1 is 4\n"
        "  matrix\n"
        '    expected  Float "rows=3 3"\n'
        "    got       f32[4, 4]   axis 0 is 4, axis 1 is 4"
    )


def test_a_broadcastable_axis() -> None:
    @typed
    def scale(x: Float[Tensor, "B C"], by: Float[Tensor, "#B #C"]) -> None: ...

    assert message(lambda: scale(zeros(2, 3), zeros(1, 4))) == (
        "test_a_broadcastable_axis.<locals>.scale: by has the wrong shape\n"
        '  expected  Float "#B #C"   C = 3\n'
        "  got       f32[1, 4]       axis 1 is 4\n"
        "  C = 3 comes from x f32[2, 3]"
    )


def test_integers_for_floats() -> None:
    assert message(lambda: Linear(3, 2)(zeros(7, 3, dtype=torch.int64))) == (
        "Linear: x has the wrong dtype\n"
        '  expected  Float "*B in_features"\n'
        "  got       i64[7, 3]   its dtype is int64\n"
        "  perhaps   x.float()"
    )


def test_floats_for_integers() -> None:
    assert message(lambda: Embedding(9, 4)(zeros(7))) == (
        "Embedding: x has the wrong dtype\n"
        '  expected  Int32 "*B" or Int64 "*B"\n'
        "  got       f32[7]   its dtype is float32\n"
        "  perhaps   x.long()"
    )


def test_a_dtype_for_which_there_is_no_short_cast() -> None:
    @typed
    def f(x: Int32[Tensor, "B"]) -> None: ...

    assert message(lambda: f(zeros(7, dtype=torch.bfloat16))) == (
        "test_a_dtype_for_which_there_is_no_short_cast.<locals>.f: x has the wrong dtype\n"
        '  expected  Int32 "B"\n'
        "  got       bf16[7]   its dtype is bfloat16"
    )


class Point(NamedTuple):
    """Is described as its class."""

    x: int


@pytest.mark.parametrize(
    ("value", "described"),
    [
        (None, "None"),
        ([1.0, 2.0], "list of 2"),
        ((), "tuple of 0"),
        ({"a": 1}, "dict of 1"),
        (3.5, "float 3.5"),
        (7, "int 7"),
        (True, "bool True"),
        ("abc", "str 'abc'"),
        ("a" * 60, "str '" + "a" * 36 + "..."),
        (b"ab", "bytes b'ab'"),
        (np.zeros((2, 3)), "ndarray float64[2, 3]"),
        (nn.Tanh(), "Tanh"),
        (object(), "object"),
    ],
)
def test_what_is_no_tensor(value: Any, described: str) -> None:
    assert message(lambda: Linear(3, 2)(value)) == (
        f'Linear: x is not a tensor\n  expected  Float "*B in_features"\n  got       {described}'
    )


def test_an_argument_that_should_be_no_tensor() -> None:
    assert message(lambda: attend(zeros(2, 3, 5), zeros(2, 4, 5), zeros(()))) == (
        "attend: scale is not float\n  expected  float\n  got       f32[]"
    )


def test_other_types_are_spelt_as_they_are_written() -> None:
    @typed
    def f(
        a: int | None = None,
        b: list[str] = [],  # noqa: B006  # nothing changes it
        c: dict[str, tuple[int, ...]] | None = None,
        d: nn.Module | None = None,
    ) -> None: ...

    name = "test_other_types_are_spelt_as_they_are_written.<locals>.f"
    assert message(lambda: f("x", (), 3, 4)) == (
        f"{name}: a is not int or None; b is not list[str]; "
        "c is not dict[str, tuple[int, ...]] or None; d is not Module or None\n"
        "  a\n    expected  int or None\n    got       str 'x'\n"
        "  b\n    expected  list[str]\n    got       tuple of 0\n"
        "  c\n    expected  dict[str, tuple[int, ...]] or None\n    got       int 3\n"
        "  d\n    expected  Module or None\n    got       int 4"
    )


def test_an_element_of_a_list() -> None:
    @typed
    def stack(parts: list[Float[Tensor, "B C"]]) -> None: ...

    assert message(lambda: stack([zeros(2, 3), zeros(2, 3), zeros(2, 5), [zeros(3)]])) == (
        "test_an_element_of_a_list.<locals>.stack: "
        "parts[2] has the wrong shape; parts[3] is not a tensor\n"
        "  parts[2]\n"
        '    expected  Float "B C"   C = 3\n'
        "    got       f32[2, 5]     axis 1 is 5\n"
        "  parts[3]\n"
        '    expected  Float "B C"\n'
        "    got       list of 1\n"
        "  C = 3 comes from parts[0] f32[2, 3]"
    )


def test_an_element_of_a_dict() -> None:
    @typed
    def merge(parts: dict[str, Float[Tensor, "B"]], x: Float[Tensor, "B"]) -> None: ...

    assert message(lambda: merge({"a": zeros(2), "b": zeros(3)}, zeros(2))) == (
        "test_an_element_of_a_dict.<locals>.merge: parts['b'] has the wrong shape\n"
        '  expected  Float "B"   B = 2\n'
        "  got       f32[3]      axis 0 is 3\n"
        "  B = 2 comes from parts['a'] f32[2]"
    )


def test_no_list_where_a_list_of_tensors_is_expected() -> None:
    @typed
    def stack(parts: list[Float[Tensor, "B C"]]) -> None: ...

    assert message(lambda: stack(zeros(2, 3))) == (
        "test_no_list_where_a_list_of_tensors_is_expected.<locals>.stack: "
        'parts is not list[Float "B C"]\n'
        '  expected  list[Float "B C"]\n'
        "  got       f32[2, 3]"
    )


def test_no_list_and_another_mistake() -> None:
    @typed
    def stack(parts: list[Float[Tensor, "B"]], x: Float[Tensor, "B C"]) -> None: ...

    assert message(lambda: stack(zeros(2), zeros(2))) == (
        "test_no_list_and_another_mistake.<locals>.stack: "
        'parts is not list[Float "B"]; x has the wrong shape\n'
        "  parts\n"
        '    expected  list[Float "B"]\n'
        "    got       f32[2]\n"
        "  x\n"
        '    expected  Float "B C"\n'
        "    got       f32[2]   it has 1 axis"
    )


def test_a_result_of_the_wrong_shape() -> None:
    assert message(lambda: SwapsResultAxes()(zeros(2, 3))) == (
        "SwapsResultAxes: the result has the wrong shape\n"
        '  expected  Float "B T"   B = 2, T = 3\n'
        "  got       f32[3, 2]     axis 0 is 3, axis 1 is 2\n"
        "  B = 2 comes from x f32[2, 3]\n"
        "  T = 3 comes from x f32[2, 3]"
    )


def test_a_result_of_the_wrong_dtype_is_not_to_be_cast_by_the_caller() -> None:
    @typed
    def f(x: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        return x.long()

    name = "test_a_result_of_the_wrong_dtype_is_not_to_be_cast_by_the_caller.<locals>.f"
    assert message(lambda: f(zeros(3))) == (
        f"{name}: the result has the wrong dtype\n"
        '  expected  Float "B"\n'
        "  got       i64[3]   its dtype is int64"
    )


def test_a_result_of_none() -> None:
    assert message(lambda: nn.Sequential(ReturnsNothing())(zeros(2, 3))) == (
        '0 (ReturnsNothing): the result is not a tensor\n  expected  Float "*B"\n  got       None'
    )


def test_a_result_that_is_no_tensor_and_should_be_none() -> None:
    @typed
    def count(x: Float[Tensor, "B"]) -> int:
        return len(x) / 2

    @typed
    def show(x: Float[Tensor, "B"]) -> None:
        return x

    name = "test_a_result_that_is_no_tensor_and_should_be_none.<locals>."
    assert message(lambda: count(zeros(3))) == (
        f"{name}count: the result is not int\n  expected  int\n  got       float 1.5"
    )
    assert message(lambda: show(zeros(3))) == (
        f"{name}show: the result is not None\n  expected  None\n  got       f32[3]"
    )


def test_a_part_of_a_result() -> None:
    @typed
    def split(x: Float[Tensor, "B C"]) -> tuple[Float[Tensor, "B"], Int64[Tensor, "B"]]:
        return x[:, 0], x.argmax(0)

    assert message(lambda: split(zeros(2, 3))) == (
        "test_a_part_of_a_result.<locals>.split: the result[1] has the wrong shape\n"
        '  expected  Int64 "B"   B = 2\n'
        "  got       i64[3]      axis 0 is 3\n"
        "  B = 2 comes from x f32[2, 3]"
    )


def test_a_union_says_what_is_nearest() -> None:
    @typed
    def f(x: Float[Tensor, "B 3"] | Int[Tensor, "B"] | None) -> None: ...

    name = "test_a_union_says_what_is_nearest.<locals>.f"
    assert message(lambda: f(zeros(5, 2))) == (
        f"{name}: x has the wrong shape\n"
        '  expected  Float "B 3" or Int "B" or None\n'
        "  got       f32[5, 2]   axis 1 is 2"
    )
    assert message(lambda: f(zeros(5, dtype=torch.bool))) == (
        f"{name}: x has the wrong dtype\n"
        '  expected  Float "B 3" or Int "B" or None\n'
        "  got       bool[5]   its dtype is bool\n"
        "  perhaps   x.float()"
    )
    assert message(lambda: f("a")) == (
        f"{name}: x is not a tensor\n"
        '  expected  Float "B 3" or Int "B" or None\n'
        "  got       str 'a'"
    )

    @typed
    def g(x: Int[Tensor, "B"] | Float[Tensor, "B 3"]) -> None: ...

    assert message(lambda: g(zeros(5, 2))) == (
        "test_a_union_says_what_is_nearest.<locals>.g: x has the wrong shape\n"
        '  expected  Int "B" or Float "B 3"\n'
        "  got       f32[5, 2]   axis 1 is 2"
    )


def test_a_member_of_a_union_that_does_not_fit_binds_no_name() -> None:
    @typed
    def f(
        x: Float[Tensor, "N 3"] | Float[Tensor, "M 2"],
        y: Float[Tensor, "N"],
        z: Float[Tensor, "M"],
    ) -> None: ...

    f(zeros(5, 2), zeros(4), zeros(5))
    assert message(lambda: f(zeros(5, 2), zeros(4), zeros(6))) == (
        "test_a_member_of_a_union_that_does_not_fit_binds_no_name.<locals>.f: "
        "z has the wrong shape\n"
        '  expected  Float "M"   M = 5\n'
        "  got       f32[6]      axis 0 is 6\n"
        "  M = 5 comes from x f32[5, 2]"
    )


def test_state_that_is_wrong_when_it_is_first_used() -> None:
    model = nn.Sequential(DisagreesWithItself(5, 7))
    assert message(lambda: model(zeros(2, 5)), StateError) == (
        "0 (DisagreesWithItself): shift has the wrong shape\n"
        '  declared  Float "C"   C = 5\n'
        "  got       f32[7]      axis 0 is 7\n"
        "  C = 5 comes from scale f32[5]"
    )


def test_state_that_drifts() -> None:
    model = nn.Sequential(BatchNormOfTheLecture(3))
    assert message(lambda: model(zeros(2, 5, 3)), StateError) == (
        "0 (BatchNormOfTheLecture): running_mean has the wrong shape after forward; "
        "running_var has the wrong shape after forward\n"
        "  running_mean\n"
        '    declared  Float "1 num_features"   num_features = 3\n'
        "    was       f32[1, 3]\n"
        "    became    f32[1, 5, 3]             it has 3 axes\n"
        "  running_var\n"
        '    declared  Float "1 num_features"   num_features = 3\n'
        "    was       f32[1, 3]\n"
        "    became    f32[1, 5, 3]             it has 3 axes\n"
        "  num_features = 3 comes from 0.weight f32[3]"
    )


def test_state_that_drifts_in_size_says_where_the_size_came_from() -> None:
    model = nn.Sequential(Drifts(3, lambda total: zeros(4)))
    assert message(lambda: model(zeros(2, 3)), StateError) == (
        "0 (Drifts): total has the wrong shape after forward\n"
        '  declared  Float "C"   C = 3\n'
        "  was       f32[3]\n"
        "  became    f32[4]      axis 0 is 4\n"
        "  C = 3 comes from 0.total f32[3]"
    )


def test_state_that_is_none_after_forward() -> None:
    assert message(lambda: Drifts(3, lambda total: None)(zeros(2, 3)), StateError) == (
        "Drifts: total is not a tensor after forward\n"
        '  declared  Float "C"\n'
        "  was       f32[3]\n"
        "  became    None"
    )


class Plain:
    """Is no module."""

    @typed
    def method(self, x: Float[Tensor, "B"]) -> None: ...

    @typed
    @classmethod
    def of_class(cls, x: Float[Tensor, "B"]) -> None: ...

    @typed
    @property
    def area(self) -> Float[Tensor, ""]:
        return zeros(2)


def test_a_method_of_a_plain_class() -> None:
    assert message(lambda: Plain().method(zeros(2, 3))) == (
        'Plain.method: x has the wrong shape\n  expected  Float "B"\n'
        "  got       f32[2, 3]   it has 2 axes"
    )
    assert message(lambda: Plain.of_class(zeros(2, 3))) == (
        'Plain.of_class: x has the wrong shape\n  expected  Float "B"\n'
        "  got       f32[2, 3]   it has 2 axes"
    )


def test_a_number_that_should_be_a_scalar_tensor() -> None:
    assert message(lambda: Plain().area) == (
        'Plain.area: the result has the wrong shape\n  expected  Float ""\n'
        "  got       f32[2]   it has 1 axis"
    )


def test_args_and_kwargs() -> None:
    @typed
    def join(*parts: Float[Tensor, "B"], **named: Float[Tensor, "B"]) -> None: ...

    assert message(lambda: join(zeros(2), zeros(3), first=zeros(2), last=zeros(4))) == (
        "test_args_and_kwargs.<locals>.join: parts[1] has the wrong shape; "
        "last has the wrong shape\n"
        "  parts[1]\n"
        '    expected  Float "B"   B = 2\n'
        "    got       f32[3]      axis 0 is 3\n"
        "  last\n"
        '    expected  Float "B"   B = 2\n'
        "    got       f32[4]      axis 0 is 4\n"
        "  B = 2 comes from parts[0] f32[2]"
    )


def test_keyword_only_arguments_by_their_name() -> None:
    @typed
    def f(*, x: Float[Tensor, "B"], y: Float[Tensor, "B"]) -> None: ...

    assert message(lambda: f(y=zeros(3), x=zeros(2))) == (
        "test_keyword_only_arguments_by_their_name.<locals>.f: y has the wrong shape\n"
        '  expected  Float "B"   B = 2\n'
        "  got       f32[3]      axis 0 is 3\n"
        "  B = 2 comes from x f32[2]"
    )


@pytest.mark.parametrize(
    ("dtype", "short"),
    [
        (torch.float16, "f16"),
        (torch.bfloat16, "bf16"),
        (torch.float64, "f64"),
        (torch.complex64, "c64"),
        (torch.complex128, "c128"),
        (torch.bool, "bool"),
        (torch.int8, "i8"),
        (torch.int16, "i16"),
        (torch.int32, "i32"),
        (torch.uint8, "u8"),
        (torch.float8_e4m3fn, "float8_e4m3fn"),
    ],
)
def test_dtypes_are_abbreviated(dtype: torch.dtype, short: str) -> None:
    @typed
    def f(x: Shaped[Tensor, "B"]) -> None: ...

    assert message(lambda: f(torch.empty(2, 3, dtype=dtype))) == (
        "test_dtypes_are_abbreviated.<locals>.f: x has the wrong shape\n"
        '  expected  Shaped "B"\n'
        f"  got       {short}[2, 3]   it has 2 axes"
    )


def test_a_rule_that_no_annotation_expresses() -> None:
    model = nn.Sequential(FlattenConsecutive(2))
    with pytest.raises(ShapeError) as caught:
        model(zeros(3, 7, 5))
    assert str(caught.value) == (
        "0 (FlattenConsecutive): x has the wrong shape\n"
        '  expected  Float "B T C"   T is a multiple of n = 2\n'
        "  got       f32[3, 7, 5]    axis 1 is 7\n"
        "  perhaps   torch.nn.functional.pad(x, (0, 0, 1, 0))"
    )


def test_no_rebuilding_is_suggested_where_a_name_is_no_argument_of_the_constructor() -> None:
    assert message(lambda: Drifts(3, torch.clone)(zeros(2, 4))) == (
        "Drifts: x has the wrong shape\n"
        '  expected  Float "*B C"   C = 3\n'
        "  got       f32[2, 4]      axis -1 is 4\n"
        "  C = 3 comes from total f32[3]"
    )


def test_no_rebuilding_is_suggested_where_the_size_is_not_from_the_state() -> None:
    class Adds(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()

        @typed
        def forward(self, x: Float[Tensor, "channels"], y: Float[Tensor, "channels"]) -> None: ...

    assert message(lambda: Adds(3)(zeros(3), zeros(4))) == (
        "Adds: y has the wrong shape\n"
        '  expected  Float "channels"   channels = 3\n'
        "  got       f32[4]             axis 0 is 4\n"
        "  channels = 3 comes from x f32[3]"
    )


def test_of_two_suggestions_the_cast_is_given() -> None:
    class Masked(Linear):
        def forward(self, x: Float[Tensor, "in_features"], keep: Int[Tensor, "B"]) -> None: ...

    assert message(lambda: Masked(3, 2)(zeros(5), zeros(3))).endswith("\n  perhaps   keep.long()")


def test_a_repeated_call_is_told_in_the_same_words() -> None:
    layer = Linear(3, 2)
    first = message(lambda: layer(zeros(7, 5)))
    layer(zeros(7, 3))
    assert message(lambda: layer(zeros(7, 5))) == first


def test_a_new_result_of_a_remembered_call_is_told_as_a_first_one() -> None:
    class Chooses(nn.Module):
        result: Any = None

        @typed
        def forward(self, x: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
            return self.result

    layer = Chooses()
    layer.result = zeros(4)
    first = message(lambda: layer(zeros(3)))
    layer.result = zeros(3)
    layer(zeros(3))
    layer.result = zeros(4)
    assert (
        message(lambda: layer(zeros(3)))
        == first
        == (
            "Chooses: the result has the wrong shape\n"
            '  expected  Float "B"   B = 3\n'
            "  got       f32[4]      axis 0 is 4\n"
            "  B = 3 comes from x f32[3]"
        )
    )


def test_an_error_inside_another_error_keeps_its_text() -> None:
    try:
        raise ValueError("before")
    except ValueError:
        assert message(lambda: Linear(3, 2)(None)).startswith("Linear: x is not a tensor\n")


def test_a_parameter_is_named_where_it_is_expected() -> None:
    @typed
    def tie(weight: Float[Parameter, "V C"], x: Float[Tensor, "C"]) -> None: ...

    assert message(lambda: tie(Parameter(zeros(2, 3)), zeros(2))) == (
        "test_a_parameter_is_named_where_it_is_expected.<locals>.tie: x has the wrong shape\n"
        '  expected  Float "C"   C = 3\n'
        "  got       f32[2]      axis 0 is 2\n"
        "  C = 3 comes from weight f32[2, 3]"
    )
    assert message(lambda: tie(Parameter(zeros(2)), zeros(2))) == (
        "test_a_parameter_is_named_where_it_is_expected.<locals>.tie: weight has the wrong shape\n"
        '  expected  Parameter Float "V C"\n'
        "  got       f32[2]   it has 1 axis"
    )
