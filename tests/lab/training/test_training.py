import math
import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch._dynamo.exc import BackendCompilerFailed

from typedwave.lab.evaluation import evaluate
from typedwave.lab.training import on_examples as training_module
from typedwave.lab.training import stepped as stepped_module
from typedwave.lab.training.compiled import CompilerError, compiled_step
from typedwave.lab.training.on_examples import Training
from typedwave.lab.training.optimizers import SGD
from typedwave.lab.training.presets import PRESETS
from typedwave.lab.training.recipe import Recipe
from typedwave.lab.training.stepped import DivergedError
from typedwave.lab.words.corpus import Examples, Vocabulary, examples, split
from typedwave.models import NetworkConfig, build

WORDS = ["anna", "otto", "mimi", "lena", "emil", "nele"]
VOCABULARY = Vocabulary.of(WORDS)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_examples(context: int = 4) -> Examples:
    return examples(WORDS, VOCABULARY, context=context)


def tiny(seed: int = 1, **options) -> nn.Module:
    config = NetworkConfig(context=4, n_embd=3, n_hidden=5)
    return build(config, vocab_size=len(VOCABULARY), generator=seeded(seed), **options)


def plain(seed: int = 1) -> nn.Sequential:
    """Any network of torch's layers, without batch norm, so that no call leaves a trace."""
    network = nn.Sequential(nn.Embedding(len(VOCABULARY), 3), nn.Flatten(), nn.Linear(12, 10))
    with torch.no_grad():
        for i, parameter in enumerate(network.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=seeded(seed + i)))
    return network


def trained(network: nn.Module, recipe: Recipe, *, seed: int = 2, **options) -> Training:
    training = Training(network, some_examples(), recipe, generator=seeded(seed), **options)
    training.run(recipe.steps)
    return training


def assert_same(one: nn.Module, other: nn.Module) -> None:
    state = other.state_dict()
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, state[name]), name


class FailsAt(nn.Module):
    """Raises at the given calls; the input goes through otherwise."""

    def __init__(self, calls: set[int], error: type[BaseException]) -> None:
        super().__init__()
        self.calls = calls
        self.error = error
        self.call = -1

    def forward(self, x):
        self.call += 1
        if self.call in self.calls:
            raise self.error
        return x


class SpoilsAt(nn.Module):
    """From a call on, all logits but the boundary's are a number."""

    def __init__(self, call: int, number: float) -> None:
        super().__init__()
        self.left = call
        self.number = number

    def forward(self, x):
        self.left -= 1
        return x if self.left >= 0 else x.index_fill(1, torch.arange(1, x.shape[1]), self.number)


# what a step computes


recipes = st.builds(
    Recipe,
    steps=st.integers(1, 12),
    batch_size=st.integers(2, 9),
    learning_rate=st.sampled_from([0.0, 0.1, 0.7]),
    decay=st.sampled_from([0.1, 1.0]),
    decay_from=st.sampled_from([0.0, 0.5, 1.0]),
    momentum=st.sampled_from([0.0, 0.9]),
)


