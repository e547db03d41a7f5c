"""The recurrent network is torch's layer between a table and logits."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from streamed import assert_close, looking_trained, parameters_of, random_ids, recurrents

from typedwave.models import Recurrent, RecurrentConfig
from typedwave.nn import GRU, LSTM, RNN, Dropout

LAYERS = {"rnn": (RNN, torch.nn.RNN), "gru": (GRU, torch.nn.GRU), "lstm": (LSTM, torch.nn.LSTM)}
of_each_layer = pytest.mark.parametrize("kind", LAYERS)


def by_hand(network: Recurrent, ids: torch.Tensor) -> torch.Tensor:
    """The layers of torch one after another, and in training its dropout where it belongs."""
    config, weights = network.config, network.state_dict()
    layer = LAYERS[config.network][1](
        config.n_embd,
        config.n_hidden,
        config.num_layers,
        batch_first=True,
        dropout=config.dropout if config.num_layers > 1 else 0.0,
        device="meta",  # nothing is drawn
    ).train(network.training)
    prefix = "recurrent."
    names = [name for name in weights if name.startswith(prefix)]
    its = {name.removeprefix(prefix): weights[name] for name in names}
    layer.load_state_dict(its, assign=True)

    hidden, _ = layer(weights["embedding.weight"][ids])
    hidden = F.dropout(hidden, config.dropout, network.training)
    return hidden @ weights["head.weight"].T + weights["head.bias"]


@of_each_layer
@given(data=st.data(), seed=st.integers(0, 2**32))
@torch.no_grad()
def test_the_logits_are_those_of_torchs_layer_on_embeddings(kind, data, seed):
    config = data.draw(recurrents(kind))
    network = looking_trained(Recurrent(config, vocab_size=5, dtype=torch.float64), seed=seed)
    assert type(network.recurrent) is LAYERS[kind][0]
    ids = random_ids(2, data.draw(st.integers(1, 9)), seed=seed)
    # Sums in another order.
    assert_close(network(ids), by_hand(network, ids))


@of_each_layer
@pytest.mark.parametrize("num_layers", [1, 2])
@torch.no_grad()
def test_in_training_hidden_states_and_what_is_between_layers_are_dropped(kind, num_layers):
    config = RecurrentConfig(
        network=kind, n_embd=4, n_hidden=7, num_layers=num_layers, dropout=0.25
    )
    network = looking_trained(Recurrent(config, vocab_size=5, dtype=torch.float64))
    ids, results = random_ids(3, 8), []
    for call in (network.train(), lambda ids: by_hand(network, ids)):
        with torch.random.fork_rng():
            torch.manual_seed(3)
            results.append(call(ids))
    assert_close(*results)
    assert not torch.equal(results[0], network.eval()(ids))
    assert network.recurrent.dropout == (0.25 if num_layers > 1 else 0.0)
    assert [m.p for m in network.modules() if isinstance(m, Dropout)] == [0.25]


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        # 27 * 32, three gates of (32 + 138) * 138 + 2 * 138 each, and 139 * 27
        ({}, 75_825),
        ({"network": "rnn"}, 28_353),
        ({"network": "lstm"}, 99_561),
        ({"num_layers": 2}, 190_917),
    ],
)
def test_it_has_as_many_parameters_as_was_counted_by_hand(options, parameters):
    network = Recurrent(RecurrentConfig(**options), vocab_size=27, device="meta")
    assert parameters_of(network) == parameters


@of_each_layer
def test_it_knows_what_it_was_made_of(kind):
    config = RecurrentConfig(network=kind)
    network = Recurrent(config, vocab_size=7, device="meta", dtype=torch.float64)
    assert network.config is config
    assert network.vocab_size == 7
    assert network.receptive_field is None
    assert {(p.dtype, p.device.type) for p in network.parameters()} == {(torch.float64, "meta")}


@of_each_layer
@torch.no_grad()
def test_the_first_position_matters_to_the_last(kind):
    config = RecurrentConfig(network=kind, n_embd=4, n_hidden=7)
    network = looking_trained(Recurrent(config, vocab_size=5, dtype=torch.float64))
    ids = random_ids(1, 12)
    other = ids.clone()
    other[0, 0] = (ids[0, 0] + 1) % 5
    assert (network(ids)[0, -1] - network(other)[0, -1]).abs().max() > 1e-9
