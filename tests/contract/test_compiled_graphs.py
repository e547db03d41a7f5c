"""Graphs of checked modules, by every tracer of torch: those of the same modules without checks."""

import copy
import functools
import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.fx
from functorch.compile import make_boxed_func
from jaxtyping import Float
from test_torch import (
    BATCH,
    CALLS,
    CASES,
    CHANNELS,
    CHECKED,
    LENGTH,
    UNCHECKED,
    World,
    assert_equal,
    assert_in_order,
    assert_refuses,
    before_and_after_use,
    case_by_case,
    cases,
    normal,
    twins,
    user_module,
)
from torch import Tensor, nn
from torch._dynamo.backends.common import aot_autograd
from torch._dynamo.testing import CompileCounter
from torch.export import Dim, export
from torch.func import functional_call, grad, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils import parametrizations, prune

import typedwave
from typedwave import ShapeError

# torch.jit.trace is one of the subjects, and torch's own forward-mode derivatives are scripted.
pytestmark = [
    pytest.mark.usefixtures("fresh_dynamo"),
    pytest.mark.filterwarnings(r"ignore:.torch\.jit\.\w+. is deprecated"),
]
statically_and_dynamically = pytest.mark.parametrize("dynamic", [False, True])
in_either_mode = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])


# torch.compile


