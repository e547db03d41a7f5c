import copy
import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounter
from torch.export import Dim, export
from torch.func import functional_call, vmap

from typedwave import StateError
from typedwave.nn import (
    BatchNorm1d,
    Embedding,
    Flatten,
    FlattenConsecutive,
    Linear,
    Sequential,
    Tanh,
)

# B, T, C and V, distinct; T is a multiple of 4 so that the stack can fuse two positions twice.
BATCH, OTHER_BATCH, LENGTH, CHANNELS, IDS = 5, 3, 4, 6, 27


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def random_ids(*shape: int) -> Tensor:
    return torch.randint(IDS, shape, generator=torch.Generator().manual_seed(sum(shape)))


def sequences(batch: int) -> Tensor:
    return normal(batch, LENGTH, CHANNELS)


def contexts(batch: int) -> Tensor:
    return random_ids(batch, LENGTH)


def stack() -> Sequential:
    """The hierarchical network of the lecture, small."""
    return Sequential(
        Embedding(IDS, CHANNELS),
        FlattenConsecutive(2),
        Linear(2 * CHANNELS, 10, bias=False),
        BatchNorm1d(10),
        Tanh(),
        FlattenConsecutive(2),
        Linear(2 * 10, 9, bias=False),
        BatchNorm1d(9),
        Tanh(),
        Linear(9, IDS),
    )


@dataclass(frozen=True)
class Case:
    """A layer and what it takes, by batch size."""

    make: Callable[[], torch.nn.Module]
    inputs: Callable[[int], Tensor]


CASES = {
    "Linear": Case(lambda: Linear(CHANNELS, 10), sequences),
    "Embedding": Case(lambda: Embedding(IDS, CHANNELS), contexts),
    "BatchNorm1d": Case(lambda: BatchNorm1d(CHANNELS), sequences),
    "BatchNorm1d of two axes": Case(
        lambda: BatchNorm1d(CHANNELS, affine=False), lambda batch: normal(batch, CHANNELS)
    ),
    "BatchNorm1d unbiased": Case(lambda: BatchNorm1d(CHANNELS, unbiased=True), sequences),
    "Tanh": Case(Tanh, sequences),
    "Flatten": Case(Flatten, sequences),
    "FlattenConsecutive": Case(lambda: FlattenConsecutive(2), sequences),
    "FlattenConsecutive that squeezes": Case(lambda: FlattenConsecutive(LENGTH), sequences),
    "FlattenConsecutive that does not": Case(
        lambda: FlattenConsecutive(LENGTH, squeeze=False), sequences
    ),
    "Sequential": Case(lambda: Sequential(Linear(CHANNELS, 10), Tanh()), sequences),
    "stack": Case(stack, contexts),
}
case_by_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
in_either_mode = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
statically_and_dynamically = pytest.mark.parametrize("dynamic", [False, True])


