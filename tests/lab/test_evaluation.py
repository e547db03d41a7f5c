import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_networks import EVERY, SEQUENCES, VOCABULARY, WINDOWS, WORDS, made, seeded
from torch import nn

from typedwave.lab import evaluation as evaluation_module
from typedwave.lab.evaluation import evaluate, evaluating
from typedwave.lab.words.corpus import Examples, examples
from typedwave.lab.words.sequences import IGNORED, Sequences, sequences
from typedwave.models import NetworkConfig, Windowed, build, sequence_model, to_dilated


def tiny(seed: int = 1) -> nn.Module:
    config = NetworkConfig(context=4, n_embd=3, n_hidden=5)
    network = build(config, vocab_size=7, generator=seeded(seed))
    network(torch.randint(7, (9, 4), generator=seeded(seed)))  # statistics that are no start
    return network


def drawn(count: int, seed: int = 3) -> Examples:
    ids = torch.randint(7, (count, 5), generator=seeded(seed))
    return Examples(ids[:, :4], ids[:, 4])


class Logits(nn.Module):
    """The given logits for every example; notes what it sees."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = logits
        self.seen = []

    def forward(self, x):
        self.seen.append((len(x), self.training, torch.is_grad_enabled()))
        return self.logits.expand(len(x), -1)


@given(count=st.integers(1, 40), at_once=st.integers(1, 50), seed=st.integers(0, 2**32))
def test_it_is_the_mean_cross_entropy_in_whatever_chunks(count, at_once, seed):
    network, data = tiny(seed), drawn(count, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation_module, "_AT_ONCE", at_once)
        loss = evaluate(network, data)
    with torch.no_grad():
        expected = F.cross_entropy(network.eval()(data.contexts), data.targets).item()
    assert loss == pytest.approx(expected, rel=1e-5)  # sums of float32 in another order


@given(count=st.integers(1, 40), at_once=st.integers(1, 50))
def test_every_example_is_seen_once_and_no_chunk_is_larger_than_allowed(count, at_once):
    network = Logits(torch.zeros(7))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation_module, "_AT_ONCE", at_once)
        evaluate(network, drawn(count))
    sizes = [size for size, _, _ in network.seen]
    assert sum(sizes) == count
    assert sizes == [at_once] * (count // at_once) + [count % at_once] * (count % at_once > 0)
    assert {modes[1:] for modes in network.seen} == {(False, False)}


def test_more_than_one_chunk_of_the_real_size_is_averaged_by_examples():
    logits = torch.tensor([0.0, 1.0, 2.0, 0.0, -1.0, 0.5, 3.0])
    data = drawn(16_384 + 5)
    network = Logits(logits)
    expected = F.cross_entropy(logits.double().expand(len(data.targets), -1), data.targets)
    assert evaluate(network, data) == pytest.approx(expected.item(), rel=1e-6)
    assert [size for size, _, _ in network.seen] == [16_384, 5]


@given(count=st.integers(1, 9), ids=st.integers(2, 30))
def test_a_network_that_knows_nothing_loses_the_logarithm_of_the_alphabet(count, ids):
    data = Examples(torch.zeros(count, 4, dtype=torch.int64), torch.arange(count) % ids)
    assert evaluate(Logits(torch.zeros(ids)), data) == pytest.approx(math.log(ids), rel=1e-6)


def test_there_is_no_mean_of_no_examples():
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        evaluate(tiny(), drawn(0))
    assert str(caught.value) == "there is no example to evaluate on"


# what it leaves behind


class Fails(nn.Module):
    def forward(self, x):
        raise ZeroDivisionError


@given(modes=st.lists(st.booleans(), min_size=12, max_size=12), fails=st.booleans())
def test_every_module_has_its_own_mode_again_and_the_state_is_untouched(modes, fails):
    network = nn.Sequential(tiny(), Fails()) if fails else tiny()
    modules = list(network.modules())
    for module, mode in zip(modules, modes, strict=False):
        module.training = mode
    before = [module.training for module in modules]
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    if fails:
        with pytest.raises(ZeroDivisionError):
            evaluate(network, drawn(5))
    else:
        evaluate(network, drawn(5))
    assert [module.training for module in modules] == before
    assert torch.is_grad_enabled()
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    assert [parameter.grad for parameter in network.parameters()] == [None] * 9


def test_the_global_generator_and_the_examples_stay():
    torch.manual_seed(3)
    before, data = torch.get_rng_state(), drawn(9)
    evaluate(tiny(), data)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(data.contexts, drawn(9).contexts)
    assert torch.equal(data.targets, drawn(9).targets)


def test_a_loss_that_is_no_number_is_given_as_it_is():
    assert math.isnan(evaluate(Logits(torch.full((7,), math.nan)), drawn(3)))


def test_evaluating_is_eval_mode_without_gradients_for_as_long_as_it_lasts():
    network = tiny()
    with evaluating(network):
        assert not any(module.training for module in network.modules())
        assert not torch.is_grad_enabled()
    assert all(module.training for module in network.modules())
    assert torch.is_grad_enabled()


# whole words


@pytest.mark.parametrize("kind", WINDOWS)
@given(words=st.lists(st.text("abcdefgio", max_size=9), min_size=1, max_size=9), seed=st.integers())
@settings(max_examples=15)
def test_sequences_and_examples_of_the_same_words_give_the_same_loss(kind, words, seed):
    network = made(WINDOWS[kind], seed=seed % 2**32)
    by_examples = evaluate(network, examples(words, VOCABULARY, context=network.context))
    whole = sequences(words, VOCABULARY)
    assert evaluate(Windowed(network), whole) == pytest.approx(by_examples, rel=1e-5)
    for fold in (False, True):
        dilated = to_dilated(network, fold_batch_norm=fold)
        assert evaluate(dilated, whole) == pytest.approx(by_examples, rel=1e-5)


def test_the_loss_of_n_grams_on_words_is_that_on_their_examples():
    network = made(EVERY["ngram"])
    by_examples = evaluate(network, examples(WORDS, VOCABULARY, context=network.context))
    whole = sequences(WORDS, VOCABULARY)
    assert evaluate(sequence_model(network), whole) == pytest.approx(by_examples, rel=1e-5)


@pytest.mark.parametrize("kind", SEQUENCES)
@given(at_once=st.integers(1, 14), padding=st.integers(0, 5))
@settings(max_examples=8)
def test_neither_batches_nor_padding_change_the_loss_of_words(kind, at_once, padding):
    model = made(SEQUENCES[kind])
    losses = []
    with torch.no_grad():
        for word in WORDS:  # one at a time, without any padding
            data = sequences([word], VOCABULARY)
            losses += F.cross_entropy(model.eval()(data.ids)[0], data.targets[0], reduction="none")
    plain = sequences(WORDS, VOCABULARY)
    padded = Sequences(
        F.pad(plain.ids, (0, padding)), F.pad(plain.targets, (0, padding), value=IGNORED)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation_module, "_WORDS_AT_ONCE", at_once)
        assert evaluate(model, padded) == pytest.approx(torch.stack(losses).mean().item(), rel=1e-5)


@given(at_once=st.integers(1, 14))
def test_no_batch_of_words_is_larger_than_allowed_and_all_are_in_eval_mode(at_once):
    model, seen = made(SEQUENCES["gru"]), []
    model.register_forward_pre_hook(
        lambda module, args: seen.append((*args[0].shape, module.training, torch.is_grad_enabled()))
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation_module, "_WORDS_AT_ONCE", at_once)
        evaluate(model.train(), sequences(WORDS, VOCABULARY))
    assert model.training
    whole, rest = divmod(len(WORDS), at_once)
    assert [size for size, *_ in seen] == [at_once] * whole + [rest] * (rest > 0)
    assert [length for _, length, *_ in seen] == sorted(length for _, length, *_ in seen)
    assert {tuple(modes) for _, _, *modes in seen} == {(False, False)}


def test_there_is_no_mean_of_no_words():
    none = sequences(WORDS, VOCABULARY).rows(torch.zeros(0, dtype=torch.int64))
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        evaluate(made(SEQUENCES["gru"]), none)
    assert str(caught.value) == "there is no example to evaluate on"