def plain_loop(config: NetworkConfig, recipe: Recipe, data: Examples, generator: torch.Generator):
    """The training written out: raw operations, `torch.optim.SGD`, a draw for each step."""
    embd, hidden, fuse = config.n_embd, config.n_hidden, config.fuse
    weights = [torch.randn((len(VOCABULARY), embd), generator=generator)]
    fan_in, norms = embd * fuse, []
    for _ in range(config.levels):
        weights.append((torch.randn((fan_in, hidden), generator=generator) / fan_in**0.5).T)
        norms.append((torch.ones(hidden), torch.zeros(hidden)))
        fan_in = hidden * fuse
    last = torch.randn((hidden, len(VOCABULARY)), generator=generator) / hidden**0.5
    weights.append((last * config.output_scale).T)
    weights = [weight.contiguous().requires_grad_() for weight in weights]
    scales = [torch.ones(hidden, requires_grad=True) for _ in norms]
    shifts = [torch.zeros(hidden, requires_grad=True) for _ in norms]
    running = [(torch.zeros(hidden), torch.ones(hidden)) for _ in norms]
    bias = torch.zeros(len(VOCABULARY), requires_grad=True)
    parameters = [*weights, *scales, *shifts, bias]
    optimizer = torch.optim.SGD(parameters, lr=1.0, momentum=recipe.momentum)
    losses = []
    for step in range(recipe.steps):
        ids = torch.randint(0, len(data.targets), (recipe.batch_size,), generator=generator)
        x = F.embedding(data.contexts[ids], weights[0])
        for weight, scale, shift, (mean, var) in zip(
            weights[1:-1], scales, shifts, running, strict=True
        ):
            x = x.reshape(x.shape[0], -1, fuse * x.shape[2])
            x = (x[:, 0] if x.shape[1] == 1 else x) @ weight.T
            flat = F.batch_norm(x.reshape(-1, hidden), mean, var, scale, shift, True, 0.1)
            x = torch.tanh(flat.reshape(x.shape))
        loss = F.cross_entropy(F.linear(x, weights[-1], bias), data.targets[ids])
        for group in optimizer.param_groups:
            decayed = step >= recipe.decay_from * recipe.steps
            group["lr"] = recipe.learning_rate * (recipe.decay if decayed else 1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, weights, running


@given(recipe=recipes, seed=st.integers(0, 2**32))
@settings(max_examples=20)
def test_losses_weights_and_statistics_are_those_of_a_plain_loop(recipe, seed):
    config = NetworkConfig(context=4, n_embd=3, n_hidden=5)
    losses, weights, running = plain_loop(config, recipe, some_examples(), seeded(seed))

    generator = seeded(seed)
    network = build(config, vocab_size=len(VOCABULARY), generator=generator)
    training = Training(network, some_examples(), recipe, generator=generator)
    training.run(recipe.steps)

    assert training.losses.tolist() == losses
    ours = [module.weight for module in network.modules() if hasattr(module, "in_features")]
    for weight, expected in zip([network.layers[0].weight, *ours], weights, strict=True):
        assert torch.equal(weight, expected)
    norms = [module for module in network.modules() if hasattr(module, "running_mean")]
    for norm, (mean, var) in zip(norms, running, strict=True):
        assert torch.equal(norm.running_mean, mean)
        assert torch.equal(norm.running_var, var)
        assert norm.num_batches_tracked == recipe.steps


def test_a_network_of_torch_alone_is_trained_too_and_learns():
    network = plain()
    before = evaluate(network, some_examples())
    training = trained(network, Recipe(steps=200, batch_size=8))
    assert evaluate(network, some_examples()) < before - 0.5
    assert training.losses.shape == (200,)


@pytest.mark.parametrize("batch_size", [40, 64])
def test_drawing_for_many_steps_at_once_gives_the_numbers_of_a_draw_for_each(batch_size):
    seen, network, data = [], plain(), some_examples()
    network.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    recipe = Recipe(steps=2003, batch_size=batch_size)  # several times what is drawn at once
    generator, plainly = seeded(5), seeded(5)
    training = Training(network, data, recipe, generator=generator)
    training.run(recipe.steps)
    assert len(seen) == recipe.steps
    for step, contexts in enumerate(seen):
        ids = torch.randint(0, len(data.targets), (batch_size,), generator=plainly)
        assert torch.equal(contexts, data.contexts[ids]), step
    assert torch.equal(generator.get_state(), plainly.get_state())


@given(at_once=st.integers(1, 20), recipe=recipes)
def test_how_many_are_drawn_at_once_makes_no_difference(at_once, recipe):
    networks = [tiny(), tiny()]
    losses = [trained(networks[0], recipe).losses]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_module, "_DRAWN_AT_ONCE", at_once)
        losses.append(trained(networks[1], recipe).losses)
    assert torch.equal(*losses)
    assert_same(*networks)


# pieces


@given(
    recipe=recipes,
    until=st.lists(st.integers(-2, 15), max_size=5),
    most_fresh=st.integers(1, 16),
)
def test_a_run_in_pieces_ends_like_a_run_in_one(recipe, until, most_fresh):
    whole, pieces = tiny(), tiny()
    losses = trained(whole, recipe).losses
    training = Training(pieces, some_examples(), recipe, generator=seeded(2))
    done = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stepped_module, "_MOST_FRESH", most_fresh)
        for piece in until:
            training.run(piece)
            done = max(done, min(piece, recipe.steps))
            assert training.step == done
            assert torch.equal(training.losses, losses[:done])
        training.run(recipe.steps)
    assert torch.equal(training.losses, losses)
    assert_same(pieces, whole)


class StopsBeforeItCounts(Training):
    """Is interrupted where a step is taken, and not yet counted."""

    at = -1

    def __init__(self, *args, **options):
        self.taken = []
        super().__init__(*args, **options)

    def _descend(self):
        self.taken.append(super()._descend())
        return self.taken[-1]

    def __setattr__(self, name, value):
        if name == "step" and value == self.at:
            self.at = -1
            raise KeyboardInterrupt
        super().__setattr__(name, value)


