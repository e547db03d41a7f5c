"""Checked modules in what training does: precision, checkpoints, processes, threads, changed
parameters. They are compared with the same modules without checks, as in `test_torch`."""

import copy
import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from jaxtyping import BFloat16, Float
from test_torch import (
    BATCH,
    CASES,
    CHECKED,
    IDS,
    LENGTH,
    UNCHECKED,
    assert_equal,
    assert_in_order,
    assert_refuses,
    before_and_after_use,
    case_by_case,
    cases,
    contexts,
    network,
    normal,
    random_ids,
    twins,
)
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

import typedwave
from typedwave import ShapeError, StateError
from typedwave.nn import Linear

# Forward-mode derivatives and old functions that torch deprecates are subjects here.
pytestmark = pytest.mark.filterwarnings(r"ignore:.torch\.jit\.\w+. is deprecated")
LEARNING = [name for name in CASES if name not in ("Tanh", "FlattenConsecutive")]
learning = cases(*LEARNING)


def step(model: nn.Module, x: Tensor, call: Callable[..., Tensor] | None = None) -> Tensor:
    """The gradients are those of the squares of the result, which is returned."""
    y = (call or model)(x)
    y.float().square().sum().backward()
    return y


def assert_same_learning(one: nn.Module, other: nn.Module) -> None:
    """The same parameters, buffers and gradients."""
    assert_equal(one.state_dict(), other.state_dict())
    gradients = [{n: p.grad for n, p in m.named_parameters()} for m in (one, other)]
    assert all(gradient is not None for gradient in gradients[0].values())
    assert_equal(*gradients)


# precision


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@before_and_after_use
@learning
def test_a_step_with_autocast_is_that_of_the_unchecked_module(case, dtype, calls):
    models, dtypes = twins(case, training=True), []
    for model in models:
        for _ in range(calls):
            step(model, case.inputs(BATCH))
        told: list[torch.dtype] = []
        for module in model.modules():
            module.register_forward_hook(lambda m, args, y, told=told: told.append(y.dtype))
        for _ in range(3):
            with torch.autocast("cpu", dtype=dtype):
                y = model(case.inputs(BATCH))
                loss = y.float().square().mean()
            loss.backward()
            model(case.inputs(BATCH))
        dtypes.append((told, y.dtype))
    assert dtypes[0] == dtypes[1]
    assert_same_learning(*models)
    with torch.autocast("cpu", dtype=dtype):
        assert_refuses(case, models[0])


def test_autocast_breaks_an_annotation_that_names_a_dtype_or_keeps_it() -> None:
    class Half(typedwave.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Linear(3, 2)

        def forward(self, x: Float[Tensor, "B C"]) -> BFloat16[Tensor, "B 2"]:
            return self.inner(x)

    model = Half()
    for _ in range(2):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert model(normal(7, 3)).dtype == torch.bfloat16
        with pytest.raises(ShapeError, match=r"^Half: the result has the wrong dtype\n"):
            model(normal(7, 3))
        with (
            pytest.raises(ShapeError, match=r"^Half: the result has the wrong dtype\n"),
            torch.autocast("cpu", dtype=torch.float16),
        ):
            model(normal(7, 3))


def test_a_step_with_scaled_gradients_is_that_of_the_unchecked_module() -> None:
    models = twins(CASES["network"], training=True)
    for model in models:
        scaler, optimizer = torch.amp.GradScaler("cpu"), torch.optim.SGD(model.parameters(), 0.1)
        for batch in (BATCH, BATCH, 3):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.float16):
                loss = model(contexts(batch)).float().square().mean()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    assert_same_learning(*models)


# activation checkpoints

CHECKPOINTS: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "not reentrant": lambda model, x: checkpoint(model, x, use_reentrant=False),
    "reentrant": lambda model, x: checkpoint(model, x, use_reentrant=True),
    "of a part": lambda model, x: checkpoint(lambda x: model(x).tanh(), x, use_reentrant=False),
    "in a checkpoint": lambda model, x: checkpoint(
        lambda x: checkpoint(model, x, use_reentrant=False), x, use_reentrant=False
    ),
}


