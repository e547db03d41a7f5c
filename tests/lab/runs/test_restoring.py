"""A training that is restored from a state goes on as if it had never stopped, to the bit."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from interrupting import interrupted
from tiny_networks import EVERY, VOCABULARY, WINDOWS, WORDS, made, seeded
from torch import nn

from typedwave.lab.training import on_examples as training_module
from typedwave.lab.training.counting import Counting
from typedwave.lab.training.on_examples import Training
from typedwave.lab.training.on_words import WordTraining
from typedwave.lab.training.recipe import Recipe, WordsRecipe
from typedwave.lab.words.corpus import examples
from typedwave.lab.words.sequences import Sequences, sequences
from typedwave.models import RecurrentConfig, TransformerConfig, WaveNetConfig

DROPPING = {
    "wavenet": WaveNetConfig(channels=6, gate_channels=5, dilations=(1, 2), dropout=0.3),
    "gru": RecurrentConfig(n_embd=3, n_hidden=5, num_layers=2, dropout=0.3),
    "transformer": TransformerConfig(n_embd=6, n_hidden=10, num_heads=2, num_layers=1, dropout=0.3),
}
KINDS = {**{f"{kind} with dropout": config for kind, config in DROPPING.items()}, **WINDOWS}


def on_examples(recipe: Recipe, **options) -> tuple[nn.Module, Training]:
    network = made(WINDOWS["hierarchical"])
    data = examples(WORDS, VOCABULARY, context=network.context)
    return network, Training(network, data, recipe, generator=seeded(2), **options)


def on_words(kind: str, recipe: WordsRecipe) -> tuple[nn.Module, WordTraining]:
    network, words = made(KINDS[kind]), sequences(WORDS, VOCABULARY)
    if recipe.seed == 7:  # with chances as a teacher gives them
        logits = torch.randn(*words.ids.shape, len(VOCABULARY), generator=seeded(5))
        chances = torch.softmax(logits, -1) * words.counted[..., None]
        words = Sequences(words.ids, words.targets, chances.half())
    return network, WordTraining(network, words, recipe, generator=seeded(2))


def copied(tensors) -> dict:
    return {name: tensor.clone() for name, tensor in tensors.items()}


def kept(network, training) -> tuple[dict, dict, torch.Tensor]:
    return copied(network.state_dict()), copied(training.state()), training.losses.clone()


def assert_same(one, other) -> None:
    """Two networks with their trainings: weights, losses, and all that is to come."""
    for name, tensor in one[0].state_dict().items():
        assert torch.equal(tensor, other[0].state_dict()[name]), name
    assert torch.equal(one[1].losses, other[1].losses)
    states = one[1].state(), other[1].state()
    assert states[0].keys() == states[1].keys()
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name


def restore(restored, stopped) -> None:
    """Brings a network with its training to where another one is."""
    weights, state, losses = kept(*stopped)
    restored[0].load_state_dict(weights)
    restored[1].restore(state, losses)
    assert_same(restored, stopped)  # so that it can be restored from in its turn


def at_every_step(begin, *, done_by: int) -> None:
    """Goes on from each step in a training of its own, each in another one's piece."""
    whole, stopped = begin(), begin()
    steps = whole[1].steps
    whole[1].run(steps)
    for step in range(steps + 1):
        stopped[1].run(step)
        restored = begin()
        restore(restored, stopped)
        assert restored[1].step == step
        restored[1].run(step + done_by)
        restored[1].run(steps)
        assert_same(restored, whole)


@given(
    steps=st.integers(1, 12),
    batch_size=st.integers(3, 7),
    accumulate=st.sampled_from([1, 1, 2]),
    momentum=st.sampled_from([0.0, 0.9]),
    schedule=st.sampled_from(["step", "constant", "linear", "cosine"]),
    clip=st.sampled_from([0.0, 0.5]),
    at_once=st.sampled_from([1, 10, 25, 1000]),
    done_by=st.integers(1, 5),
)
@settings(max_examples=12)
@example(8, 5, 1, 0.9, "cosine", 0.5, 10, 3)  # two batches are drawn at once
def test_a_training_on_examples_goes_on_from_every_step(
    steps, batch_size, accumulate, momentum, schedule, clip, at_once, done_by
):
    accumulate = 1 if batch_size < 6 else accumulate  # batch norm needs two values at least
    recipe = Recipe(
        steps=steps,
        batch_size=batch_size,
        accumulate=accumulate,
        momentum=momentum,
        schedule=schedule,
        clip=clip,
        warm_up=0.25,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_module, "_DRAWN_AT_ONCE", at_once)
        at_every_step(lambda: on_examples(recipe), done_by=done_by)


