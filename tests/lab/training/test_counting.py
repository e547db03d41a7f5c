import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_networks import EVERY, VOCABULARY, WORDS

from typedwave.lab.evaluation import evaluate
from typedwave.lab.training.counting import Counting
from typedwave.lab.words.corpus import examples
from typedwave.models import NGram


def unfitted() -> NGram:
    return NGram(EVERY["ngram"], vocab_size=len(VOCABULARY))


DATA = examples(WORDS, VOCABULARY, context=2)


@given(until=st.lists(st.integers(-2, 3), max_size=5))
def test_it_counts_in_the_first_step_there_is_and_once(until):
    network = unfitted()
    counting, fits = Counting(network, DATA), []
    fit = network.fit

    def noting(contexts, targets):
        fits.append((contexts, targets))
        fit(contexts, targets)

    network.fit = noting
    assert (counting.step, counting.steps, len(counting.losses)) == (0, 1, 0)
    done = 0
    for piece in until:
        counting.run(piece)
        done = max(done, int(piece > 0))
        assert counting.step == len(counting.losses) == len(fits) == done
    assert all(contexts is DATA.contexts and targets is DATA.targets for contexts, targets in fits)


def test_the_network_is_fitted_and_the_loss_is_that_of_what_was_counted():
    network, plain = unfitted(), unfitted()
    counting = Counting(network, DATA)
    counting.run(1)
    plain.fit(*DATA)
    for name, tensor in plain.state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor), name
    assert counting.losses.tolist() == [pytest.approx(evaluate(plain, DATA), rel=1e-6)]


def test_an_interrupt_while_counting_leaves_it_to_be_done():
    network = unfitted()
    counting, fit = Counting(network, DATA), network.fit

    def stop(*arguments):
        network.fit = fit
        raise KeyboardInterrupt

    network.fit = stop
    with pytest.raises(KeyboardInterrupt):
        counting.run(1)
    assert counting.step == 0
    counting.run(1)
    assert counting.step == 1
