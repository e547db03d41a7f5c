import copy
import io
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import pytest
import torch
from drifting import (
    BatchNormByData,
    BatchNormOfPlainAttributes,
    BatchNormOfTheLecture,
    DisagreesWithItself,
    DividesItsCount,
    Drifts,
    GrowsItsParameter,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float, Float32, Int64
from torch import Tensor
from torch.func import functional_call, jacrev, stack_module_state, vmap
from torch.nn import Parameter
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils import parametrizations, parametrize, prune
from torch.utils.checkpoint import checkpoint

import typedwave
from typedwave import AnnotationError, ShapeError, StateError, typed
from typedwave.contract import function as function_module
from typedwave.nn import Linear

LECTURES = [BatchNormOfTheLecture, BatchNormOfPlainAttributes, BatchNormByData]


class Affine(typedwave.Module):
    """Has a parameter, an optional one, a buffer, a number and a plain tensor."""

    weight: Float[Parameter, "out_features in_features"]
    bias: Float[Parameter, "out_features"] | None
    mask: Float[Tensor, "in_features"]
    calls: Int64[Tensor, ""]
    plain: Float[Tensor, "out_features"]

    def __init__(self, in_features: int, out_features: int, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = Parameter(torch.ones(out_features, in_features))
        self.bias = Parameter(torch.zeros(out_features)) if bias else None
        self.register_buffer("mask", torch.ones(in_features))
        self.register_buffer("calls", torch.tensor(0))
        self.plain = torch.ones(out_features)

    def forward(self, x: Float[Tensor, "*B in_features"]) -> Float[Tensor, "*B out_features"]:
        self.calls = self.calls + 1
        y = (x * self.mask) @ self.weight.T * self.plain.to(x.dtype)
        return y if self.bias is None else y + self.bias


def zeros(*shape: int) -> Tensor:
    return torch.zeros(shape)


@pytest.mark.parametrize("norm", LECTURES)
def test_the_batch_norm_of_the_lecture_is_refused_at_its_first_call_in_three_dimensions(
    norm: type[BatchNormOfTheLecture],
) -> None:
    layer = norm(5)
    for _ in range(3):
        assert layer(torch.randn(7, 5)).shape == (7, 5)
    assert layer.eval()(torch.randn(7, 3, 5)).shape == (7, 3, 5)
    with pytest.raises(StateError) as caught:
        layer.train()(torch.randn(7, 3, 5))
    assert str(caught.value) == (
        f"{norm.__name__}: running_mean has the wrong shape after forward; "
        "running_var has the wrong shape after forward\n"
        "  running_mean\n"
        '    declared  Float "1 num_features"   num_features = 5\n'
        "    was       f32[1, 5]\n"
        "    became    f32[1, 3, 5]             it has 3 axes\n"
        "  running_var\n"
        '    declared  Float "1 num_features"   num_features = 5\n'
        "    was       f32[1, 5]\n"
        "    became    f32[1, 3, 5]             it has 3 axes\n"
        "  num_features = 5 comes from weight f32[5]"
    )


@pytest.mark.parametrize("norm", LECTURES)
def test_a_state_that_has_drifted_is_refused_when_it_is_used_again(
    norm: type[BatchNormOfTheLecture],
) -> None:
    layer = norm(5)
    for _ in range(2):
        with pytest.raises(StateError):
            layer(torch.randn(7, 3, 5))
    with pytest.raises(StateError, match=r"^\w+: running_mean has the wrong shape; "):
        layer.eval()(torch.randn(7, 5))


CHANGES: dict[str, Callable[[Tensor], Any]] = {
    "another size": lambda total: zeros(4),
    "another rank": lambda total: total[None],
    "a number": lambda total: total.sum(),
    "another dtype": lambda total: total.long(),
    "None": lambda total: None,
    "another device": lambda total: total.to("meta"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("calls_before", [0, 1, 3])
def test_every_drift_is_refused_in_the_call_that_makes_it(
    change: Callable[[Tensor], Any], calls_before: int
) -> None:
    layer = Drifts(3, change, calls_before=calls_before)
    for _ in range(calls_before):
        layer(zeros(2, 3))
    with pytest.raises(StateError, match=r"^Drifts: total .* after forward\n"):
        layer(zeros(2, 3))


@pytest.mark.parametrize(
    "change", [torch.clone, lambda total: total + 1, lambda total: total.double(), Tensor.half]
)
def test_a_change_of_values_or_within_the_annotation_is_no_drift(
    change: Callable[[Tensor], Tensor],
) -> None:
    layer = Drifts(3, change)
    for _ in range(3):
        layer.calls_before = 0
        assert layer(zeros(2, 3)).shape == (2, 3)


def test_a_dtype_that_a_division_changes_is_a_drift() -> None:
    with pytest.raises(StateError) as caught:
        DividesItsCount()(zeros(3))
    assert str(caught.value) == (
        "DividesItsCount: count has the wrong dtype after forward\n"
        '  declared  Int64 ""\n'
        "  was       i64[]\n"
        "  became    f32[]   its dtype is float32"
    )


def test_a_parameter_that_grows_is_a_drift() -> None:
    with pytest.raises(StateError) as caught:
        GrowsItsParameter(3, 5)(zeros(2, 3))
    assert str(caught.value) == (
        "GrowsItsParameter: weight has the wrong shape after forward\n"
        '  declared  Float "out_features in_features"   out_features = 5\n'
        "  was       f32[5, 3]\n"
        "  became    f32[6, 3]                          axis 0 is 6\n"
        "  out_features = 5 comes from weight f32[5, 3]"
    )


def test_two_annotations_in_conflict_are_an_error_at_the_first_use() -> None:
    assert DisagreesWithItself(3, 3)(zeros(2, 3)).shape == (2, 3)
    layer = DisagreesWithItself(3, 1)
    for _ in range(2):
        with pytest.raises(StateError) as caught:
            layer(zeros(2, 3))
        assert str(caught.value) == (
            "DisagreesWithItself: shift has the wrong shape\n"
            '  declared  Float "C"   C = 3\n'
            "  got       f32[1]      axis 0 is 1\n"
            "  C = 3 comes from scale f32[3]"
        )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=4, max_size=4))
def test_state_is_accepted_exactly_if_its_sizes_agree(sizes: list[int]) -> None:
    rows, columns, bias, plain = sizes
    layer = Affine(3, 2)
    layer.weight = Parameter(torch.ones(rows, columns))
    layer.bias = Parameter(zeros(bias))
    layer.plain = zeros(plain)
    if (columns, bias, plain) == (3, rows, rows):
        assert layer(zeros(5, 3)).shape == (5, rows)
    else:
        with pytest.raises(StateError):
            layer(zeros(5, 3))


def test_names_have_the_sizes_of_the_instance_that_is_called() -> None:
    wide, narrow = Affine(5, 2), Affine(3, 2)
    for _ in range(2):
        assert wide(zeros(7, 5)).shape == narrow(zeros(7, 3)).shape == (7, 2)
        for layer, columns in ((wide, 3), (narrow, 5)):
            with pytest.raises(ShapeError):
                layer(zeros(7, columns))


def test_a_swapped_parameter_is_noticed() -> None:
    layer = Linear(3, 2)
    layer(zeros(7, 3))
    layer.weight = Parameter(zeros(2, 5))
    assert layer(zeros(7, 5)).shape == (7, 2)
    with pytest.raises(ShapeError, match="in_features = 5 comes from weight"):
        layer(zeros(7, 3))
    layer.weight = Parameter(zeros(4, 5))
    with pytest.raises(StateError, match=r"^Linear: bias has the wrong shape\n"):
        layer(zeros(7, 5))
    layer.weight.data = zeros(2, 3)
    assert layer(zeros(7, 3)).shape == (7, 2)


def test_what_is_no_tensor_is_not_state() -> None:
    layer = Affine(3, 2)
    layer.plain = 3.0  # type: ignore[assignment]  # on purpose
    with pytest.raises(StateError, match="plain is not a tensor"):
        layer(zeros(7, 3))
    layer = Affine(3, 2)
    layer.weight = None  # type: ignore[assignment]  # on purpose
    with pytest.raises(StateError, match="weight is not a tensor"):
        layer(zeros(7, 3))


def test_optional_state_may_be_none_and_come_and_go() -> None:
    layer = Affine(3, 2, bias=False)
    for bias in (None, zeros(2), None):
        layer.bias = None if bias is None else Parameter(bias)
        for _ in range(2):
            assert layer(zeros(7, 3)).shape == (7, 2)
    layer.bias = Parameter(zeros(3))
    with pytest.raises(StateError):
        layer(zeros(7, 3))


def test_each_attribute_is_checked() -> None:
    for name, wrong in [
        ("weight", Parameter(zeros(2, 3).double().bool(), requires_grad=False)),
        ("bias", Parameter(zeros(3))),
        ("mask", zeros(2)),
        ("calls", zeros()),
        ("plain", zeros(2).long()),
    ]:
        layer = Affine(3, 2)
        layer(zeros(7, 3))
        setattr(layer, name, wrong)
        with pytest.raises(StateError, match=f"{name} has the wrong"):
            layer(zeros(7, 3))


def test_annotations_are_inherited_and_the_nearest_one_counts() -> None:
    class Half(Affine):
        mask: Float[Tensor, "2 half"]  # type: ignore[assignment]  # on purpose

        def forward(self, x: Float[Tensor, "*B in_features"]) -> Float[Tensor, "*B half"]:
            return x[..., : self.mask.shape[1]]

    class Unannotated(Half):
        mask: Tensor  # type: ignore[assignment]  # on purpose

    layer = Half(6, 2)
    with pytest.raises(StateError, match="mask has the wrong shape"):
        layer(zeros(7, 6))
    layer.mask = zeros(2, 3)
    assert layer(zeros(7, 6)).shape == (7, 3)
    layer.plain = zeros(3)
    with pytest.raises(StateError, match="plain has the wrong shape"):
        layer(zeros(7, 6))
    free = Unannotated(6, 2)
    free.mask = zeros(9, 3)
    free(zeros(7, 6))
    with pytest.raises(ShapeError):
        free(zeros(7, 5))


def test_an_overriding_forward_and_the_one_it_calls_are_both_checked() -> None:
    class Doubled(Linear):
        def forward(self, x: Float[Tensor, "B C"]) -> Float[Tensor, "B 2*out_features"]:
            return super().forward(x).repeat(1, 2)

    layer = Doubled(3, 2)
    for _ in range(2):
        assert layer(zeros(7, 3)).shape == (7, 4)
        with pytest.raises(ShapeError, match="it has 3 axes"):
            layer(zeros(7, 5, 3))
        with pytest.raises(ShapeError, match="in_features = 3 comes from weight"):
            layer(zeros(7, 5))


def test_a_typed_layer_may_be_generic_and_have_several_bases() -> None:
    T = TypeVar("T")

    class Named:
        name = "x"

    class Both(Named, Affine, Generic[T]):
        """Adds nothing."""

    layer = Both[int](3, 2)
    assert layer(zeros(7, 3)).shape == (7, 2)
    with pytest.raises(ShapeError):
        layer(zeros(7, 5))


def test_methods_that_are_not_forward_are_held_to_the_state_when_they_are_typed() -> None:
    class Codec(Affine):
        @typed
        def encode(self, x: Float[Tensor, "in_features"]) -> Float[Tensor, "out_features"]:
            if x.sum() > 0:
                self.mask = zeros(9)
            return self.weight @ x

    codec = Codec(3, 2)
    for _ in range(2):
        assert codec.encode(zeros(3)).shape == (2,)
        with pytest.raises(ShapeError, match="in_features = 3 comes from weight"):
            codec.encode(zeros(5))
    with pytest.raises(StateError, match=r"^Codec: mask has the wrong shape\n"):
        codec.encode(torch.ones(3))


def test_a_method_that_is_not_forward_may_change_the_sizes_of_the_state() -> None:
    class Grows(Affine):
        @typed
        def resize(self, in_features: int) -> None:
            self.weight = Parameter(torch.ones(2, in_features))
            self.mask = torch.ones(in_features)

    grows = Grows(3, 2)
    for size in (5, 7):
        grows.resize(size)
        assert grows(zeros(4, size)).shape == (4, 2)


def test_a_parameter_that_is_built_by_the_first_call_is_state_from_then_on() -> None:
    class Lazy(typedwave.Module):
        weight: Float[Parameter, "out_features in_features"]

        def __init__(self, out_features: int) -> None:
            super().__init__()
            self.out_features = out_features
            self.weight = UninitializedParameter()

        def forward(self, x: Float[Tensor, "*B in_features"]) -> Float[Tensor, "*B out_features"]:
            if isinstance(self.weight, UninitializedParameter):
                self.weight.materialize((self.out_features, x.shape[-1]))
            return x @ self.weight.T

    layer = Lazy(2)
    for _ in range(2):
        assert layer(zeros(7, 3)).shape == (7, 2)
    with pytest.raises(ShapeError, match="in_features = 3 comes from weight"):
        layer(zeros(7, 5))
    wrong = Lazy(2)
    wrong.weight = UninitializedParameter(dtype=torch.int64, requires_grad=False)
    with pytest.raises((StateError, RuntimeError)):
        wrong(zeros(7, 3))


def test_a_buffer_may_be_assigned_later_and_is_checked_then() -> None:
    class Cached(typedwave.Module):
        cache: Float[Tensor, "T"]

        def __init__(self, wrong: bool) -> None:
            super().__init__()
            self.wrong = wrong

        def forward(self, x: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
            if not hasattr(self, "cache"):
                self.register_buffer("cache", x if self.wrong else x[0])
            return x + self.cache

    layer = Cached(False)
    assert layer(zeros(2, 3)).shape == (2, 3)
    assert layer(zeros(4, 3)).shape == (4, 3)
    with pytest.raises(ShapeError, match="T = 3 comes from cache"):
        layer(zeros(4, 5))
    with pytest.raises(StateError) as caught:
        Cached(True)(zeros(2, 3))
    assert str(caught.value) == (
        "Cached: cache has the wrong shape after forward\n"
        '  declared  Float "T"\n'
        "  was       absent\n"
        "  became    f32[2, 3]   it has 2 axes"
    )


def test_braces_in_a_state_annotation_ask_the_instance() -> None:
    # ``table`` asks for C, which has to be known by then: annotations are read in their order.
    class Table(typedwave.Module):
        one: Float[Tensor, "C"]
        table: Float[Tensor, "{self.rows} {self.rows}*C"]
        rows: int

        def __init__(self, rows: int, columns: int) -> None:
            super().__init__()
            self.rows = rows
            self.register_buffer("one", zeros(columns))
            self.table = zeros(rows, rows * columns)

        def forward(self, x: Float[Tensor, "C"]) -> Float[Tensor, "{self.rows}"]:
            return x.new_zeros(self.table.shape[0])

    layer = Table(2, 5)
    for _ in range(2):
        assert layer(zeros(5)).shape == (2,)
    layer.rows = 3
    for _ in range(2):
        with pytest.raises(StateError) as caught:
            layer(zeros(5))
        assert str(caught.value) == (
            "Table: table has the wrong shape\n"
            '  declared  Float "{self.rows} {self.rows}*C"   {self.rows} = 3, 3*C = 15\n'
            "  got       f32[2, 10]                          axis 0 is 2, axis 1 is 10\n"
            "  C = 5 comes from one f32[5]"
        )
    layer.table = zeros(3, 15)
    assert layer(zeros(5)).shape == (3,)


def test_a_value_that_only_the_state_asks_for_may_change_between_calls() -> None:
    class Table(typedwave.Module):
        table: Float[Tensor, "{self.rows}"]

        def __init__(self) -> None:
            super().__init__()
            self.rows = 3
            self.register_buffer("table", zeros(3))

        def forward(self, x: Float[Tensor, "C"]) -> Float[Tensor, "C"]:
            return x

    layer = Table()
    for _ in range(2):
        layer(zeros(5))
    layer.rows = 4
    with pytest.raises(StateError, match="table has the wrong shape"):
        layer(zeros(5))


@pytest.mark.parametrize("registered", [True, False])
def test_a_subclass_that_annotates_its_state_anew_shares_no_verdicts(registered: bool) -> None:
    class Free(typedwave.Module):
        table: Float[Tensor, "C"]

        def __init__(self) -> None:
            super().__init__()
            if registered:
                self.register_buffer("table", zeros(4))
            else:
                self.table = zeros(4)

        def forward(self, x: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
            return x

    class Fixed(Free):
        table: Float[Tensor, "3"]  # type: ignore[assignment]  # on purpose

    for _ in range(2):
        Free()(zeros(5))
        with pytest.raises(StateError, match="table has the wrong shape"):
            Fixed()(zeros(5))


def test_braces_in_a_state_annotation_may_not_ask_for_arguments() -> None:
    class Asks(typedwave.Module):
        table: Float[Tensor, "{n}"]

        def forward(self, n: int) -> None: ...

    with pytest.raises(AnnotationError) as caught:
        Asks()(3)
    assert str(caught.value) == (
        f"{Asks.__qualname__}: in the shape of an attribute, {{...}} can ask for self only"
    )


def test_parametrized_weight_normed_and_pruned_layers_work() -> None:
    class Doubles(torch.nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return 2 * weight

    def doubled(layer: Linear) -> None:
        parametrize.register_parametrization(layer, "weight", Doubles())

    for change in (
        doubled,
        parametrizations.weight_norm,
        parametrizations.spectral_norm,
        lambda layer: prune.l1_unstructured(layer, "weight", amount=0.5),
    ):
        layer = Linear(3, 2)
        change(layer)
        for _ in range(2):
            assert layer(zeros(7, 3)).shape == (7, 2)
        with pytest.raises(ShapeError, match="x is not a tensor"):
            layer(None)
    prune.remove(layer, "weight")
    with pytest.raises(ShapeError, match="in_features = 3 comes from weight"):
        layer(zeros(7, 5))


def test_state_dicts_dtypes_and_copies_are_as_for_a_plain_module() -> None:
    layer, other = Affine(3, 2), Affine(3, 2)
    layer(zeros(7, 3))
    assert list(layer.state_dict()) == ["weight", "bias", "mask", "calls"]
    other.load_state_dict(layer.state_dict())
    assert int(other.calls) == 1
    for changed in (layer.double(), layer.half(), layer.float(), copy.deepcopy(layer)):
        for _ in range(2):
            assert changed(zeros(7, 3).to(changed.weight.dtype)).shape == (7, 2)
        with pytest.raises(ShapeError):
            changed(zeros(7, 5).to(changed.weight.dtype))
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    restored = torch.load(file, weights_only=False)
    assert restored(zeros(7, 3)).shape == (7, 2)
    with pytest.raises(ShapeError):
        restored(zeros(7, 5))


def test_loading_by_assignment_is_noticed() -> None:
    layer = Affine(3, 2)
    layer(zeros(7, 3))
    before = layer.mask
    state = layer.state_dict() | {"mask": zeros(3).long()}
    with pytest.raises(StateError, match=r"^Affine: mask has the wrong dtype"):
        layer.load_state_dict(state, assign=True)
    assert layer.mask is before
    state = layer.state_dict() | {"mask": zeros(3).double()}
    layer.load_state_dict(state, assign=True)
    assert layer.mask.dtype == torch.float64
    with pytest.raises(RuntimeError, match="size mismatch for mask"):
        layer.load_state_dict(layer.state_dict() | {"mask": zeros(4)}, assign=True)


def test_a_deep_copy_has_a_state_of_its_own() -> None:
    layer = Affine(3, 2)
    copied = copy.deepcopy(layer)
    copied.weight = Parameter(zeros(2, 5))
    copied.mask = zeros(5)
    assert layer(zeros(7, 3)).shape == copied(zeros(7, 5)).shape == (7, 2)


def test_training_and_evaluation_are_both_checked() -> None:
    class DriftsInTraining(Affine):
        def forward(self, x: Float[Tensor, "*B in_features"]) -> Float[Tensor, "*B out_features"]:
            if self.training:
                self.mask = x
            return x @ self.weight.T

    layer = DriftsInTraining(3, 2).eval()
    for _ in range(2):
        assert layer(zeros(7, 3)).shape == (7, 2)
    with pytest.raises(StateError, match="mask has the wrong shape after forward"):
        layer.train()(zeros(7, 3))


def test_functional_calls_take_plain_tensors() -> None:
    layer = Linear(3, 2)
    state = {"weight": torch.ones(2, 3), "bias": zeros(2)}
    assert functional_call(layer, state, zeros(7, 3)).shape == (7, 2)
    wider = {"weight": torch.ones(2, 5), "bias": zeros(2)}
    assert functional_call(layer, wider, zeros(7, 5)).shape == (7, 2)
    with pytest.raises(ShapeError, match="in_features = 5 comes from weight"):
        functional_call(layer, wider, zeros(7, 3))
    with pytest.raises(StateError, match="bias has the wrong shape"):
        functional_call(layer, {"weight": torch.ones(4, 3)}, zeros(7, 3))
    assert layer(zeros(7, 3)).shape == (7, 2)


def test_transforms_of_functions_see_the_sizes_of_one_example() -> None:
    layers = [Linear(3, 2) for _ in range(5)]
    stacked = stack_module_state(layers)

    def one(parameters: Any, buffers: Any, x: Tensor) -> Tensor:
        return functional_call(layers[0], (parameters, buffers), x)

    outputs = vmap(one, in_dims=(0, 0, None))(*stacked, torch.ones(7, 3))
    assert torch.allclose(outputs[3], layers[3](torch.ones(7, 3)))  # summed in another order
    assert vmap(layers[0])(zeros(11, 3)).shape == (11, 2)
    assert jacrev(layers[0])(zeros(3)).shape == (2, 3)
    with pytest.raises(ShapeError):
        vmap(layers[0])(zeros(11, 5))


def test_modes_and_hooks_and_checkpointing_change_nothing() -> None:
    layer = Linear(3, 2)
    for mode in (torch.no_grad(), torch.inference_mode(), torch.autocast("cpu")):
        with mode:
            for _ in range(2):
                assert layer(zeros(7, 3)).shape == (7, 2)
            with pytest.raises(ShapeError):
                layer(zeros(7, 5))
    x = torch.ones(7, 3, requires_grad=True)
    checkpoint(layer, x, use_reentrant=False).sum().backward()
    assert x.grad is not None
    hook = layer.register_forward_pre_hook(lambda module, args: (args[0][:, :2],))
    with pytest.raises(ShapeError, match="axis -1 is 2"):
        layer(zeros(7, 3))
    hook.remove()
    with torch.device("meta"):
        assert Linear(3, 2)(torch.zeros(7, 3)).device.type == "meta"


def test_tied_weights_are_the_state_of_both() -> None:
    one, two = Linear(3, 2, bias=False), Linear(3, 2, bias=False)
    two.weight = one.weight
    one.weight.data = zeros(2, 5)
    for layer in (one, two):
        assert layer(zeros(7, 5)).shape == (7, 2)
        with pytest.raises(ShapeError):
            layer(zeros(7, 3))


def test_a_remembered_call_asks_no_judge_while_its_state_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer, asked = Affine(3, 2), []
    layer(zeros(7, 3))
    first_refused = function_module.first_refused
    monkeypatch.setattr(
        function_module, "first_refused", lambda claims: asked.append(1) or first_refused(claims)
    )
    layer(zeros(7, 3))
    Affine(3, 2)(zeros(7, 3))
    assert asked == []
    layer.plain = zeros(2).double()
    layer(zeros(7, 3))
    assert asked


def test_threads_share_a_layer() -> None:
    layer, failures = Linear(3, 2), []

    def run(rows: int) -> None:
        try:
            for i in range(30):
                assert layer(zeros(rows + i, 3)).shape == (rows + i, 2)
                with pytest.raises(ShapeError):
                    layer(zeros(rows + i, 5))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(rows,)) for rows in (2, 3, 40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.parametrize("training", [True, False])
def test_a_parametrization_is_looked_at_without_being_changed(training: bool) -> None:
    spectral_norm = torch.nn.utils.parametrizations.spectral_norm
    torch.manual_seed(0)
    plain = spectral_norm(torch.nn.Linear(30, 20))  # too large to be estimated well at once
    torch.manual_seed(0)
    layer = spectral_norm(typedwave.nn.Linear(30, 20))
    for x in (torch.randn(7, 30), torch.randn(7, 30), torch.randn(5, 30)):
        assert torch.equal(layer.train(training)(x), plain.train(training)(x))
        with pytest.raises(ShapeError) as caught:
            layer(zeros(7, 4))
        assert "in_features = 30 comes from weight f32[20, 30]" in str(caught.value)
        assert str(caught.value).endswith("perhaps   Linear(in_features=4)")
    assert all(module.training is training for module in layer.modules())
    for name, value in plain.state_dict().items():
        assert torch.equal(layer.state_dict()[name], value)


class Narrow(typedwave.Module):
    """Names the dtype of one attribute."""

    scale: Float32[Parameter, "C"]
    shift: Float[Parameter, "C"]

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.shift = Parameter(torch.ones(3)), Parameter(zeros(3))

    def forward(self, x: Float[Tensor, "B C"]) -> Float[Tensor, "B C"]:
        return x * self.scale + self.shift


@pytest.mark.parametrize(
    "convert", [lambda m: m.half(), lambda m: m.double(), lambda m: m.to(torch.bfloat16)]
)
def test_a_dtype_that_an_annotation_names_is_kept_and_nothing_is_half_converted(
    convert: Callable[[torch.nn.Module], object],
) -> None:
    model = typedwave.nn.Sequential(typedwave.nn.Linear(3, 3), Narrow())
    with pytest.raises(StateError, match=r"scale has the wrong dtype\n  declared  Float32 \"C\""):
        convert(model)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    convert(model[0])
    assert model[0].weight.dtype != torch.float32
    model.float()
    model.to("meta")
    assert model[1].scale.is_meta
    with typedwave.no_checks():
        convert(model)
    assert {p.dtype for p in model.parameters()} != {torch.float32}


def test_a_state_dict_of_another_dtype_is_copied_but_not_put_in_place() -> None:
    module = Narrow()
    doubles = {"scale": 2 * torch.ones(3).double(), "shift": torch.ones(3).double()}
    module.load_state_dict(doubles)
    assert torch.equal(module.scale, 2 * torch.ones(3))
    with pytest.raises(StateError, match=r"^Narrow: scale has the wrong dtype"):
        module.load_state_dict(doubles, assign=True)
    assert module.scale.dtype == module.shift.dtype == torch.float32
    with typedwave.no_checks():
        module.load_state_dict(doubles, assign=True)
    assert module.scale.dtype == torch.float64