class Graphs:
    """A backend that keeps what it is given, and the forward and backward graphs made of it."""

    def __init__(self) -> None:
        self.traced: list[torch.fx.GraphModule] = []
        self.differentiated: list[torch.fx.GraphModule] = []

    def __call__(self, module: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        self.traced.append(module)
        compiled: Callable[..., Any] = aot_autograd(fw_compiler=self.keep, bw_compiler=self.keep)(
            module, inputs
        )
        return compiled

    def keep(self, module: torch.fx.GraphModule, _: list[Any]) -> Any:
        self.differentiated.append(module)
        return make_boxed_func(module.forward)

    def code(self) -> list[str]:
        """The printed graphs, as they are."""
        return [module.code for module in (*self.traced, *self.differentiated)]

    def computed(self) -> list[list[Any]]:
        """What the graphs compute, whatever the order of their inputs and the names of values."""
        inputs = [node.name for node in self.traced[-1].graph.find_nodes(op="placeholder")]
        return [nodes_of(module, inputs) for module in (self.traced[-1], *self.differentiated)]


def nodes_of(module: torch.fx.GraphModule, inputs: list[str]) -> list[Any]:
    """Kind, target, arguments and size of each node; inputs by name, other values by number."""
    names: dict[torch.fx.Node, str] = {}
    taken, computed = [], []
    for node in module.graph.nodes:
        value = node.meta.get("example_value", node.meta.get("val"))
        size = str((value.dtype, value.shape)) if isinstance(value, Tensor) else str(value)
        if node.op == "placeholder":
            primal = re.fullmatch(r"primals_(\d+)", node.name)
            names[node] = inputs[int(primal[1]) - 1] if primal else node.name
            taken.append((names[node], size))
            continue
        if node.target is torch.ops.aten.sym_size.int:  # in whatever order sizes were asked for
            names[node] = f"size {node.args[1]} of {names[node.args[0]]}"
            continue
        names[node] = f"%{len(computed)}"
        args = torch.fx.map_arg((node.args, node.kwargs), names.__getitem__)
        if node.op == "output":
            args = args[0][0]
            if any("tangents" in name for name, _ in taken):  # gradients, in the order of inputs
                args = sorted(zip(inputs, args, strict=True))
        computed.append((node.op, str(node.target), args, size))
    return sorted(taken) + computed


def in_place(model: nn.Module, **options: Any) -> nn.Module:
    """The model compiled by its own method."""
    model.compile(**options)
    return model


def graphs_of(
    model: nn.Module, x: Tensor, *, compiled: Callable[..., Any] = torch.compile, **options: Any
) -> Graphs:
    """The graphs of a step."""
    torch._dynamo.reset()
    graphs = Graphs()
    y = compiled(model, backend=graphs, **{"fullgraph": True, **options})(x)
    if y.requires_grad:
        y.square().sum().backward()
    return graphs


@pytest.mark.parametrize(
    ("compiled", "training"), [(torch.compile, True), (torch.compile, False), (in_place, True)]
)
@case_by_case
def test_the_graphs_of_a_step_compute_what_the_unchecked_module_computes(case, training, compiled):
    models = twins(case, training=training)
    graphs = [graphs_of(model, case.inputs(BATCH), compiled=compiled) for model in models]
    assert graphs[0].computed() == graphs[1].computed()
    assert len(graphs[0].traced) == 1
    assert len(graphs[0].differentiated) == (2 if list(models[0].parameters()) else 1)
    assert_equal(*({n: p.grad for n, p in m.named_parameters()} for m in models))
    assert_equal(models[0].state_dict(), models[1].state_dict())


@cases(*[name for name in CASES if name != "network"])
def test_the_graphs_of_a_step_of_any_size_compute_what_the_unchecked_module_computes(case):
    models = twins(case, training=True)
    graphs = [graphs_of(model, case.inputs(BATCH), dynamic=True) for model in models]
    assert graphs[0].computed() == graphs[1].computed()


def test_the_graphs_of_a_network_of_any_batch_compute_what_the_unchecked_network_computes() -> None:
    graphs = []
    for model in twins(CASES["network"], training=True):
        x = CASES["network"].inputs(BATCH)
        torch._dynamo.mark_dynamic(x, 0)
        graphs.append(graphs_of(model, x))
    assert graphs[0].computed() == graphs[1].computed()
    assert "s" in str(graphs[0].computed()[0][-2][-1])


@cases(
    fail=tuple(n for n in CASES if n not in ("FlattenConsecutive", "Sequential", "Tanh")),
    reason="x is met first, before the parameters",
)
def test_the_printed_graphs_are_those_of_the_unchecked_module(case):
    graphs = [graphs_of(model, case.inputs(BATCH)) for model in twins(case)]
    assert graphs[0].code() == graphs[1].code()


def hook(model: nn.Module) -> None:
    """Hooks that replace what comes in and what goes out."""

    def adds_one(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        x, *others = args
        return (x + 1 if x.is_floating_point() else x, *others)

    for module in model.modules():
        module.register_forward_pre_hook(adds_one)
        module.register_forward_hook(lambda module, args, y: 2 * y)


@case_by_case
def test_a_hooked_child_has_the_graphs_of_the_unchecked_one(case):
    models, graphs = twins(case), []
    for model in models:
        hook(model)
        graphs.append(graphs_of(nn.Sequential(nn.Identity(), model), case.inputs(BATCH)))
    assert graphs[0].computed() == graphs[1].computed()
    assert "mul" in str(graphs[0].computed())
    # Torch compiles the hooks of the outermost module for themselves, unless it is ours.
    with torch.no_grad():
        calls = [torch.compile(model, backend="eager") for model in models]
        assert_equal(*(call(case.inputs(BATCH)) for call in calls))


@pytest.mark.parametrize("passed", CALLS.values(), ids=CALLS)
def test_however_arguments_are_passed_the_graphs_are_those_of_the_unchecked_module(passed):
    graphs, results = [], []
    for world in (CHECKED, UNCHECKED):
        torch._dynamo.reset()
        torch.manual_seed(1)
        kept, model = Graphs(), user_module(world)(CHANNELS).eval()

        def call(x: Tensor, model: nn.Module = model) -> Any:
            return passed(model, x)

        results.append(torch.compile(call, backend=kept, fullgraph=True)(normal(2, CHANNELS)))
        graphs.append(kept.computed())
        if world is CHECKED:
            with pytest.raises(Exception, match="ShapeError: Gate: x has the wrong shape"):
                torch.compile(call, backend="eager", fullgraph=True)(normal(2, 7))
    assert_equal(*results)
    assert graphs[0] == graphs[1]


@pytest.mark.parametrize(("compiled", "calls"), [(torch.compile, 0), (in_place, 3)])
@case_by_case
def test_a_compiled_child_is_checked_and_gives_what_the_unchecked_one_gives(case, compiled, calls):
    models, results = twins(case), []
    for model in models:
        for _ in range(calls):
            model(case.inputs(BATCH))
        parent = nn.Sequential(nn.Identity(), compiled(model, backend="eager", fullgraph=True))
        results.append([parent(case.inputs(batch)) for batch in (BATCH, BATCH, 3)])
        if model is models[0]:
            with pytest.raises(Exception, match=r"ShapeError: 1[. ].*: x (has the|is|holds)"):
                parent(case.wrong)
        results[-1].append(parent(case.inputs(BATCH)))
    assert_equal(*results)
    assert_equal(models[0].state_dict(), models[1].state_dict())


@before_and_after_use
@case_by_case
def test_a_copy_of_a_module_compiled_in_place_is_checked(case, calls):
    checked, unchecked = twins(case)
    checked.compile(backend="eager")
    for _ in range(calls):
        checked(case.inputs(BATCH))
    assert_in_order(case, copy.deepcopy(checked), unchecked)
    assert_equal(checked(case.inputs(BATCH)), unchecked(case.inputs(BATCH)))


def test_a_drift_of_state_is_told_by_a_module_compiled_in_place() -> None:
    class Sums(typedwave.Module):
        total: Float[Tensor, "C"]

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("total", torch.zeros(3))

        def forward(self, x: Float[Tensor, "B C"], *, wrong: bool = False) -> Float[Tensor, "B C"]:
            self.total = self.total + (x if wrong else x.sum(0))
            return x

    for compiled in (torch.compile, in_place):
        torch._dynamo.reset()
        model = Sums()
        call = compiled(model, backend="aot_eager", fullgraph=True)
        for _ in range(2):
            call(torch.ones(2, 3))
        assert_equal(model.total, torch.full((3,), 4.0))
        with pytest.raises(Exception, match="StateError: Sums: total has the wrong shape after"):
            call(torch.ones(2, 3), wrong=True)


# how often


def frames(world: World, make: Callable[[World], nn.Module], history: Any) -> tuple[int, int]:
    """How many frames are compiled in a history of a model, and how many operations are in them."""
    torch._dynamo.reset()
    counter = CompileCounter()
    model = make(world)

    def compiled(function: Any, **options: Any) -> Any:
        return torch.compile(function, backend=counter, **options)

    history(model, compiled)
    return counter.frame_count, counter.op_count


def call_with(*batches: int, **options: Any) -> Callable[..., None]:
    def history(model: nn.Module, compiled: Any) -> None:
        call = compiled(model.eval(), fullgraph=True, **options)
        for batch in batches:
            call(normal(batch, LENGTH, CHANNELS))

    return history


def between(*changes: Callable[[nn.Module], Any], training: bool = False) -> Callable[..., None]:
    """Calls twice, and again after each change."""

    def history(model: nn.Module, compiled: Any) -> None:
        call = compiled(nn.Sequential(nn.Identity(), model.train(training)), fullgraph=True)
        for change in (lambda model: None, *changes):
            change(model)
            for _ in range(2):
                call(normal(BATCH, LENGTH, CHANNELS))

    return history


def ten_instances(model: nn.Module, compiled: Any) -> None:
    """As blocks of a network are compiled one by one, more of them than Dynamo compiles anew."""
    for _ in range(10):
        compiled(copy.deepcopy(model), fullgraph=True)(normal(BATCH, LENGTH, CHANNELS))


def ten_in_a_parent(model: nn.Module, compiled: Any) -> None:
    parent = nn.Sequential(*[copy.deepcopy(model) for _ in range(10)])
    for _ in range(2):
        for child in parent:
            compiled(child, fullgraph=True)(normal(BATCH, LENGTH, CHANNELS))


def in_two_modes(model: nn.Module, compiled: Any) -> None:
    call = compiled(model, fullgraph=True)
    for mode in (torch.no_grad, torch.enable_grad, torch.inference_mode, torch.no_grad):
        with mode():
            call(normal(BATCH, LENGTH, CHANNELS))


def with_calls_between(model: nn.Module, compiled: Any) -> None:
    call = compiled(model, fullgraph=True)
    for batch in (BATCH, 3, BATCH):
        model(normal(batch, LENGTH, CHANNELS))
        call(normal(BATCH, LENGTH, CHANNELS))


def step(model: nn.Module) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)


HISTORIES: dict[str, Callable[..., None]] = {
    "some batches": call_with(5, 3, 8, 5, 1, 2),
    "some batches, dynamic": call_with(5, 3, 8, 5, dynamic=True),
    "some batches, static": call_with(5, 3, 8, 5, dynamic=False),
    "modes of a module": between(nn.Module.eval, nn.Module.train, nn.Module.eval, training=True),
    "steps": between(step, step, training=True),
    "loaded": between(lambda model: model.load_state_dict(model.state_dict())),
    "loaded by assignment": between(
        lambda model: model.load_state_dict(copy.deepcopy(model.state_dict()), assign=True)
    ),
    "frozen": between(lambda model: model.requires_grad_(False)),
    "hooked": between(hook, hook),
    "an attribute": between(lambda model: setattr(model, "mark", 1)),
    "modes of autograd": in_two_modes,
    "calls between": with_calls_between,
    "ten instances": ten_instances,
    "ten children": ten_in_a_parent,
}


@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)
@pytest.mark.parametrize(
    "make",
    [
        lambda world: world.package.nn.Linear(CHANNELS, CHANNELS),
        lambda world: user_module(world)(CHANNELS),
    ],
    ids=["Linear", "a user's module"],
)
def test_as_often_as_the_unchecked_module_is_it_compiled(make, history):
    assert frames(CHECKED, make, history) == frames(UNCHECKED, make, history)


