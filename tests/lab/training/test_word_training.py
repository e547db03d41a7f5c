import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from interrupting import interrupted
from tiny_networks import LEARNING, SEQUENCES, VOCABULARY, WINDOWS, WORDS, made, seeded
from torch import Tensor, nn

from typedwave.lab.evaluation import evaluate
from typedwave.lab.training.on_words import WordTraining
from typedwave.lab.training.optimizers import MuonAndAdam, clipped
from typedwave.lab.training.recipe import WordsRecipe
from typedwave.lab.training.stepped import DivergedError
from typedwave.lab.words.corpus import Vocabulary
from typedwave.lab.words.sequences import IGNORED, Sequences, sequences
from typedwave.models import (
    MLP,
    RecurrentConfig,
    SequenceModel,
    TransformerConfig,
    WaveNetConfig,
)
from typedwave.models.sequence import windows

DROPPING = {
    "wavenet": WaveNetConfig(channels=6, gate_channels=5, dilations=(1, 2), dropout=0.3),
    "gru": RecurrentConfig(n_embd=3, n_hidden=5, num_layers=2, dropout=0.3),
    "transformer": TransformerConfig(n_embd=6, n_hidden=10, num_heads=2, num_layers=1, dropout=0.3),
}
ALL = {**LEARNING, **{f"{kind} with dropout": config for kind, config in DROPPING.items()}}


def data() -> Sequences:
    return sequences(WORDS, VOCABULARY)


def training_of(network: nn.Module, recipe: WordsRecipe, *, words=None, seed=2) -> WordTraining:
    return WordTraining(network, words or data(), recipe, generator=seeded(seed))


def trained(config, recipe: WordsRecipe, **options) -> tuple[nn.Module, Tensor]:
    network = made(config)
    training = training_of(network, recipe, **options)
    training.run(training.steps)
    return network, training.losses


def assert_same(one: nn.Module, other: nn.Module) -> None:
    state = other.state_dict()
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def softened(words: Sequences, seed: int = 5) -> Sequences:
    """With chances as a teacher gives them."""
    logits = torch.randn(*words.ids.shape, len(VOCABULARY), generator=seeded(seed))
    chances = torch.softmax(logits, -1) * words.counted[..., None]
    return Sequences(words.ids, words.targets, chances.half())