@pytest.mark.parametrize("checkpointed", CHECKPOINTS.values(), ids=CHECKPOINTS)
@before_and_after_use
@cases(*[name for name in LEARNING if CASES[name].inputs is not contexts])
def test_a_checkpointed_step_is_that_of_the_unchecked_module(case, checkpointed, calls):
    models, gradients = twins(case, training=True), []
    for model in models:
        for _ in range(calls):
            step(model, case.inputs(BATCH))
        for _ in range(2):
            x = case.inputs(BATCH).requires_grad_()
            step(model, x, lambda x, model=model: checkpointed(model, x))
        gradients.append(x.grad)
    assert_same_learning(*models)
    assert_equal(*gradients)
    with pytest.raises(ShapeError, match="x has the wrong shape"):
        checkpointed(models[0], case.wrong.clone().requires_grad_())
    assert_in_order(case, *(model.eval() for model in models))


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_network_checkpointed_layer_by_layer_learns_as_the_unchecked_one(reentrant):
    models = twins(CASES["network"], training=True)
    for model in models:
        for _ in range(2):
            x = model.layers[0](contexts(BATCH))
            y = checkpoint_sequential(list(model.layers)[1:], 2, x, use_reentrant=reentrant)
            y.square().mean().backward()
    assert_same_learning(*models)
    layers = nn.Sequential(*models[0].layers[1:])
    with pytest.raises(ShapeError, match=r"^1 \(Linear\): x has the wrong shape"):
        checkpoint(layers, normal(BATCH, LENGTH, 4).requires_grad_(), use_reentrant=reentrant)


def test_a_state_that_drifts_while_it_is_computed_again_is_refused() -> None:
    class Drifts(typedwave.Module):
        total: Float[Tensor, "C"]

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("total", torch.zeros(3))
            self.calls = 0

        def forward(self, x: Float[Tensor, "B C"]) -> Float[Tensor, "B C"]:
            self.calls += 1
            if self.calls == 4:
                self.total = self.total[None]
            return (x * x).tanh()

    model = nn.Sequential(Linear(3, 3), Drifts())
    x = normal(7, 3).requires_grad_()
    with torch.utils.checkpoint.set_checkpoint_early_stop(False):
        checkpoint(model, x, use_reentrant=False).sum().backward()
        y = checkpoint(model, x, use_reentrant=False).sum()
        with pytest.raises(StateError, match=r"^1 \(Drifts\): total has the wrong shape after"):
            y.backward()


# optimizers and conversions

OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "SGD foreach": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, foreach=True),
    "SGD loop": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, foreach=False),
    "AdamW foreach": lambda p: torch.optim.AdamW(p, 0.1, foreach=True),
    "AdamW fused": lambda p: torch.optim.AdamW(p, 0.1, fused=True),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@learning
def test_steps_of_an_optimizer_are_those_of_the_unchecked_module(case, optimizer):
    models = twins(case, training=True)
    for model in models:
        steps = optimizer(model.parameters())
        averaged = torch.optim.swa_utils.AveragedModel(model)
        for batch in (BATCH, BATCH, 3, BATCH):
            steps.zero_grad()
            step(model, case.inputs(batch))
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            steps.step()
            averaged.update_parameters(model)
        nn.utils.vector_to_parameters(
            nn.utils.parameters_to_vector(averaged.parameters()), model.parameters()
        )
        averaged(case.inputs(BATCH))
    assert_same_learning(*models)
    assert_in_order(case, *(model.eval() for model in models))


def test_gradients_that_are_sparse_or_kept_out_are_those_of_the_unchecked_layer() -> None:
    for options in ({"sparse": True}, {"padding_idx": 2}, {"max_norm": 1.0}):
        layers = [world.package.nn.Embedding(IDS, 5, **options) for world in (CHECKED, UNCHECKED)]
        layers[1].load_state_dict(layers[0].state_dict())
        for layer in layers:
            for _ in range(2):
                step(layer, contexts(BATCH))
        assert_equal(layers[0].weight.grad.to_dense(), layers[1].weight.grad.to_dense())
        assert_equal(layers[0].weight, layers[1].weight)