@statically_and_dynamically
def test_a_network_is_compiled_as_often_as_the_unchecked_one(dynamic):
    def history(model: nn.Module, compiled: Any) -> None:
        call = compiled(model.eval(), fullgraph=True, dynamic=dynamic)
        for batch in (5, 3, 5):
            call(CASES["network"].inputs(batch))

    network = CASES["network"].make
    checked = frames(CHECKED, network, history)
    assert checked == frames(UNCHECKED, network, history)
    assert checked[0] == (1 if dynamic else 2)


class Breaks(nn.Module):
    """Has layers before, after and around what Dynamo cannot trace."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.first = world.package.nn.Linear(CHANNELS, CHANNELS)
        self.second = user_module(world)(CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        torch._dynamo.graph_break()
        return self.second(x)


def test_a_model_of_several_graphs_has_those_of_the_unchecked_one() -> None:
    torch.manual_seed(1)
    graphs, results = [], []
    for world in (CHECKED, UNCHECKED):
        torch._dynamo.reset()
        torch.manual_seed(1)
        kept, model = Graphs(), Breaks(world).eval()
        call = torch.no_grad()(torch.compile(model, backend=kept))
        results.append(call(normal(BATCH, LENGTH, CHANNELS)))
        graphs.append([nodes_of(module, []) for module in kept.traced])
        if world is CHECKED:
            with pytest.raises(Exception, match=r"ShapeError: first \(Linear\): x has the wrong"):
                call(normal(BATCH, LENGTH, 7))
            assert_equal(call(normal(BATCH, LENGTH, CHANNELS)), results[0])
    assert_equal(*results)
    assert len(graphs[0]) == 2
    assert graphs[0] == graphs[1]


class Stops(nn.Module):
    """Asks for a value, so that Dynamo ends a graph in its forward."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x if x.sum().item() < 100 else x.mT