@pytest.fixture(autouse=True)
def forgotten():
    """Nothing compiled before a test or left behind by it."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def uncheck(monkeypatch: pytest.MonkeyPatch, model: torch.nn.Module) -> None:
    """Puts the forward as it was written in the place of the checked one."""
    for cls in {type(module) for module in model.modules()}:
        if "forward" in vars(cls) and hasattr(cls.forward, "__wrapped__"):
            monkeypatch.setattr(cls, "forward", cls.forward.__wrapped__)


def assert_same_state(model: torch.nn.Module, other: torch.nn.Module) -> None:
    for (name, tensor), expected in zip(
        model.state_dict().items(), other.state_dict().values(), strict=True
    ):
        assert torch.equal(tensor, expected), name


# torch.compile


@statically_and_dynamically
@in_either_mode
@case_by_case
def test_compiled_it_gives_and_remembers_what_it_does_uncompiled(case, training, dynamic):
    model = case.make().train(training)
    compiled = torch.compile(copy.deepcopy(model), fullgraph=True, backend="eager", dynamic=dynamic)
    for batch in (BATCH, OTHER_BATCH if dynamic else BATCH):
        assert torch.equal(compiled(case.inputs(batch)), model(case.inputs(batch)))
    assert_same_state(compiled._orig_mod, model)


@statically_and_dynamically
def test_a_training_step_of_the_compiled_stack_is_that_of_the_uncompiled_one(dynamic):
    model = stack()
    twin = copy.deepcopy(model)
    compiled = torch.compile(twin, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for called in (model, compiled):
        called(contexts(BATCH)).square().mean().backward()
    for (name, mine), reference in zip(twin.named_parameters(), model.parameters(), strict=True):
        # AOTAutograd decomposes some kernels, so float32 sums run in another order.
        torch.testing.assert_close(mine.grad, reference.grad, rtol=1e-4, atol=1e-6, msg=name)


def graph_nodes(module: torch.fx.GraphModule) -> list[tuple[str, str, str]]:
    """Kind, target and size of each node that Dynamo recorded, inputs first and by name.

    The order of the inputs is that in which the trace met them, and a check meets them first.
    """
    found = []
    for node in module.graph.nodes:
        value = node.meta.get("example_value")
        size = str(tuple(value.shape)) if isinstance(value, Tensor) else str(value)
        target = node.target if isinstance(node.target, str) else node.target.__name__
        found.append((node.op, target, size))
    inputs = sorted(node for node in found if node[0] == "placeholder")
    return inputs + [node for node in found if node[0] != "placeholder"]


def graphs_of(case: Case, *, training: bool, dynamic: bool) -> list[list[tuple[str, str, str]]]:
    torch._dynamo.reset()
    graphs = []

    def record(module: torch.fx.GraphModule, _: list[Tensor]) -> Callable[..., object]:
        graphs.append(graph_nodes(module))
        return module.forward

    model = case.make().train(training)
    torch.compile(model, fullgraph=True, backend=record, dynamic=dynamic)(case.inputs(BATCH))
    return graphs


@statically_and_dynamically
@in_either_mode
@case_by_case
def test_the_graph_is_one_and_that_of_the_unchecked_forward(case, training, dynamic, monkeypatch):
    checked = graphs_of(case, training=training, dynamic=dynamic)
    uncheck(monkeypatch, case.make())
    unchecked = graphs_of(case, training=training, dynamic=dynamic)
    assert checked == unchecked
    assert len(checked) == 1
    assert [kind for kind, _, _ in checked[0]].count("output") == 1


def compilations(case: Case, batches: tuple[int, ...], *, dynamic: bool | None) -> int:
    torch._dynamo.reset()
    counter = CompileCounter()
    compiled = torch.compile(case.make(), fullgraph=True, backend=counter, dynamic=dynamic)
    for batch in batches:
        compiled(case.inputs(batch))
    return counter.frame_count


@case_by_case
def test_a_second_call_of_the_same_size_compiles_nothing(case):
    assert compilations(case, (BATCH, BATCH), dynamic=False) == 1


# The unbiased layer's eps depends on the batch, so that it is compiled for each size.
of_any_batch = pytest.mark.parametrize(
    "case", [pytest.param(case, id=name) for name, case in CASES.items() if "unbiased" not in name]
)


@pytest.mark.parametrize("dynamic", [None, True])
@of_any_batch
def test_sizes_are_compiled_as_often_as_for_the_unchecked_forward(case, dynamic, monkeypatch):
    checked = compilations(case, (BATCH, OTHER_BATCH), dynamic=dynamic)
    uncheck(monkeypatch, case.make())
    assert checked == compilations(case, (BATCH, OTHER_BATCH), dynamic=dynamic)
    assert checked == (1 if dynamic else 2)


# torch.export

exported_by_tracing = pytest.mark.parametrize("strict", [True, False])
ANY_BATCH = ({0: Dim("B", min=2, max=64)},)


@exported_by_tracing
@case_by_case
def test_exported_for_any_batch_it_gives_what_it_does_uncompiled(case, strict):
    model = case.make().eval()
    program = export(model, (case.inputs(BATCH),), dynamic_shapes=ANY_BATCH, strict=strict)
    for batch in (BATCH, OTHER_BATCH):
        assert torch.equal(program.module()(case.inputs(batch)), model(case.inputs(batch)))


@case_by_case
def test_the_exported_graph_is_that_of_the_unchecked_forward(case, monkeypatch):
    def exported_code() -> str:
        model = case.make().eval()
        program = export(model, (case.inputs(BATCH),), dynamic_shapes=ANY_BATCH, strict=True)
        return program.graph_module.code

    checked = exported_code()
    uncheck(monkeypatch, case.make())
    assert checked == exported_code()


@exported_by_tracing
def test_the_stack_exported_for_training_counts_its_batches_and_moves_its_statistics(strict):
    model = stack()
    program = export(
        copy.deepcopy(model), (contexts(BATCH),), dynamic_shapes=ANY_BATCH, strict=strict
    ).module()
    for batch in (BATCH, OTHER_BATCH):
        assert torch.equal(program(contexts(batch)), model(contexts(batch)))
    read = dict(program.named_buffers())
    for name, buffer in model.named_buffers():
        assert torch.equal(read[name], buffer), name


def test_the_exported_stack_is_the_same_when_it_is_read_from_a_file():
    model, file = stack().eval(), io.BytesIO()
    torch.export.save(export(model, (contexts(BATCH),), dynamic_shapes=ANY_BATCH), file)
    file.seek(0)
    read = torch.export.load(file).module()
    assert torch.equal(read(contexts(7)), model(contexts(7)))


# torch.func


def test_a_batch_that_vmap_hides_gives_what_the_batch_gives():
    x, linear = sequences(BATCH), Linear(CHANNELS, 10)
    assert torch.equal(vmap(Tanh())(x), Tanh()(x))
    assert torch.equal(vmap(Tanh(), in_dims=1, out_dims=1)(x), Tanh()(x))
    # One product of a batch may be summed in another order than the product of each element.
    torch.testing.assert_close(vmap(linear)(x), linear(x), rtol=1e-5, atol=1e-6)
    by_channel = vmap(linear, in_dims=1, out_dims=1)(x)
    torch.testing.assert_close(by_channel, linear(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["Embedding", "BatchNorm1d", "FlattenConsecutive", "FlattenConsecutive that squeezes"]
)
def test_vmap_over_a_batch_of_batches_gives_what_each_batch_gives(name):
    case = CASES[name]
    layer = case.make().eval()
    batches = torch.stack([case.inputs(3), case.inputs(3) // 2])
    expected = torch.stack([layer(batch) for batch in batches])
    assert torch.equal(vmap(layer)(batches), expected)


def test_a_linear_can_be_called_with_other_weights_and_many_at_once():
    layer, x = Linear(CHANNELS, 10), sequences(BATCH)
    others = [Linear(CHANNELS, 10) for _ in range(3)]
    for other in others:
        parameters = dict(other.named_parameters())
        assert torch.equal(functional_call(layer, parameters, (x,)), other(x))
    stacked = torch.func.stack_module_state(others)[0]
    y = vmap(lambda parameters: functional_call(layer, parameters, (x,)))(stacked)
    # As above: another order of summation.
    expected = torch.stack([other(x) for other in others])
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-6)


def test_weights_for_one_call_keep_the_contract_on_state():
    parameters = {"weight": torch.zeros(10, CHANNELS), "bias": torch.zeros(9)}
    with pytest.raises(StateError) as caught:
        functional_call(Linear(CHANNELS, 10), parameters, (sequences(BATCH),))
    assert str(caught.value) == (
        """\