CONVERSIONS: dict[str, Callable[[nn.Module], Any]] = {
    "to(dtype)": lambda model: model.to(torch.float64),
    "double": nn.Module.double,
    "half": nn.Module.half,
    "bfloat16": nn.Module.bfloat16,
    "half and back": lambda model: model.half().float(),
    "share_memory": nn.Module.share_memory,
    "to another memory format": lambda model: model.to(memory_format=torch.channels_last),
    "to_empty": lambda model: model.to_empty(device="cpu").apply(zeroed),
    "requires_grad_": lambda model: model.requires_grad_(False),
    "zero_grad": nn.Module.zero_grad,
    "train and eval": lambda model: model.train().eval(),
    "set_data": lambda model: [setattr(p, "data", p.data * 2) for p in model.parameters()],
}


def zeroed(module: nn.Module) -> None:
    for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
        nn.init.zeros_(tensor)


@pytest.mark.parametrize("swapped", [False, True], ids=["data set", "tensors swapped"])
@pytest.mark.parametrize("conversion", CONVERSIONS.values(), ids=CONVERSIONS)
@before_and_after_use
@case_by_case
def test_a_conversion_is_that_of_the_unchecked_module(case, conversion, swapped, calls):
    models = twins(case)
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(swapped)
    try:
        for model in models:
            for _ in range(calls):
                with torch.no_grad():
                    model(case.inputs(BATCH))
            conversion(model)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)
    floats = [p.dtype for p in models[1].parameters()]
    x = case.inputs(BATCH)
    for _ in range(2):
        y = [m(x.to(floats[0]) if floats and x.is_floating_point() else x) for m in models]
        assert_equal(*y)
        assert y[0].requires_grad == y[1].requires_grad
    assert_equal(models[0].state_dict(), models[1].state_dict())
    if not floats or floats[0] == torch.float32:
        assert_in_order(case, *models)


@before_and_after_use
def test_a_conversion_that_breaks_an_annotation_is_refused_before_anything_changes(calls):
    case = CASES["network"]
    checked, unchecked = twins(case)
    for _ in range(calls):
        checked(case.inputs(BATCH))
    for model in (checked, nn.Sequential(checked)):
        # Of integers too, other than by double().
        with pytest.raises(StateError, match="num_batches_tracked has the wrong dtype"):
            model.type(torch.float64)
        assert_in_order(case, checked, unchecked)


# parametrized, normed and pruned layers

CHANGES: dict[str, Callable[[nn.Module], Any]] = {
    "weight_norm": lambda layer: parametrizations.weight_norm(layer),
    "spectral_norm": lambda layer: parametrizations.spectral_norm(layer),
    "orthogonal": lambda layer: parametrizations.orthogonal(layer),
    "a parametrization": lambda layer: parametrize.register_parametrization(
        layer, "weight", Doubles()
    ),
    "two parametrizations": lambda layer: [
        parametrize.register_parametrization(layer, name, Doubles()) for name in ("weight", "bias")
    ],
    "old weight_norm": lambda layer: nn.utils.weight_norm(layer),
    "old spectral_norm": lambda layer: nn.utils.spectral_norm(layer),
    "pruned": lambda layer: prune.l1_unstructured(layer, "weight", amount=0.5),
    "pruned by channels": lambda layer: prune.ln_structured(layer, "weight", 0.5, n=2, dim=0),
    "pruned twice": lambda layer: [
        prune.custom_from_mask(layer, "weight", (torch.arange(30) % 4 > 0).view(10, 3)),
        prune.l1_unstructured(layer, "weight", amount=0.5),
    ],
    "pruned for good": lambda layer: prune.remove(
        prune.l1_unstructured(layer, "bias", amount=0.5), "bias"
    ),
}
REMOVED: dict[str, Callable[[nn.Module], Any]] = {
    "weight_norm": lambda layer: parametrize.remove_parametrizations(layer, "weight"),
    "a parametrization": lambda layer: parametrize.remove_parametrizations(
        layer, "weight", leave_parametrized=False
    ),
    "old weight_norm": lambda layer: nn.utils.remove_weight_norm(layer),
    "old spectral_norm": lambda layer: nn.utils.remove_spectral_norm(layer),
    "pruned": lambda layer: prune.remove(layer, "weight"),
}
deprecated = pytest.mark.filterwarnings("ignore:.torch.nn.utils.weight_norm. is deprecated")