def typed_and_stopping(world: World) -> nn.Module:
    class StopsItself(world.Module):  # type: ignore[misc, name-defined]  # one of two
        def forward(self, x: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3"]:
            return Stops.forward(self, x + 1)

    return StopsItself()


def typed_around_stopping(world: World) -> nn.Module:
    class Holds(world.Module):  # type: ignore[misc, name-defined]  # one of two
        def __init__(self) -> None:
            super().__init__()
            self.inner = Stops()

        def forward(self, x: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3"]:
            return self.inner(x + 1)

    return Holds()


@pytest.mark.parametrize("make", [typed_and_stopping, typed_around_stopping])
@pytest.mark.parametrize("parent", [lambda model: model, nn.Sequential])
def test_a_forward_that_ends_a_graph_is_checked_and_gives_what_it_does_unchecked(make, parent):
    checked, unchecked = (
        torch.compile(parent(make(world)), backend="eager") for world in (CHECKED, UNCHECKED)
    )
    for batch in (2, 2, 5):
        assert_equal(checked(torch.ones(batch, 3)), unchecked(torch.ones(batch, 3)))
    with pytest.raises(Exception, match="x has the wrong shape"):
        checked(torch.ones(2, 4))
    assert_equal(checked(torch.ones(2, 3)), unchecked(torch.ones(2, 3)))


TRANSFORMED: dict[str, Callable[[nn.Module, Tensor], Any]] = {
    "gradients of each example": lambda model, x: vmap(
        grad(lambda p, x: functional_call(model, p, (x,)).square().sum()), (None, 0)
    )({name: p.detach() for name, p in model.named_parameters()}, x),
    "vmap": lambda model, x: vmap(lambda x: model(x))(x),
    "jacobian": lambda model, x: torch.func.jacrev(model)(x[0, 0]),
    "autocast": lambda model, x: torch.autocast("cpu", dtype=torch.bfloat16)(lambda: model(x))(),
    "checkpoint": lambda model, x: torch.utils.checkpoint.checkpoint(model, x, use_reentrant=False),
}


@pytest.mark.parametrize("transformed", TRANSFORMED.values(), ids=TRANSFORMED)
@cases("Linear", "a user's module", "a decorated forward")
def test_a_compiled_transform_has_the_graphs_of_the_unchecked_module(case, transformed):
    graphs, results = [], []
    for model in twins(case):
        torch._dynamo.reset()
        kept = Graphs()

        def call(x: Tensor, model: nn.Module = model) -> Any:
            return transformed(model, x)

        results.append(torch.compile(call, backend=kept, fullgraph=True)(case.inputs(BATCH)))
        graphs.append(kept.computed())
        if len(graphs) == 1:
            with pytest.raises(Exception, match=r"ShapeError: .*: x has the wrong shape"):
                torch.compile(call, backend="eager", fullgraph=True)(case.wrong)
    assert_equal(*results)
    assert graphs[0] == graphs[1]


@pytest.mark.parametrize(
    "change",
    [
        parametrizations.weight_norm,
        parametrizations.orthogonal,
        lambda layer: prune.l1_unstructured(layer, "weight", amount=0.5),
    ],
    ids=["weight_norm", "orthogonal", "pruned"],
)
def test_a_compiled_layer_that_was_changed_has_the_graphs_of_the_unchecked_one(change):
    models, graphs = twins(CASES["Linear"]), []
    for model in models:
        torch.manual_seed(1)
        change(model)
        parent = nn.Sequential(nn.Identity(), model)
        graphs.append(graphs_of(parent, CASES["Linear"].inputs(BATCH)).computed())
    assert graphs[0] == graphs[1]
    with pytest.raises(Exception, match=r"ShapeError: \w*Linear: x has the wrong shape"):
        torch.compile(models[0], backend="eager")(CASES["Linear"].wrong)


@pytest.mark.compiler
def test_what_inductor_makes_of_a_user_module_is_that_of_the_unchecked_one() -> None:
    case, results = CASES["a user's module"], []
    for model in twins(case, training=True):
        torch._dynamo.reset()
        y = torch.compile(model, fullgraph=True)(case.inputs(BATCH))
        y.square().sum().backward()
        results.append((y, {name: p.grad for name, p in model.named_parameters()}))
    assert_equal(*results)


# torch.export

ANY_BATCH = ({0: Dim("B", min=2, max=64)},)


def exported(model: nn.Module, x: Tensor, *, strict: bool) -> torch.export.ExportedProgram:
    return export(model, (x,), dynamic_shapes=ANY_BATCH, strict=strict)


def told(program: torch.export.ExportedProgram) -> list[Any]:
    """Everything that a program says of itself but the lines of source that it came from."""
    return [program.graph_module.code, str(program.graph_signature), str(program.range_constraints)]


@pytest.mark.parametrize("strict", [True, False])
@in_either_mode
@case_by_case
def test_an_exported_program_is_that_of_the_unchecked_module(case, training, strict):
    models = twins(case, training=training)
    for model in models if training else ():  # so that something is remembered in one mode
        model(case.inputs(BATCH))
        model(case.inputs(BATCH))
    programs = [exported(model, case.inputs(BATCH), strict=strict) for model in models]
    assert told(programs[0]) == told(programs[1])
    assert_equal(models[0].state_dict(), models[1].state_dict())
    module = programs[0].module()
    for batch in (BATCH, 3):
        assert_equal(module(case.inputs(batch)), models[1](case.inputs(batch)))
    assert_in_order(case, *(model.eval() for model in twins(case)))


@pytest.mark.parametrize("strict", [True, False])
@case_by_case
def test_a_module_that_refuses_its_input_is_not_exported(case, strict, request):
    if strict and case.where[0] == "1":
        request.applymarker(pytest.mark.xfail(reason="the path is lost"))
    with pytest.raises(Exception, match=re.escape(case.where)):
        exported(case.make(CHECKED), case.wrong, strict=strict)


# make_fx

symbolically = functools.partial(make_fx, tracing_mode="symbolic", _allow_non_fake_inputs=True)


@pytest.mark.parametrize("mode", ["real", "fake"])
@before_and_after_use
@case_by_case
def test_make_fx_makes_the_graph_of_the_unchecked_module(case, mode, calls):
    graphs = []
    for model in twins(case):
        for _ in range(calls):
            model(case.inputs(BATCH))
        make = make_fx(model, tracing_mode=mode, _allow_non_fake_inputs=True)
        graphs.append(make(case.inputs(BATCH)).code)
        if len(graphs) == 1:
            with pytest.raises(ShapeError, match=re.escape(case.where)):
                make(case.wrong)
    assert graphs[0] == graphs[1]
    assert_in_order(case, *twins(case))


@cases(
    fail=("Linear", "BatchNorm1d", "network", "a decorated forward"),
    reason="a size that has to be a number becomes one when it is compared with that",
)
def test_make_fx_makes_the_symbolic_graph_and_guards_of_the_unchecked_module(case):
    graphs, guards = [], []
    for model in twins(case):
        made = symbolically(model)(case.inputs(BATCH))
        graphs.append(nodes_of(made, []))
        guards.append([str(guard.expr) for guard in made.shape_env.guards])
    assert graphs[0] == graphs[1]
    assert guards[0] == guards[1]


@before_and_after_use
@case_by_case
def test_a_symbolic_graph_of_make_fx_holds_for_any_batch(case, calls):
    checked, unchecked = twins(case)
    for _ in range(calls):
        checked(case.inputs(BATCH))
    made = symbolically(checked)(case.inputs(BATCH))
    assert_equal(made(case.inputs(3)), unchecked(case.inputs(3)))
    batch = made.graph.find_nodes(op="placeholder")[0].meta["val"].shape[0]
    assert isinstance(batch, torch.SymInt)
    assert batch.node.expr.free_symbols  # and it did not become a number
    assert_refuses(case, symbolically(checked))
    assert_in_order(case, checked, unchecked)


# torch.jit and torch.fx


def traced(model: nn.Module, x: Tensor) -> tuple[Any, list[str], list[str]]:
    """The module traced by torch.jit, what its graph computes, and of which sizes it warns."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", torch.jit.TracerWarning)
        module = torch.jit.trace(model, x)
    told = [str(w.message) for w in caught if w.category is torch.jit.TracerWarning]
    return module, computed(str(module.inlined_graph)), told


def computed(graph: str) -> list[str]:
    """The lines of a graph of torch.jit, parameters by their paths and other values by number.

    They have the names of variables in whatever frame was looked at; what follows a # is a line
    of the source.
    """
    names: dict[str, str] = {}
    lines = []
    for line in re.sub(r"\.___torch_mangle_\d+| #.*", "", graph).splitlines():
        read = re.match(r' *(%\S+) : .* = prim::GetAttr\[name="(\w+)"\]\((%\S+)\)', line)
        if read:
            names[read[1]] = f"{names[read[3]]}.{read[2]}"
        else:
            named = lambda m: names.setdefault(m[0], f"%{len(names)}")  # noqa: E731
            lines.append(re.sub(r"%[\w.]+", named, line))
    return lines


@before_and_after_use
@case_by_case
def test_jit_traces_the_graph_of_the_unchecked_module(case, calls):
    checked, unchecked = twins(case)
    for _ in range(calls):
        checked(case.inputs(BATCH))
    module, graph, _ = traced(checked, case.inputs(BATCH))
    _, expected, _ = traced(unchecked, case.inputs(BATCH))
    assert graph == expected
    assert_equal(module(case.inputs(3)), unchecked(case.inputs(3)))
    assert_in_order(case, checked, unchecked)


@before_and_after_use
@case_by_case
def test_jit_traces_no_module_that_refuses_its_input(case, calls):
    checked = case.make(CHECKED).eval()
    for _ in range(calls):
        checked(case.inputs(BATCH))
    assert_refuses(case, lambda x: traced(checked, x))


@before_and_after_use
@case_by_case
def test_jit_warns_of_the_sizes_that_it_warns_of_in_the_unchecked_module(case, calls):
    checked, unchecked = twins(case)
    for _ in range(calls):
        checked(case.inputs(BATCH))
    assert traced(checked, case.inputs(BATCH))[2] == traced(unchecked, case.inputs(BATCH))[2]


def outcome(call: Callable[[], Any]) -> Any:
    """What a call gives, or the error that it raises, in words."""
    try:
        return call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@before_and_after_use
@case_by_case
def test_fx_traces_the_graph_of_the_unchecked_module(case, calls):
    checked, unchecked = twins(case)
    for _ in range(calls):
        checked(case.inputs(BATCH))
    # Some cannot be traced, checked or not: they branch on a size.
    graphs = [outcome(lambda m=m: torch.fx.symbolic_trace(m).code) for m in (checked, unchecked)]
    assert graphs[0] == graphs[1]
    if "TraceError" not in graphs[0]:
        x = {"shift": torch.zeros(6)} if case is CASES["a decorated forward"] else {}
        y = torch.fx.symbolic_trace(checked)(case.inputs(3), **x)
        assert_equal(y, unchecked(case.inputs(3), **x))
    assert_in_order(case, checked, unchecked)


class LeavesOurs(torch.fx.Tracer):
    """Takes a layer of ours as it takes a layer of torch: whole."""

    def is_leaf_module(self, m: nn.Module, name: str) -> bool:
        ours = type(m).__module__.startswith("typedwave.nn") and not isinstance(m, nn.Sequential)
        return ours or super().is_leaf_module(m, name)


@pytest.mark.parametrize("tracer", [torch.fx.Tracer, LeavesOurs])
def test_fx_finds_the_same_leaves_in_typed_modules_as_in_unchecked_ones(tracer):
    def mixed(world: World) -> nn.Module:
        layers = world.package.nn
        return layers.Sequential(
            layers.Linear(CHANNELS, 10), nn.Linear(10, 10), nn.Sequential(nn.Tanh(), layers.Tanh())
        )

    checked, unchecked = mixed(CHECKED), mixed(UNCHECKED)
    for model in (checked, unchecked):
        model(normal(3, CHANNELS))
    graphs = [tracer().trace(model) for model in (checked, unchecked)]
    assert str(graphs[0]) == str(graphs[1])
    leaves = [node.target for node in graphs[0].nodes if node.op == "call_module"]
    assert leaves == (["1", "2.0"] if tracer is torch.fx.Tracer else ["0", "1", "2.0", "2.1"])
    whole = torch.fx.GraphModule(checked, graphs[0])
    assert_equal(whole(normal(3, CHANNELS)), checked(normal(3, CHANNELS)))
    if tracer is LeavesOurs:
        with pytest.raises(ShapeError, match=r"^0 \(Linear\): x has the wrong shape\n"):
            whole(normal(3, 7))


def test_fx_can_fix_an_argument() -> None:
    traced = [
        torch.fx.symbolic_trace(user_module(world)(6).eval(), concrete_args={"scale": None}).code
        for world in (CHECKED, UNCHECKED)
    ]
    assert traced[0] == traced[1]
