import logging
from itertools import pairwise
from typing import Any

import jaxtyping
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Bool, Float, Float16, Float32, Int, Int32, Int64, Shaped, UInt8
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import typedwave
from typedwave import ShapeError
from typedwave.inspect import table
from typedwave.nn import BatchNorm1d, Embedding, Linear, Sequential


def input_of(model: nn.Module, *example: Any, **keywords: Any) -> str:
    return table(model, *example, **keywords).rows[0].inputs


class Takes(nn.Module):
    """Takes anything and gives nothing."""

    def forward(self, *given: Any, **named: Any) -> None:
        return None


# what is a shape


@pytest.mark.parametrize(
    "shape", [(2, 3), [2, 3], torch.Size([2, 3]), Float[Tensor, "2 3"], Float[Tensor, "B=2 C=3"]]
)
def test_a_shape_stands_for_an_example(shape: Any) -> None:
    row = table(nn.Linear(3, 5), shape).rows[0]
    assert (row.inputs, row.output) == ("f32[2, 3]", "f32[2, 5]")


def test_shapes_may_be_inside_of_lists_tuples_and_dicts() -> None:
    hidden = ((1, 2, 5), (1, 2, 5))
    assert input_of(nn.LSTM(3, 5), (7, 2, 3), hidden) == (
        "f32[7, 2, 3], (f32[1, 2, 5], f32[1, 2, 5])"
    )
    given = [{"a": (2,), "b": "c", "d": 4}, torch.zeros(3)]
    assert input_of(Takes(), given) == "({a: f32[2], b: str 'c', d: int 4}, f32[3])"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ((), "()"),
        ((2.0, 3), "(float 2.0, int 3)"),
        ([True], "(bool True)"),
        (3, "int 3"),
        ({"a": 3}, "{a: int 3}"),
        (torch.Size([]), "f32[]"),
        ((0,), "f32[0]"),
    ],
)
def test_a_shape_is_whole_numbers_in_a_tuple_or_list(value: Any, shown: str) -> None:
    assert input_of(Takes(), value) == shown


class Resizes(nn.Module):
    """Takes a tensor, and numbers."""

    def forward(self, x: Tensor, size: tuple[int, int], *, other: Any = None) -> Tensor:
        return x.new_empty(size)


def test_numbers_that_the_annotation_takes_and_those_given_by_name_are_themselves() -> None:
    for x in ((4, 4), torch.zeros(4, 4)):
        row = table(Resizes(), x, (2, 2), other=(3, 3)).rows[0]
        assert row.inputs == "f32[4, 4], (int 2, int 2), other=(int 3, int 3)"
        assert row.output == "f32[2, 2]"


def test_a_shape_and_an_example_go_together() -> None:
    x = torch.zeros(2, 4)
    assert input_of(nn.Bilinear(3, 4, 5), (2, 3), x) == "f32[2, 3], f32[2, 4]"


def test_a_name_in_an_annotation_is_no_size() -> None:
    with pytest.raises(ValueError, match="table") as caught:
        table(Takes(), Float[Tensor, "2 T *C"])
    assert str(caught.value) == (
        'table: Float "2 T *C" is no shape of an example: write numbers in the place of T, *C'
    )


def test_a_dtype_that_torch_does_not_have_is_none() -> None:
    with pytest.raises(ValueError, match="table") as caught:
        table(Takes(), jaxtyping.Key[Tensor, "2"])
    assert str(caught.value) == (
        'table: Key "2" is no shape of an example: torch has no such dtype'
    )


@pytest.mark.parametrize("hint", [Any, object, Tensor | None, list[str], None])
def test_an_annotation_that_takes_everything_says_nothing_about_numbers(hint: Any) -> None:
    class Opaque(nn.Module):
        def forward(self, x: hint) -> None:
            return None

    assert input_of(Opaque(), (2, 3)) == "f32[2, 3]"


# its dtype