class Doubles(nn.Module):
    """A parametrization."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x

    def right_inverse(self, x: Tensor) -> Tensor:
        return x / 2


def changed(name: str, *, calls: int = 0) -> tuple[nn.Module, nn.Module]:
    """The changed linear layer of three and ten channels, with checks and without."""
    layers = []
    for world in (CHECKED, UNCHECKED):
        torch.manual_seed(1)  # of the vectors that spectral norm starts with
        layer = world.package.nn.Linear(3, 10)
        for _ in range(calls):
            layer(normal(7, 3))
        CHANGES[name](layer)
        layers.append(layer)
    return layers[0], layers[1]


@deprecated
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", CHANGES)
@before_and_after_use
def test_a_changed_layer_learns_as_the_unchecked_one(name, training, calls):
    layers = changed(name, calls=calls)
    for layer in layers:
        layer.train(training)
        optimizer = torch.optim.SGD(layer.parameters(), 0.1)
        for batch in (7, 7, 4):
            optimizer.zero_grad()
            step(layer, normal(batch, 3))
            optimizer.step()
        with parametrize.cached():
            step(layer, normal(7, 3))
    assert_same_learning(*layers)
    assert_equal(*(layer(normal(7, 3)) for layer in layers))
    if "old" not in name and "pruned" not in name:  # of these torch copies no used layer
        assert_equal(copy.deepcopy(layers[0])(normal(7, 3)), layers[0](normal(7, 3)))


@deprecated
@pytest.mark.parametrize("name", CHANGES)
@before_and_after_use
def test_a_changed_layer_refuses_a_wrong_input(name, calls):
    layer, _ = changed(name, calls=calls)
    for _ in range(2):
        assert layer(normal(7, 3)).shape == (7, 10)
        with pytest.raises(ShapeError) as caught:
            nn.Sequential(nn.Identity(), layer)(normal(7, 5))
        assert str(caught.value).splitlines()[:4] == [
            f"1 ({type(layer).__name__}): x has the wrong shape",
            '  expected  Float "*B in_features"   in_features = 3',
            "  got       f32[7, 5]                axis -1 is 5",
            "  in_features = 3 comes from 1.weight f32[10, 3]",
        ]


@deprecated
@pytest.mark.parametrize("name", REMOVED)
def test_a_layer_that_is_changed_back_is_checked_as_before(name):
    layers = changed(name, calls=2)
    for layer in layers:
        layer.train()(normal(7, 3))
        REMOVED[name](layer)
    assert_equal(layers[0].state_dict(), layers[1].state_dict())
    for _ in range(2):
        assert_equal(*(layer(normal(7, 3)) for layer in layers))
        with pytest.raises(ShapeError, match="in_features = 3 comes from weight"):
            layers[0](normal(7, 5))


def test_a_parametrization_that_gives_another_size_is_the_state_that_counts() -> None:
    class Widens(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x, x], 1)

    layer = Linear(3, 2)
    layer(normal(7, 3))
    parametrize.register_parametrization(layer, "weight", Widens(), unsafe=True)
    for _ in range(2):
        assert layer(normal(7, 6)).shape == (7, 2)
        with pytest.raises(ShapeError, match="in_features = 6 comes from weight"):
            layer(normal(7, 3))


# threads


def together(*runs: Callable[[], None]) -> None:
    """Runs all of them at once, each in a thread; raises what the first of them to fail raises."""
    failures: list[BaseException] = []
    start = threading.Barrier(len(runs))

    def run(one: Callable[[], None]) -> None:
        try:
            start.wait(timeout=30)
            one()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(one,), daemon=True) for one in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
    if failures:
        raise failures[0]


@pytest.mark.parametrize("shared", [True, False], ids=["one model", "a model each"])
@case_by_case
def test_threads_call_models_as_if_they_were_alone(case, shared):
    checked, unchecked = twins(case)
    expected = {batch: unchecked(case.inputs(batch)) for batch in range(1, 9)}
    model = checked if shared else copy.deepcopy(checked)

    def run(first: int) -> None:
        mine = model if shared else copy.deepcopy(checked)
        for i in range(12):
            batch = 1 + (first + i) % 8
            assert_equal(mine(case.inputs(batch)), expected[batch])
            if i % 4 == 0:
                assert_refuses(case, mine)

    together(*(lambda first=first: run(first) for first in range(8)))


def test_threads_of_parallel_apply_call_replicas() -> None:
    case = CASES["network"]
    checked, unchecked = twins(case)
    inputs = [case.inputs(batch) for batch in (3, 5, 8)]
    replicas = [copy.deepcopy(checked) for _ in inputs]
    results: dict[int, Tensor] = {}
    together(
        *(
            lambda i=i: results.update({i: replicas[i](inputs[i])})  # type: ignore[misc]
            for i in range(3)
        )
    )
    for i, x in enumerate(inputs):
        assert_equal(results[i], unchecked(x))


def test_threads_may_train_models_of_their_own() -> None:
    case = CASES["network"]
    checked, unchecked = twins(case, training=True)
    models = [copy.deepcopy(checked) for _ in range(4)]

    def train(model: nn.Module) -> None:
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for i in range(5):
            optimizer.zero_grad()
            step(model, case.inputs(3 + i))
            optimizer.step()

    together(*(lambda model=model: train(model) for model in models))
    train(unchecked)
    for model in models:
        assert_same_learning(model, unchecked)


# processes

EXAMPLES = 12


def examples() -> tuple[Tensor, Tensor]:
    return random_ids(EXAMPLES, LENGTH), random_ids(EXAMPLES)


def learn(model: nn.Module, call: nn.Module, ids: Tensor, targets: Tensor) -> Any:
    """The gradients of two steps, and the buffers after them."""
    for _ in range(2):
        nn.functional.cross_entropy(call(ids), targets).backward()
    return {name: p.grad for name, p in model.named_parameters()}, dict(model.named_buffers())


def work(rank: int, folder: str) -> None:
    """What each process does with its half of the batch, and with a wrong one."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=30),
    )
    half = [part.chunk(2)[rank] for part in examples()]
    learned, told = [], []
    for training in (False, True):  # in eval mode no example depends on the others of its batch
        for world in (CHECKED, UNCHECKED):
            model = network(world).train(training)
            parallel = nn.parallel.DistributedDataParallel(model)
            for steps in (0, 1) if world is CHECKED else ():
                if steps:
                    learn(model, parallel, *half)
                try:
                    parallel(torch.zeros(6, LENGTH + rank + 1, dtype=torch.int64))
                except ShapeError as error:
                    told.append(str(error).splitlines()[0])
            model.load_state_dict(network(world).state_dict())
            model.zero_grad()
            learned.append(learn(model, parallel, *half))  # as if nothing was refused before
    torch.save((learned, told), f"{folder}/{rank}.pt")
    dist.barrier()
    os._exit(0)  # gloo's threads abort a process in ten that takes itself down in order


def test_two_processes_learn_as_one_does_from_the_whole_batch(tmp_path: Path) -> None:
    started = mp.spawn(work, args=(str(tmp_path),), nprocs=2, join=False)
    deadline = time.monotonic() + 120
    try:
        while not started.join(timeout=5):
            assert time.monotonic() < deadline, "the processes wait for one another"
    finally:
        for process in started.processes:
            if process.is_alive():
                process.kill()
    model = network(UNCHECKED).eval()
    expected, _ = learn(model, model, *examples())
    for rank in (0, 1):
        learned, told = torch.load(tmp_path / f"{rank}.pt")
        assert_equal(learned[0], learned[1])
        assert_equal(learned[2], learned[3])
        # Halves are averaged: float32 sums in another order.
        torch.testing.assert_close(learned[0][0], expected, rtol=1e-4, atol=1e-6)
        assert told == ["module (MLP): x has the wrong shape"] * 4
