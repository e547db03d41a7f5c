import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_networks import SEQUENCES, VOCABULARY, WINDOWS, WORDS, made, seeded
from torch import nn

from typedwave.lab.training.gradients import Gradients, autocast
from typedwave.lab.training.on_examples import Training
from typedwave.lab.training.on_words import WordTraining
from typedwave.lab.training.processes import ALONE
from typedwave.lab.training.recipe import Recipe, WordsRecipe
from typedwave.lab.words.corpus import examples
from typedwave.lab.words.sequences import sequences

CPU = torch.device("cpu")
WITHOUT_NORM = ["rnn", "gru", "lstm", "transformer", "wavenet with skips"]


def gradients_of(network, parts, loss_of, *, precision="float32", **options):
    parameters = list(network.parameters())
    found = Gradients(network, parameters, processes=ALONE, precision=precision)
    return found(parts, loss_of, **options)


def plain(seed: int = 1) -> nn.Sequential:
    """Any network of torch's layers without batch norm."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Embedding(7, 3), nn.Flatten(), nn.Linear(12, 7), nn.Tanh(), nn.Linear(7, 5)
        )


def some(count: int, seed: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randint(0, 7, (count, 4), generator=seeded(seed))
    return x, torch.randint(0, 5, (count,), generator=seeded(seed))


def summed(network, part):
    return F.cross_entropy(network(part[0]), part[1], reduction="sum")


@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=5),
    divisor=st.sampled_from([1.0, 3.0, 0.25]),
)
def test_of_parts_they_are_those_of_the_whole_and_the_loss_is_the_sum(sizes, divisor):
    network, (x, y) = plain(), some(sum(sizes))
    parts = list(zip(x.split(sizes), y.split(sizes), strict=True))
    total, found = gradients_of(network, parts, summed, divisor=divisor)
    whole = summed(network, (x, y))
    (whole / divisor).backward()
    assert not total.requires_grad
    torch.testing.assert_close(total, whole.detach())
    for gradient, parameter in zip(found, network.parameters(), strict=True):
        # Sums in another order.
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-4, atol=1e-6)


def test_of_one_part_they_are_those_of_autograd_to_the_bit_and_nothing_is_left():
    network, part = plain(), some(9)
    total, found = gradients_of(network, [part], summed)
    assert [parameter.grad for parameter in network.parameters()] == [None] * 5
    whole = summed(network, part)
    whole.backward()
    assert torch.equal(total, whole)
    for gradient, parameter in zip(found, network.parameters(), strict=True):
        assert torch.equal(gradient, parameter.grad)


def test_they_are_of_the_parameters_that_are_named_in_their_order():
    network, part = plain(), some(9)
    chosen = [network[4].bias, network[0].weight]
    found = Gradients(network, chosen, processes=ALONE, precision="float32")([part], summed)[1]
    expected = torch.autograd.grad(summed(network, part), chosen)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_part_that_is_empty_adds_nothing(place):
    network, part = plain(), some(9)
    parts = [part, part]
    parts.insert(place, some(0))
    total, found = gradients_of(network, parts, summed)
    expected, without = gradients_of(network, [part, part], summed)
    assert torch.equal(total, expected)
    for ours, theirs in zip(found, without, strict=True):
        assert torch.equal(ours, theirs)


# bfloat16


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_precision_is_that_of_forward_and_not_of_gradients(precision):
    network, seen = plain(), []
    network[2].register_forward_hook(lambda module, args, y: seen.append(y.dtype))
    found = gradients_of(network, [some(9)], summed, precision=precision)
    assert seen == [getattr(torch, precision)]
    assert {gradient.dtype for gradient in found[1]} == {torch.float32}
    exact, exactly = gradients_of(network, [some(9)], summed)
    torch.testing.assert_close(found[0], exact, rtol=1e-2, atol=1e-2)
    for ours, theirs in zip(found[1], exactly, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=5e-2, atol=5e-2)
    assert torch.equal(found[0], exact) == (precision == "float32")


def test_autocast_is_on_for_bfloat16_only_and_only_within():
    for precision in ("float32", "bfloat16"):
        with autocast(CPU, precision):
            assert torch.is_autocast_enabled("cpu") == (precision == "bfloat16")
            assert torch.get_autocast_dtype("cpu") == torch.bfloat16
        assert not torch.is_autocast_enabled("cpu")


# in the trainings


def data_of(network):
    return examples(WORDS, VOCABULARY, context=network.context)


def trained(recipe: Recipe, *, norm: bool = False, **options) -> tuple[nn.Module, torch.Tensor]:
    network = made(WINDOWS["hierarchical"])
    if not norm:  # affine, but of statistics that stay
        for module in network.modules():
            if hasattr(module, "running_mean"):
                module.register_forward_pre_hook(lambda module, args: module.eval() and None)
    training = Training(network, data_of(network), recipe, generator=seeded(3), **options)
    training.run(recipe.steps)
    return network, training.losses


@given(accumulate=st.integers(2, 7), momentum=st.sampled_from([0.0, 0.9]))
@settings(max_examples=8)
def test_accumulating_is_the_whole_batch_to_rounding(accumulate, momentum):
    recipe = {"steps": 20, "batch_size": 7, "momentum": momentum, "clip": 0.5}
    whole, losses = trained(Recipe(**recipe))
    parts, again = trained(Recipe(**recipe, accumulate=accumulate))
    torch.testing.assert_close(again, losses, rtol=1e-4, atol=1e-5)
    for one, other in zip(parts.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
    assert not torch.equal(again, losses)


def test_with_batch_norm_each_part_has_its_own_statistics():
    network, _ = trained(Recipe(steps=5, batch_size=8, accumulate=3), norm=True)
    assert network.layers[3].num_batches_tracked == 15
    recipe = Recipe(steps=5, batch_size=8)
    assert trained(recipe, norm=True)[0].layers[3].num_batches_tracked == 5


def trained_on_words(kind: str, recipe: WordsRecipe):
    network = made(SEQUENCES[kind])
    words = sequences(WORDS, VOCABULARY)
    training = WordTraining(network, words, recipe, generator=seeded(3))
    training.run(training.steps)
    return network, training.losses


@pytest.mark.parametrize("kind", WITHOUT_NORM)
@given(accumulate=st.integers(2, 5), batch_size=st.integers(5, 13))
@settings(max_examples=4)
def test_accumulating_over_words_is_the_whole_batch_to_rounding(kind, accumulate, batch_size):
    # The last batch may have fewer words than parts.
    recipe = {"epochs": 2, "batch_size": batch_size}
    _, losses = trained_on_words(kind, WordsRecipe(**recipe))
    _, again = trained_on_words(kind, WordsRecipe(**recipe, accumulate=accumulate))
    torch.testing.assert_close(again, losses, rtol=2e-3, atol=2e-3)  # Muon magnifies rounding


@pytest.mark.parametrize("clip", [0.0, 1e9])
def test_no_clipping_is_none(clip):
    plainly, losses = trained(Recipe(steps=9, batch_size=7, learning_rate=1.0), norm=True)
    recipe = Recipe(steps=9, batch_size=7, learning_rate=1.0, clip=clip)
    network, again = trained(recipe, norm=True)
    assert torch.equal(again, losses)
    for one, other in zip(network.parameters(), plainly.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("clip", [0.1, 0.5])
@pytest.mark.parametrize("compiled", [False, True])
def test_clipping_bounds_how_far_a_step_goes(monkeypatch, clip, compiled):
    monkeypatch.setattr(torch, "compile", lambda step, **options: step)
    network = made(WINDOWS["flat"])
    before = [parameter.detach().clone() for parameter in network.parameters()]
    recipe = Recipe(steps=1, batch_size=7, learning_rate=1.0, clip=clip, decay_from=1.0)
    training = Training(network, data_of(network), recipe, generator=seeded(3), compile=compiled)
    training.run(1)
    moved = [p.detach() - old for p, old in zip(network.parameters(), before, strict=True)]
    length = torch.cat([x.flatten() for x in moved]).norm().item()
    assert length == pytest.approx(clip, rel=1e-3)


@pytest.mark.parametrize("kind", ["wavenet", "gru", "transformer"])
def test_words_in_bfloat16_are_learnt_nearly_as_well(kind):
    recipe = WordsRecipe(epochs=20, batch_size=6, precision="bfloat16")
    network, losses = trained_on_words(kind, recipe)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert losses.dtype == torch.float32
    _, exact = trained_on_words(kind, WordsRecipe(epochs=20, batch_size=6))
    assert not torch.equal(losses, exact)
    torch.testing.assert_close(losses[:3], exact[:3], rtol=2e-2, atol=2e-2)
    assert abs(losses[-6:].mean() - exact[-6:].mean()) < 0.25


@pytest.mark.parametrize("compiled", [False, True])
def test_examples_in_bfloat16_are_learnt_nearly_as_well(monkeypatch, compiled):
    monkeypatch.setattr(torch, "compile", lambda step, **options: step)
    recipe = Recipe(steps=60, batch_size=8, precision="bfloat16", learning_rate=0.3)
    network, losses = trained(recipe, norm=True, compile=compiled)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    exact = trained(Recipe(steps=60, batch_size=8, learning_rate=0.3), norm=True)[1]
    assert not torch.equal(losses, exact)
    torch.testing.assert_close(losses[:3], exact[:3], rtol=2e-2, atol=2e-2)
    assert losses[-9:].mean() < losses[:9].mean() - 0.1