class Notes(SequenceModel):
    """Even logits; notes the ids it is given."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        self.seen = []

    @property
    def receptive_field(self):
        return 1

    def initial_state(self, batch_size):
        raise NotImplementedError

    def stream(self, ids, state):
        raise NotImplementedError

    def forward(self, ids):
        self.seen.append(ids)
        return self.bias.expand(*ids.shape, -1)


# what a step computes


def plain_loop(network: nn.Module, words: Sequences, recipe: WordsRecipe, generator):
    """The training written out, a word at a time; without dropout."""
    torch.randint(2**62, (), generator=generator)
    optimizer = MuonAndAdam(
        network,
        muon_rate=recipe.muon_rate,
        adam_rate=recipe.adam_rate,
        weight_decay=recipe.weight_decay,
    )
    each = [words.rows(torch.tensor([number])) for number in range(len(words))]
    lengths = [word.ids.shape[1] for word in each]
    steps = recipe.epochs * math.ceil(len(words) / recipe.batch_size)
    usual = recipe.batch_size * sum(lengths) / len(words)
    losses = []
    network.train()
    for _ in range(recipe.epochs):
        order = torch.randperm(len(words), generator=generator).tolist()
        if not isinstance(network, MLP):
            order.sort(key=lambda number: lengths[number])
        size = recipe.batch_size
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        for chosen in reversed(torch.randperm(len(batches), generator=generator).tolist()):
            rows = [each[number] for number in batches[chosen]]
            if isinstance(network, MLP):  # together, for batch norm
                seen = torch.cat([windows(row.ids, network.context)[0] for row in rows])
                logits = network(seen)
            else:
                logits = torch.cat([network(row.ids)[0] for row in rows])
            if words.chances is None:
                wanted = F.one_hot(torch.cat([row.targets[0] for row in rows]), logits.shape[1])
            else:
                wanted = torch.cat([row.chances[0] for row in rows])
            total = -(torch.log_softmax(logits, -1) * wanted).sum()
            gradients = torch.autograd.grad(total / usual, optimizer.parameters)
            norm = torch.cat([gradient.flatten() for gradient in gradients]).norm().item()
            shrunk = min(1.0, recipe.clip / (norm + 1e-6))
            step = len(losses)
            risen = min(1.0, (step + 1) / (recipe.warm_up * steps + 1))
            factor = risen * (steps - step) / steps
            optimizer.step([gradient * shrunk for gradient in gradients], factor=factor)
            losses.append(total.item() / len(logits))
    return losses


@pytest.mark.parametrize("taught", [False, True])
@pytest.mark.parametrize("kind", LEARNING)
@given(
    seed=st.integers(0, 2**32),
    epochs=st.integers(1, 3),
    batch_size=st.integers(2, 14),
    clip=st.sampled_from([0.05, 1.0]),
    warm_up=st.sampled_from([0.0, 0.5, 1.0]),
)
@settings(max_examples=4)
def test_losses_and_weights_are_those_of_a_plain_loop(
    kind, taught, seed, epochs, batch_size, clip, warm_up
):
    recipe = WordsRecipe(epochs=epochs, batch_size=batch_size, clip=clip, warm_up=warm_up)
    network, plain = made(LEARNING[kind], seed=seed), made(LEARNING[kind], seed=seed)
    words = softened(data()) if taught else data()
    losses = plain_loop(plain, words, recipe, seeded(seed))
    training = training_of(network, recipe, words=words, seed=seed)
    training.run(training.steps)
    # Sums in another order; Newton and Schulz, and Adam's first step, magnify it.
    torch.testing.assert_close(training.losses, torch.tensor(losses), rtol=2e-3, atol=2e-3)
    for (name, one), other in zip(network.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=5e-3, msg=name)


@pytest.mark.parametrize("kind", LEARNING)
def test_every_network_learns_the_words(kind):
    network = made(LEARNING[kind])
    recipe = WordsRecipe(epochs=60, batch_size=6)
    before = _loss(network)
    training = training_of(network, recipe)
    training.run(training.steps)
    assert _loss(network) < before - 0.5
    assert training.losses[-4:].mean() < training.losses[:4].mean() - 0.5


def _loss(network: nn.Module) -> float:
    if isinstance(network, MLP):
        words, counted = data(), data().counted
        with torch.no_grad():
            logits = network.eval()(windows(words.ids, network.context)[counted])
        return F.cross_entropy(logits, words.targets[counted]).item()
    return evaluate(network, data())


# the words of a batch


@given(
    words=st.lists(st.text("abc", max_size=6), min_size=1, max_size=20),
    batch_size=st.integers(1, 22),
    epochs=st.integers(1, 3),
    seed=st.integers(0, 2**32),
)
def test_every_word_is_seen_once_an_epoch_in_batches_of_one_size_but_one(
    words, batch_size, epochs, seed
):
    letters = Vocabulary.of(["abc"])
    model, recipe = Notes(len(letters)), WordsRecipe(epochs=epochs, batch_size=batch_size)
    training = training_of(model, recipe, words=sequences(words, letters), seed=seed)
    training.run(training.steps)
    count = math.ceil(len(words) / batch_size)
    assert training.steps == len(model.seen) == epochs * count
    for epoch in range(epochs):
        batches = model.seen[epoch * count : (epoch + 1) * count]
        seen = [letters.decode(filter(None, row)) for ids in batches for row in ids.tolist()]
        assert sorted(seen) == sorted(words)
        sizes = [len(ids) for ids in batches]
        assert sizes.count(batch_size) >= count - 1
        # Batches of neighbours by length: from shortest to longest, none overlaps the next.
        bounds = sorted(
            sorted(map(_length, ids.tolist()))[:: max(1, len(ids) - 1)] for ids in batches
        )
        flat = [length for pair in bounds for length in pair]
        assert flat == sorted(flat)
        for ids in batches:
            assert ids.shape[1] == 1 + max(map(_length, ids.tolist()))


def _length(row: list[int]) -> int:
    return sum(map(bool, row))


def test_the_order_is_another_one_each_epoch_also_among_words_of_one_length():
    letters = Vocabulary.of(["abcdefghijkl"])
    words = [first + second for first in "abcdef" for second in "ghijkl"]
    model = Notes(len(letters))
    training = training_of(
        model, WordsRecipe(epochs=2, batch_size=6), words=sequences(words, letters)
    )
    training.run(training.steps)
    first, second = model.seen[:6], model.seen[6:]
    assert {tuple(sorted(ids[:, 1:].flatten().tolist())) for ids in first} != {
        tuple(sorted(ids[:, 1:].flatten().tolist())) for ids in second
    }


def test_short_words_do_not_always_come_first():
    firsts = set()
    for seed in range(10):
        model = Notes(len(VOCABULARY))
        training_of(model, WordsRecipe(epochs=1, batch_size=3), seed=seed).run(1)
        firsts.add(model.seen[0].shape[1])
    assert len(firsts) > 2


def test_windows_of_words_of_all_lengths_are_one_batch_without_padding():
    network, seen, lengths = made(WINDOWS["flat"]), [], set()
    network.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    training = training_of(network, WordsRecipe(epochs=8, batch_size=2))
    training.run(training.steps)
    for x in seen:
        starts = (x == 0).all(1).nonzero().flatten().tolist()  # a word begins where all is boundary
        ends = [*starts[1:], len(x)]
        lengths.add(tuple(sorted(end - start for start, end in zip(starts, ends, strict=True))))
    assert max(long - short for short, long in (pair for pair in lengths if len(pair) == 2)) >= 3
    assert sum(map(len, seen)) == 8 * int(data().lengths.sum())


@pytest.mark.parametrize("kind", LEARNING)
@given(padding=st.integers(1, 5), junk=st.integers(0, len(VOCABULARY) - 1))
@settings(max_examples=4)
def test_padding_makes_no_difference_whatever_is_there(kind, padding, junk):
    recipe, plain = WordsRecipe(epochs=2, batch_size=5), softened(data())
    padded = Sequences(
        torch.where(F.pad(plain.counted, (0, padding)), F.pad(plain.ids, (0, padding)), junk),
        F.pad(plain.targets, (0, padding), value=IGNORED),
        F.pad(plain.chances, (0, 0, 0, padding), value=0.5),
    )
    one, losses = trained(LEARNING[kind], recipe, words=plain)
    other, again = trained(LEARNING[kind], recipe, words=padded)
    assert torch.equal(losses, again)
    assert_same(one, other)


def test_a_batch_of_long_words_weighs_more_but_its_loss_is_a_mean():
    gradients = []

    class Noting(MuonAndAdam):
        def step(self, given, *, factor):
            gradients.append(given[0].clone())

    letters = Vocabulary.of(["ab"])
    words = sequences(["a", "bbbbbbb"], letters)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("typedwave.lab.training.on_words.MuonAndAdam", Noting)
        model = Notes(len(letters))
        training = training_of(model, WordsRecipe(epochs=1, batch_size=1, clip=100.0), words=words)
        training.run(2)
    # 2 positions and 8, of 5 on average: by even chances 1/3 each.
    short = torch.tensor([1 / 3 - 1 / 2, 1 / 3 - 1 / 2, 1 / 3]) * 2 / 5
    long = torch.tensor([1 / 3 - 1 / 8, 1 / 3, 1 / 3 - 7 / 8]) * 8 / 5
    expected = [short, long] if model.seen[0].shape[1] == 2 else [long, short]
    torch.testing.assert_close(gradients, expected)
    torch.testing.assert_close(training.losses, torch.full((2,), math.log(3)))


# pieces and repeats


@pytest.mark.parametrize("kind", ALL)
@given(until=st.lists(st.integers(-2, 12), max_size=5), batch_size=st.integers(3, 7))
@settings(max_examples=4)
def test_a_run_in_pieces_ends_like_a_run_in_one_to_the_bit(kind, until, batch_size):
    recipe = WordsRecipe(epochs=2, batch_size=batch_size)
    whole, losses = trained(ALL[kind], recipe)
    pieces = made(ALL[kind])
    training = training_of(pieces, recipe)
    done = 0
    for piece in until:
        training.run(piece)
        done = max(done, min(piece, training.steps))
        assert training.step == done
        assert torch.equal(training.losses, losses[:done])
        torch.rand(3)  # whatever else draws from the global generator
        pieces.eval()
    training.run(training.steps + 1)
    assert training.step == training.steps == 2 * math.ceil(len(WORDS) / batch_size)
    assert torch.equal(training.losses, losses)
    assert_same(pieces, whole)


@pytest.mark.parametrize("kind", ALL)
def test_a_seed_gives_the_same_and_another_does_not(kind):
    recipe = WordsRecipe(epochs=2, batch_size=5)
    one, losses = trained(ALL[kind], recipe, seed=3)
    torch.manual_seed(99)
    other, again = trained(ALL[kind], recipe, seed=3)
    assert torch.equal(losses, again)
    assert_same(one, other)
    assert not torch.equal(losses, trained(ALL[kind], recipe, seed=4)[1])


@pytest.mark.parametrize("kind", DROPPING)
def test_what_is_left_out_differs_between_steps_and_between_seeds(kind):
    letters = Vocabulary.of(["ab"])
    words = sequences(["ab"] * 4, letters)
    losses = []
    for seed in (1, 2):
        model = made(DROPPING[kind], vocabulary=Vocabulary.of(WORDS))
        recipe = WordsRecipe(epochs=2, batch_size=4, muon_rate=0.0, adam_rate=0.0)
        training = training_of(model, recipe, words=words, seed=seed)
        training.run(2)
        losses += training.losses.tolist()
    assert len(set(losses)) == 4  # the weights stay, all batches are alike


@pytest.mark.parametrize("kind", ["hierarchical", "gru with dropout"])
def test_it_leaves_the_global_generator_and_the_words_as_they_were(kind):
    torch.manual_seed(7)
    before, words = torch.get_rng_state(), softened(data())
    trained(ALL[kind], WordsRecipe(epochs=1, batch_size=3), words=words)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(words.ids, data().ids)
    assert torch.equal(words.targets, data().targets)
    assert torch.equal(words.chances, softened(data()).chances)


def test_the_global_generator_is_put_back_after_an_error_too():
    torch.manual_seed(7)
    before, model = torch.get_rng_state(), made(SEQUENCES["gru"])
    model.register_forward_pre_hook(_fail)
    training = training_of(model, WordsRecipe(epochs=1, batch_size=3))
    with pytest.raises(ZeroDivisionError):
        training.run(3)
    assert training.step == 0
    assert torch.equal(torch.get_rng_state(), before)


def _fail(*arguments):
    raise ZeroDivisionError


@pytest.mark.parametrize("kind", ["gru", "transformer with dropout"])
@given(at=st.integers(0, 5))
@settings(max_examples=6)
def test_an_interrupted_step_is_done_again(kind, at):
    recipe = WordsRecipe(epochs=2, batch_size=4)
    whole, losses = trained(ALL[kind], recipe)
    stopped = made(ALL[kind])
    training = training_of(stopped, recipe)
    with interrupted(stopped, training, at), pytest.raises(KeyboardInterrupt):
        training.run(training.steps)
    assert training.step == at
    training.run(training.steps)
    assert torch.equal(training.losses, losses)
    assert_same(stopped, whole)


def test_an_interrupt_while_an_epoch_is_drawn_loses_none(monkeypatch):
    recipe, stops = WordsRecipe(epochs=2, batch_size=4), [True]
    whole, losses = trained(SEQUENCES["gru"], recipe)
    stopped, plain = made(SEQUENCES["gru"]), torch.split
    training = training_of(stopped, recipe)

    def stopping(tensor, size):
        if stops and len(tensor) == len(WORDS):
            stops.pop()
            raise KeyboardInterrupt
        return plain(tensor, size)

    monkeypatch.setattr(torch, "split", stopping)
    with pytest.raises(KeyboardInterrupt):
        training.run(1)
    training.run(training.steps)
    assert torch.equal(training.losses, losses)
    assert_same(stopped, whole)


def test_training_is_in_train_mode_whatever_mode_the_network_came_in():
    network = made(WINDOWS["hierarchical"]).eval()
    training = training_of(network, WordsRecipe(epochs=1, batch_size=4))
    training.run(2)
    assert network.layers[3].num_batches_tracked == 2
    network.eval()
    training.run(2)
    assert all(module.training for module in network.modules())


@pytest.mark.parametrize("kind", LEARNING)
def test_losses_need_no_gradient_and_parameters_have_none_left(kind):
    network, losses = trained(LEARNING[kind], WordsRecipe(epochs=1, batch_size=5))
    assert not losses.requires_grad
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(parameter.requires_grad for parameter in network.parameters())


# clipping


@given(
    shapes=st.lists(st.sampled_from([(2, 3), (4,), (1, 1, 2)]), min_size=1, max_size=3),
    length=st.floats(1e-3, 1e3),
    clip=st.floats(1e-3, 1e3),
    seed=st.integers(0, 2**32),
)
def test_gradients_longer_than_allowed_are_shortened_together(shapes, length, clip, seed):
    drawn = [torch.randn(shape, generator=seeded(seed + i)) for i, shape in enumerate(shapes)]
    norm = torch.cat([gradient.flatten() for gradient in drawn]).norm()
    gradients = tuple(gradient * length / norm for gradient in drawn)
    expected = [gradient * min(1.0, clip / length) for gradient in gradients]
    for found, wanted in zip(clipped(gradients, clip), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=2e-3, atol=1e-6)  # 1e-6 is added to norms


def test_gradients_that_are_short_stay_to_the_bit():
    gradients = (torch.tensor([0.3, -0.4]), torch.zeros(2, 2))
    for found, given_ in zip(clipped(gradients, 0.6), gradients, strict=True):
        assert torch.equal(found, given_)
    for found in clipped((torch.zeros(3),), 1.0):
        assert torch.equal(found, torch.zeros(3))


# a loss that is no number


@given(at=st.integers(0, 5), piece=st.integers(1, 6), kind=st.sampled_from(["nan", "inf"]))
@settings(max_examples=10)
def test_a_loss_that_is_not_finite_is_named_with_its_step_and_muons_rate(at, piece, kind):
    model = made(SEQUENCES["rnn"])
    training = training_of(model, WordsRecipe(epochs=2, batch_size=4, muon_rate=0.06, warm_up=0.5))

    def spoil(module, args, logits):
        spoilt = logits * math.nan
        if kind == "inf":
            spoilt = logits.index_fill(2, torch.arange(1, logits.shape[2]), -math.inf)
        return spoilt if training.step >= at else None

    model.register_forward_hook(spoil)
    training.run(at // piece * piece)
    with pytest.raises(DivergedError) as caught:
        training.run((at // piece + 1) * piece)
    rate = 0.06 * min(1, (at + 1) / 4) * (6 - at) / 6
    assert str(caught.value) == (
        f"the loss of step {at} is {kind}, with learning rate {rate:g}; "
        "a smaller one may keep it finite"
    )


def test_a_weight_that_is_not_finite_is_found_after_a_finite_loss():
    model = made(SEQUENCES["gru"])
    training = training_of(model, WordsRecipe(epochs=2, batch_size=4, muon_rate=0.06, warm_up=0.0))
    training.run(2)
    model.head.bias.register_hook(lambda gradient: gradient * math.nan)
    with pytest.raises(DivergedError) as caught:
        training.run(3)
    assert str(caught.value) == (
        "a weight is not finite after step 2, with learning rate 0.04; "
        "a smaller one may keep it finite"
    )