Linear: bias has the wrong shape
  declared  Float "out_features" or None   out_features = 10
  got       f32[9]                         axis 0 is 9
  out_features = 10 comes from weight f32[10, 6]"""
    )


def test_the_jacobian_of_a_linear_is_its_weight():
    layer, x = Linear(CHANNELS, 10), normal(CHANNELS)
    assert torch.equal(torch.func.jacrev(layer)(x), layer.weight)


# copies


@pytest.mark.parametrize(
    "copied",
    [
        copy.copy,
        copy.deepcopy,
        lambda model: pickle.loads(pickle.dumps(model)),
        lambda model: copied_by_file(model),
    ],
    ids=["copy", "deepcopy", "pickle", "torch.save"],
)
@in_either_mode
@case_by_case
def test_a_copy_gives_the_same(case, training, copied):
    model = case.make()
    model(case.inputs(BATCH))  # so that something is remembered, of the call and by the layer
    model.train(training)
    other = copied(model)
    assert type(other) is type(model)
    assert other.training is training
    assert repr(other) == repr(model)
    assert_same_state(other, model)
    x = case.inputs(OTHER_BATCH)
    assert torch.equal(other(x), model(x))


def copied_by_file(model: torch.nn.Module) -> torch.nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def test_a_deep_copy_shares_no_state():
    model = stack()
    other = copy.deepcopy(model)
    kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    other(contexts(BATCH)).sum().backward()
    torch.nn.init.zeros_(other[-1].weight)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, kept[name])
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize(
    ("layer", "shape", "rule"),
    [
        (FlattenConsecutive(2), (3, 5, 4), "T is a multiple of n = 2"),
        (BatchNorm1d(4), (1, 4), "at least 2 values per channel to train on"),
    ],
)
def test_a_rule_of_a_body_surfaces_while_it_is_compiled(layer, shape, rule, dynamic):
    torch._dynamo.reset()
    model = torch.nn.Sequential(torch.nn.Identity(), layer)
    compiled = torch.compile(model, backend="eager", fullgraph=True, dynamic=dynamic)
    with pytest.raises(Exception, match=rule) as caught:
        compiled(torch.zeros(shape))
    assert f"ShapeError: 1 ({type(layer).__name__}): x has the wrong shape" in str(caught.value)