class Ids(nn.Module):
    """Takes 32-bit ids only."""

    def forward(self, x: Int32[Tensor, "B"], scale: float = 1.0) -> Float[Tensor, "B"]:
        return x * scale


class Wraps(nn.Module):
    """Says nothing of what it takes, but its first layer does."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class Either(nn.Sequential):
    """Says that it takes both, so that its first layer decides."""

    def forward(self, x: Float32[Tensor, "B"] | Int64[Tensor, "B"]) -> Any:
        return super().forward(x)


class Images(nn.Module):
    """Takes bytes."""

    def forward(self, x: UInt8[Tensor, "B"] | None) -> None:
        return None


@pytest.mark.parametrize(
    ("model", "dtype"),
    [
        (nn.Linear(3, 2), "f32"),
        (nn.Linear(3, 2).double(), "f64"),
        (nn.Sequential(nn.Flatten(0), nn.Linear(3, 2).double()), "f64"),
        (nn.BatchNorm1d(3, affine=False).double(), "f64"),
        (nn.Embedding(9, 3), "i64"),
        (nn.Sequential(nn.EmbeddingBag(9, 3)), "i64"),
        (Embedding(9, 3), "i64"),
        (nn.Sequential(nn.Sequential(nn.Embedding(9, 3)), nn.Linear(3, 2)), "i64"),
        (Wraps(nn.Embedding(9, 3), nn.Linear(3, 2)), "i64"),
        (Sequential(Embedding(9, 3), Linear(3, 2)), "i64"),
        (Sequential(nn.Embedding(9, 3)), "i64"),
        (Linear(3, 2).half(), "f16"),
        (Sequential(Linear(3, 2).half()), "f16"),
        (Ids(), "i32"),
        (Images(), "u8"),
        (Either(), "f32"),
        (Either(nn.Embedding(9, 3)), "i64"),
        (nn.Sequential(), "f32"),
        (Sequential(), "f32"),
    ],
)
def test_a_shape_has_the_dtype_that_the_model_takes(model: nn.Module, dtype: str) -> None:
    shape = (1, 3) if isinstance(model, nn.BatchNorm1d | nn.Sequential) else (3,)
    assert input_of(model, shape).startswith(f"{dtype}[")


def test_without_parameters_it_is_the_default_dtype() -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        assert input_of(nn.Identity(), (3,)) == "f64[3]"
    finally:
        torch.set_default_dtype(before)


def test_each_argument_has_the_dtype_of_its_own_annotation() -> None:
    class Two(nn.Module):
        def forward(self, x: Float[Tensor, "B"], *masks: Bool[Tensor, "B"]) -> None:
            return None

    assert input_of(Two().half(), (3,), (3,), (3,)) == "f32[B=3], bool[B=3], bool[B=3]"


def test_a_first_layer_of_one_argument_says_nothing_of_another() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ids = Ids()

        def forward(self, x: Tensor, y: Tensor) -> None:
            return None

    assert input_of(Two(), (3,), (3,)) == "i32[3], f32[3]"


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *[(name, name.lower()) for name in ("Bool", "Int8", "Int16", "Int32", "Int64")],
        *[(name, name.lower()) for name in ("UInt8", "UInt16", "UInt32", "UInt64")],
        *[(name, name.lower()) for name in ("BFloat16", "Float16", "Float32", "Float64")],
        *[(name, name.lower()) for name in ("Float8e4m3fn", "Float8e5m2")],
        *[(name, name.lower()) for name in ("Complex64", "Complex128")],
    ],
)
@pytest.mark.parametrize("given", [None, torch.float64, torch.float32])
def test_an_annotation_in_the_place_of_a_shape_has_its_dtype(
    name: str, dtype: str, given: torch.dtype | None
) -> None:
    class Tells(nn.Module):
        def forward(self, x: Tensor) -> str:
            return str(x.dtype).removeprefix("torch.").replace("8_", "8")

    hint = getattr(jaxtyping, name)[Tensor, "2"]
    assert table(Tells(), hint, dtype=given).rows[0].output == f"str {dtype!r}"


def test_the_dtype_of_shapes_may_be_given_but_that_of_an_annotation_stays() -> None:
    assert input_of(nn.Identity(), (3,), dtype=torch.bool) == "bool[3]"
    given = [(3,), Int[Tensor, "3"], Float16[Tensor, "3"], Shaped[Tensor, "3"], Float[Tensor, "3"]]
    shown = "f64[3], i64[3], f16[3], f64[3], f64[3]"
    assert input_of(Takes(), *given, dtype=torch.float64) == shown
    assert input_of(Takes(), Int32[Tensor, "2"], Int64[Tensor, "2"]) == "i32[2], i64[2]"


def test_a_dtype_beside_examples_is_an_argument_of_the_model() -> None:
    assert input_of(Takes(), torch.zeros(2), dtype=torch.bool) == "f32[2], dtype=dtype"
    with pytest.raises(TypeError, match="unexpected keyword argument 'dtype'"):
        table(nn.Linear(2, 3), torch.zeros(2), dtype=torch.bool)


# nothing is computed


class NoKernels(TorchDispatchMode):
    """Fails at the first operation that gives a tensor with data."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            assert not isinstance(leaf, Tensor) or leaf.is_meta or type(leaf) is FakeTensor, func
        return result