def test_a_compiled_training_goes_on_from_every_step(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda step, **options: step)
    recipe = Recipe(steps=6, batch_size=5, momentum=0.9, clip=0.5, schedule="linear")
    at_every_step(lambda: on_examples(recipe, compile=True), done_by=2)


@pytest.mark.parametrize("kind", KINDS)
@given(
    epochs=st.integers(1, 3),
    batch_size=st.integers(4, 13),
    accumulate=st.sampled_from([1, 2]),
    schedule=st.sampled_from(["constant", "linear", "cosine"]),
    seed=st.sampled_from([1, 7]),
    done_by=st.integers(1, 4),
)
@settings(max_examples=4)
def test_a_training_on_words_goes_on_from_every_step(
    kind, epochs, batch_size, accumulate, schedule, seed, done_by
):
    recipe = WordsRecipe(
        epochs=epochs,
        batch_size=batch_size,
        accumulate=accumulate,
        schedule=schedule,
        seed=seed,
    )
    at_every_step(lambda: on_words(kind, recipe), done_by=done_by)


def test_counting_goes_on_from_both_of_its_steps():
    def begin():
        network = made(EVERY["ngram"])
        return network, Counting(network, examples(WORDS, VOCABULARY, context=network.context))

    at_every_step(begin, done_by=1)


# after an interrupt


def assert_goes_on(begin, steps: int, *, interrupt) -> None:
    """From the state of a training that was interrupted, as one goes that was not."""
    whole, stopped, restored = (begin() for _ in range(3))
    whole[1].run(steps)
    interrupt(*stopped)
    restore(restored, stopped)
    restored[1].run(steps)
    assert_same(restored, whole)


def within(step: int):
    """Ctrl-C within the forward of a step."""

    def interrupt(network, training) -> None:
        with interrupted(network, training, step), pytest.raises(KeyboardInterrupt):
            training.run(training.steps)
        assert training.step == step

    return interrupt


def drawing(step: int, patch, *where):
    """Ctrl-C while what comes after a step is drawn."""

    def interrupt(network, training) -> None:
        training.run(step)
        with patch.context() as patched:
            patched.setattr(*where, _interrupt)
            with pytest.raises(KeyboardInterrupt):
                training.run(training.steps)

    return interrupt


EXAMPLES = Recipe(steps=7, batch_size=5, momentum=0.9)
LESSONS = WordsRecipe(epochs=2, batch_size=4)


@pytest.mark.parametrize("step", range(7))
def test_a_training_on_examples_goes_on_from_a_state_after_an_interrupt(monkeypatch, step):
    monkeypatch.setattr(training_module, "_DRAWN_AT_ONCE", 10)  # two batches at once
    assert_goes_on(lambda: on_examples(EXAMPLES), 7, interrupt=within(step))


@pytest.mark.parametrize("step", range(6))
@pytest.mark.parametrize("kind", ["gru with dropout", "flat"])
def test_a_training_on_words_goes_on_from_a_state_after_an_interrupt(kind, step):
    assert_goes_on(lambda: on_words(kind, LESSONS), 6, interrupt=within(step))


@pytest.mark.parametrize("step", [0, 2, 4, 6])
def test_an_interrupt_while_batches_are_drawn_leaves_a_state_to_go_on_from(monkeypatch, step):
    monkeypatch.setattr(training_module, "_DRAWN_AT_ONCE", 10)
    interrupt = drawing(step, monkeypatch, training_module, "rearrange")
    assert_goes_on(lambda: on_examples(EXAMPLES), 7, interrupt=interrupt)


@pytest.mark.parametrize("step", [0, 3])
def test_an_interrupt_while_an_epoch_is_drawn_leaves_a_state_to_go_on_from(monkeypatch, step):
    interrupt = drawing(step, monkeypatch, torch, "split")
    assert_goes_on(lambda: on_words("gru with dropout", LESSONS), 6, interrupt=interrupt)


def _interrupt(*arguments, **options):
    raise KeyboardInterrupt