@given(at=st.integers(1, 10), most_fresh=st.integers(1, 11), looks=st.booleans())
def test_the_loss_of_a_step_that_was_not_counted_is_that_of_its_repetition(at, most_fresh, looks):
    recipe = Recipe(steps=10, batch_size=7)
    training = StopsBeforeItCounts(plain(), some_examples(), recipe, generator=seeded(2))
    training.at = at
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stepped_module, "_MOST_FRESH", most_fresh)
        with pytest.raises(KeyboardInterrupt):
            training.run(recipe.steps)
        assert training.step == at - 1
        if looks:
            assert training.losses.tolist() == [float(loss) for loss in training.taken[: at - 1]]
        training.run(recipe.steps)
    assert len(training.taken) == 11
    del training.taken[at - 1]
    assert training.losses.tolist() == [float(loss) for loss in training.taken]


def test_evaluating_between_two_pieces_makes_no_difference():
    recipe = Recipe(steps=10, batch_size=7, momentum=0.9)
    whole, pieces = tiny(), tiny()
    trained(whole, recipe)
    training = Training(pieces, some_examples(), recipe, generator=seeded(2))
    for until in range(1, 11):
        training.run(until)
        evaluate(pieces.eval(), some_examples())
    assert_same(pieces, whole)


@given(recipe=recipes, at=st.sets(st.integers(0, 14), max_size=4), error=st.sampled_from([0, 1]))
def test_an_interrupt_between_updates_costs_nothing_and_no_batch_is_lost(recipe, at, error):
    kind = (KeyboardInterrupt, ZeroDivisionError)[error]
    whole, stopped = plain(), plain()
    losses = trained(whole, recipe).losses
    stopped.insert(0, FailsAt(at, kind))
    training = Training(stopped, some_examples(), recipe, generator=seeded(2))
    interrupts = 0
    while training.step < recipe.steps:
        try:
            training.run(recipe.steps)
        except kind:
            assert training.step == stopped[0].call - interrupts
            interrupts += 1
            assert torch.equal(training.losses, losses[: training.step])
            evaluate_without(stopped)
    assert interrupts == len([call for call in at if call < recipe.steps + interrupts])
    assert torch.equal(training.losses, losses)
    for ours, expected in zip(stopped.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, expected)


def evaluate_without(network: nn.Sequential) -> None:
    """A network that was interrupted can be used at once."""
    assert math.isfinite(evaluate(network[1:], some_examples()))


@given(at=st.integers(0, 9))
def test_after_an_interrupt_the_weights_of_a_network_with_batch_norm_go_on_too(at):
    recipe = Recipe(steps=10, batch_size=7, momentum=0.9)
    whole, stopped = tiny(), tiny()
    losses = trained(whole, recipe).losses
    stopped.layers.append(FailsAt({at}, KeyboardInterrupt))
    training = Training(stopped, some_examples(), recipe, generator=seeded(2))
    with pytest.raises(KeyboardInterrupt):
        training.run(10)
    assert training.step == at
    training.run(10)
    assert torch.equal(training.losses, losses)
    for ours, expected in zip(stopped.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, expected)


def test_training_is_in_train_mode_whatever_mode_the_network_came_in():
    network = tiny().eval()
    training = trained(network, Recipe(steps=3, batch_size=7))
    assert network.layers[3].num_batches_tracked == 3
    network.eval()
    training.run(3)
    assert all(module.training for module in network.modules())


def test_it_leaves_the_global_generator_and_the_examples_as_they_were():
    torch.manual_seed(7)
    before, data = torch.get_rng_state(), some_examples()
    training = Training(tiny(), data, Recipe(steps=5, batch_size=3), generator=seeded(1))
    training.run(5)
    assert torch.equal(torch.get_rng_state(), before)
    for part, expected in zip(data, some_examples(), strict=True):
        assert torch.equal(part, expected)


def test_losses_need_no_gradient_and_parameters_have_none_left():
    network = tiny()
    training = trained(network, Recipe(steps=2, batch_size=3))
    assert not training.losses.requires_grad
    assert [parameter.grad for parameter in network.parameters()] == [None] * 9
    assert all(parameter.requires_grad for parameter in network.parameters())


# a loss that is no number