@given(
    widths=st.lists(st.integers(1, 9), min_size=2, max_size=5),
    batch=st.integers(0, 4),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    typed=st.booleans(),
)
def test_the_table_of_a_shape_is_the_table_of_an_example_but_nothing_is_computed(
    widths: list[int], batch: int, dtype: torch.dtype, typed: bool
) -> None:
    kinds: Any = (Linear, BatchNorm1d) if typed else (nn.Linear, nn.BatchNorm1d)
    layers = [(kinds[0](a, b), kinds[1](b), nn.Tanh()) for a, b in pairwise(widths)]
    model = nn.Sequential(*[layer for group in layers for layer in group]).to(dtype)
    with NoKernels():
        from_shape = table(model, (batch, widths[0]))
    assert from_shape == table(model, torch.zeros(batch, widths[0], dtype=dtype))


def test_a_shape_needs_no_memory() -> None:
    assert table(nn.Linear(8, 4), (10**9, 8)).rows[0].output == "f32[1000000000, 4]"


def test_a_lazy_module_makes_no_parameters_with_data() -> None:
    model = nn.Sequential(nn.LazyLinear(10**9), nn.LazyBatchNorm1d())
    with NoKernels():
        found = table(model, (2, 10**6))
    assert [row.parameters for row in found.rows] == [0, 10**15 + 10**9, 2 * 10**9]


class Constants(nn.Module):
    """Uses tensors that are not its parameters or buffers."""

    scale = torch.ones(3)

    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Embedding(9, 3)
        self.mask = torch.ones(9, 9).tril()
        self.device = torch.device("cpu")
        self.pair = (torch.ones(3), torch.ones(3))

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        time = x.shape[1]
        x = x + self.positions(torch.arange(time)) + torch.zeros(time, 1, device=self.device)
        return x * self.mask[:time, :1] * self.scale * self.pair[0] * torch.tensor(2.0).item()


def test_a_model_may_use_constants_and_devices_of_its_own() -> None:
    assert table(Constants(), (2, 5, 3)).rows[0].output == "f32[B=2, T=5, C=3]"


def test_what_is_made_from_a_shape_is_where_the_model_is() -> None:
    class Where(nn.Module):
        def __init__(self, **options: Any) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3, **options)

        def forward(self, x: Tensor) -> str:
            return str(x.device)

    assert table(Where(), (3,)).rows[0].output == "str 'cpu'"
    for shape in ((3,), Float[Tensor, "3"]):
        assert table(Where(device="meta"), shape).rows[0].output == "str 'meta'"
    model = Where()
    del model.layer
    with torch.device("meta"):
        assert table(model, (3,)).rows[0].output == "str 'meta'"


def test_an_example_beside_a_shape_is_not_written_to() -> None:
    class Writes(nn.Module):
        def forward(self, x: Tensor, y: Tensor, more: list[Tensor], *, z: Tensor) -> Tensor:
            more[0].add_(1)
            return y.add_(1) + z.add_(1)

    y = torch.zeros(3)
    assert table(Writes(), (3,), y, [y], z=y).rows[0].output == "f32[3]"
    assert not y.any()


# when the call fails

REMARK = (
    "table: a tensor made from a shape has no values, and its dtype may be wrong: "
    "give an example, or dtype="
)


class Branches(nn.Module):
    """Looks at a value."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    ("model", "where"),
    [
        (nn.Sequential(nn.Tanh(), Branches()), "1 (Branches), called on f32[2]"),
        (Wraps(nn.Flatten(0), nn.Embedding(9, 3)), "layers.1 (Embedding), called on f32[2]"),
        (nn.Linear(3, 4), "Linear, called on f32[2]"),
    ],
)
def test_an_error_without_data_says_that_there_was_none(model: nn.Module, where: str) -> None:
    with pytest.raises(RuntimeError) as caught:
        table(model, (2,))
    assert caught.value.__notes__ == [f"table: raised in {where}", REMARK]


def test_torch_does_not_print_the_error_too(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("torch._subclasses.fake_tensor")
    log.addHandler(caplog.handler)  # torch prints what comes here
    try:
        with pytest.raises(RuntimeError):
            table(nn.Linear(3, 4), (2,))
        assert caplog.records == []
        log.error("another")
        assert [record.message for record in caplog.records] == ["another"]
    finally:
        log.removeHandler(caplog.handler)


class Remembers(nn.Module):
    """Changes all kinds of attributes in its forward."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.register_buffer("total", torch.zeros(3))
        self.register_buffer("nothing", None)
        self.plain = torch.ones(3)
        self.calls = 0
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.total.add_(1)
        self.plain.add_(1)
        self.weight.add_(1)
        self.total = self.total + x
        self.nothing = x
        self.calls += 1
        self.new = x
        self.seen.append(x)
        self.weight = nn.Parameter(x)
        return x * self.plain + torch.rand(3)


@pytest.mark.parametrize("width", [2, 4])
def test_a_call_on_a_shape_leaves_the_model_as_it_was(width: int) -> None:
    model = nn.Sequential(Remembers(), BatchNorm1d(3), Linear(3, 2), Linear(width, 2)).train()
    state = {name: (id(t), t.clone()) for name, t in model.state_dict(keep_vars=True).items()}
    generator = torch.get_rng_state()
    if width == 2:
        assert table(model, (2, 3)).rows[1].output == "f32[2, 3]"
    else:
        with pytest.raises(ShapeError, match=r"^3 \(Linear\): x has the wrong shape") as caught:
            table(model, (2, 3))
        assert caught.value.__notes__ == [REMARK]
    assert torch.equal(torch.get_rng_state(), generator)
    after = model.state_dict(keep_vars=True)
    assert after.keys() == state.keys()
    for name, (number, before) in state.items():
        assert id(after[name]) == number
        assert type(after[name]) in (Tensor, nn.Parameter)
        assert torch.equal(after[name], before)
    remembers = model[0]
    assert (remembers.calls, remembers.seen, remembers.nothing) == (0, [], None)
    assert torch.equal(remembers.plain, torch.ones(3))
    assert not hasattr(remembers, "new")
    assert all(module.training for module in model.modules())
    assert not any(len(module._forward_hooks) for module in model.modules())


def test_a_typed_model_is_checked_as_ever_after_a_call_on_a_shape() -> None:
    model = typedwave.nn.Sequential(Linear(3, 2), BatchNorm1d(2))
    table(model, (2, 3))
    assert model(torch.zeros(5, 3)).shape == (5, 2)
    with pytest.raises(ShapeError):
        model(torch.zeros(5, 4))
    model(torch.ones(5, 3)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