@given(at=st.integers(0, 11), piece=st.integers(1, 12), kind=st.sampled_from(["nan", "inf"]))
def test_a_loss_that_is_not_finite_is_named_with_its_step_and_rate(at, piece, kind):
    # Where the right id has no chance at all, the loss is infinite.
    network = plain().append(SpoilsAt(at, -math.inf if kind == "inf" else math.nan))
    recipe = Recipe(steps=12, batch_size=5, learning_rate=0.25, decay_from=0.5)
    training = Training(network, some_examples(), recipe, generator=seeded(2))
    training.run(at // piece * piece)  # the pieces before the one that diverges
    with pytest.raises(DivergedError) as caught:
        training.run((at // piece + 1) * piece)
    rate = "0.25" if at < 6 else "0.025"
    assert str(caught.value) == (
        f"the loss of step {at} is {kind}, with learning rate {rate}; "
        "a smaller one may keep it finite"
    )
    assert training.losses[:at].isfinite().all()
    assert at < training.step <= min(12, (at // piece + 1) * piece)


@given(at=st.integers(0, 5))
def test_a_weight_that_is_not_finite_is_found_after_a_finite_loss(at):
    network = plain()
    recipe = Recipe(steps=6, batch_size=5, learning_rate=0.25)
    training = Training(network, some_examples(), recipe, generator=seeded(2))
    training.run(at)
    # The gradient of a finite loss that is not finite itself, as an overflow gives it.
    network[2].bias.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(DivergedError) as caught:
        training.run(at + 1)
    rate = "0.25" if at < 5 else "0.025"
    assert str(caught.value) == (
        f"a weight is not finite after step {at}, with learning rate {rate}; "
        "a smaller one may keep it finite"
    )
    assert training.losses.isfinite().all()
    assert training.step == at + 1


# the compiled step


def both(recipe: Recipe, config: NetworkConfig) -> None:
    """Trains eagerly and compiled and compares what came out."""
    states, losses = [], []
    for compile in (False, True):  # noqa: A001  # as it is called in torch
        generator = seeded(1)
        network = build(config, vocab_size=len(VOCABULARY), generator=generator)
        data = some_examples(config.context)
        training = Training(network, data, recipe, generator=generator, compile=compile)
        training.run(recipe.steps // 2)
        evaluate(network, data)  # the mode changes in between
        training.run(recipe.steps)
        assert training.step == recipe.steps
        assert not training.losses.requires_grad
        assert all(parameter.requires_grad for parameter in network.parameters())
        states.append(network.state_dict())
        losses.append(training.losses)
    # Rounding of float32, which 50 steps carry on, with momentum ten times as far.
    tolerance = 1e-5 if recipe.momentum == 0 else 2e-4
    torch.testing.assert_close(losses[1], losses[0], rtol=tolerance, atol=tolerance)
    for name, tensor in states[0].items():
        torch.testing.assert_close(states[1][name], tensor, rtol=tolerance, atol=tolerance)
        if "num_batches_tracked" in name:
            assert states[1][name] == recipe.steps


@pytest.mark.compiler
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # from the modules of the compiler
def test_a_compiled_step_is_the_eager_one_to_rounding():
    both(Recipe(steps=50, batch_size=7), NetworkConfig(context=4, n_embd=3, n_hidden=5))


@pytest.mark.compiler
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # from the modules of the compiler
def test_a_compiled_step_with_momentum_is_the_eager_one_to_rounding():
    config = NetworkConfig(network="flat", context=3, n_embd=3, n_hidden=5, unbiased=True)
    both(Recipe(steps=50, batch_size=7, momentum=0.9), config)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("unbiased", [False, True])
def test_the_step_that_is_compiled_is_the_eager_one_also_before_it_is(
    monkeypatch, momentum, unbiased
):
    monkeypatch.setattr(torch, "compile", lambda step, **options: step)
    config = NetworkConfig(context=4, n_embd=3, n_hidden=5, unbiased=unbiased)
    both(Recipe(steps=50, batch_size=7, momentum=momentum), config)


def test_it_is_compiled_as_one_graph(monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "compile", lambda step, **options: asked.append(options) or step)
    trained(tiny(), Recipe(steps=3, batch_size=3), compile=True)
    trained(tiny(), Recipe(steps=3, batch_size=3), compile=False)
    assert [options["fullgraph"] for options in asked] == [True]


def test_the_rate_of_each_step_reaches_the_graph(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda step, **options: step)
    network = plain()
    step = compiled_step(network, SGD(network.parameters(), momentum=0.0))
    contexts, targets = some_examples()
    before = [parameter.clone() for parameter in network.parameters()]
    step(contexts, targets, 0.0)
    for parameter, old in zip(network.parameters(), before, strict=True):
        assert torch.equal(parameter, old)
    step(contexts, targets, 0.5)
    for parameter, old in zip(network.parameters(), before, strict=True):
        assert not torch.equal(parameter, old)


def test_a_failure_to_compile_is_one_clear_sentence(monkeypatch):
    def failing(step, **options):
        def call(*arguments):
            raise BackendCompilerFailed("inductor", RuntimeError("no g++\nand much more"), None)

        return call

    monkeypatch.setattr(torch, "compile", failing)
    training = Training(
        tiny(), some_examples(), Recipe(steps=3, batch_size=3), generator=seeded(1), compile=True
    )
    with pytest.raises(CompilerError) as caught:
        training.run(3)
    assert str(caught.value) == (
        "torch.compile cannot compile the step here (RuntimeError: no g++); it needs a C++ "
        "compiler, and without one the step runs uncompiled"
    )
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert training.step == 0


WITHOUT_A_COMPILER = """
import torch
from typedwave.lab.words.corpus import Vocabulary, examples
from typedwave.lab.training.optimizers import SGD
from typedwave.lab.training.compiled import CompilerError, compiled_step
from torch import nn
network = nn.Sequential(nn.Embedding(3, 2), nn.Flatten(), nn.Linear(4, 3))
before = [parameter.clone() for parameter in network.parameters()]
step = compiled_step(network, SGD(network.parameters(), momentum=0.0))
try:
    step(torch.zeros(5, 2, dtype=torch.int64), torch.zeros(5, dtype=torch.int64), 0.1)
except CompilerError as error:
    print(error)
for parameter, old in zip(network.parameters(), before, strict=True):
    assert torch.equal(parameter, old)
"""


@pytest.mark.compiler
def test_without_a_compiler_the_first_step_says_so_and_changes_nothing(tmp_path):
    environment = os.environ | {
        "CXX": "/nonexistent/g++",
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path),
        "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_A_COMPILER],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == (
        "torch.compile cannot compile the step here (InvalidCxxCompiler: No working C++ compiler "
        "found in torch._inductor.config.cpp.cxx: (None, '/nonexistent/g++')); it needs a C++ "
        "compiler, and without one the step runs uncompiled\n"
    )


# the lecture


def test_the_first_300_steps_are_those_of_the_lecture_written_plainly(lecture_names):
    config, recipe = PRESETS["lecture"]
    vocabulary = Vocabulary.of(lecture_names)
    data = examples(split(lecture_names).train, vocabulary, context=8)
    assert (len(vocabulary), len(data.targets)) == (27, 182_625)

    generator = seeded(42)
    network = build(config, vocab_size=27, generator=generator)
    training = Training(network, data, recipe, generator=generator)
    training.run(300)
    assert round(training.losses[0].item(), 4) == 3.3167

    g = seeded(42)
    table = torch.randn((27, 24), generator=g)
    weights = [torch.randn((i, 128), generator=g) / i**0.5 for i in (48, 256, 256)]
    out = torch.randn((128, 27), generator=g) / 128**0.5 * 0.1
    scales, shifts = [torch.ones(128) for _ in weights], [torch.zeros(128) for _ in weights]
    bias = torch.zeros(27)
    parameters = [table, *weights, out, bias, *scales, *shifts]
    for parameter in parameters:
        parameter.requires_grad_()
    for step in range(300):
        ids = torch.randint(0, len(data.targets), (32,), generator=g)
        x = table[data.contexts[ids]]
        for weight, scale, shift in zip(weights, scales, shifts, strict=True):
            x = torch.cat([x[:, ::2], x[:, 1::2]], dim=2) @ weight
            mean, var = x.mean((0, 1), keepdim=True), x.var((0, 1), keepdim=True)  # n - 1
            x = torch.tanh(scale * (x - mean) / torch.sqrt(var + 1e-5) + shift)
        loss = F.cross_entropy(x.squeeze(1) @ out + bias, data.targets[ids])
        loss.backward()
        with torch.no_grad():
            for parameter in parameters:
                parameter -= 0.1 * parameter.grad
                parameter.grad = None
        # Other kernels than ours; rounding grows along the way, to 1e-5 at most.
        assert abs(loss.item() - training.losses[step].item()) < 1e-4, step
