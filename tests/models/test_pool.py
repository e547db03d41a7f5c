"""A pool is the weighted geometric mean of what its models say."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from streamed import CONFIGS, EXAMPLES, ONE, assert_close, made, random_ids, refusal

from typedwave.models import (
    Pool,
    PoolConfig,
    Recurrent,
    RecurrentConfig,
    WaveNet,
    WaveNetConfig,
    Windowed,
    sequence_model,
)


def wavenet(vocab_size: int = 5, **options) -> WaveNet:
    config = WaveNetConfig(channels=3, gate_channels=2, **options)
    return WaveNet(config, vocab_size=vocab_size)


def gru(vocab_size: int = 5) -> Recurrent:
    return Recurrent(RecurrentConfig(n_embd=3, n_hidden=2), vocab_size=vocab_size)


@given(
    configs=st.lists(ONE, min_size=1, max_size=3),
    data=st.data(),
    seed=st.integers(0, 2**32),
)
@torch.no_grad()
def test_its_logits_are_the_weighed_sum_of_the_logarithms_of_chances(configs, data, seed):
    models = [made(config, seed=seed + n) for n, config in enumerate(configs)]
    weight = st.floats(-2, 2)
    weights = data.draw(st.lists(weight, min_size=len(models), max_size=len(models)))
    ids = random_ids(2, 7, seed=seed)
    chances = torch.stack([model(ids).softmax(-1) for model in models])
    exponents = torch.tensor(weights, dtype=torch.float64)[:, None, None, None]
    logits = Pool(models, weights)(ids)
    # A power and its logarithm, beside chances near 0.
    torch.testing.assert_close(logits.exp(), chances.pow(exponents).prod(0), rtol=1e-7, atol=1e-12)


@torch.no_grad()
def test_without_weights_the_models_weigh_alike_and_as_much_as_one():
    models = [made(EXAMPLES[name]) for name in ("wavenet", "gru", "transformer", "flat")]
    pool, ids = Pool(models), random_ids(2, 7)
    assert pool.weights == [0.25] * 4
    # Sums in another order.
    assert_close(pool(ids), sum(model(ids).log_softmax(-1) for model in models) / 4)
    assert_close(Pool(models[:1])(ids).softmax(-1), models[0](ids).softmax(-1))


@torch.no_grad()
def test_a_model_that_is_in_it_twice_is_asked_twice_and_streams_twice():
    model, ids = made(EXAMPLES["gru"]), random_ids(2, 7)
    pool = Pool([model, model], [0.3, 0.7])
    assert_close(pool(ids), model(ids).log_softmax(-1))
    state = pool.initial_state(2)
    for t in range(7):
        assert_close(pool.stream(ids[:, t : t + 1], state), pool(ids)[:, t : t + 1])


def test_its_receptive_field_is_that_of_the_model_that_looks_back_farthest():
    short, long, all_so_far = wavenet(), wavenet(cycles=2), gru()
    assert Pool([short, long, short]).receptive_field == long.receptive_field == 15
    assert Pool([short]).receptive_field == 8
    assert Pool([long, all_so_far]).receptive_field is None
    assert Pool([Pool([long]), short]).receptive_field == 15


def test_its_models_are_its_own_and_so_are_its_weights():
    models, weights = [wavenet(), gru()], [0.5, 2]
    pool = Pool(models, weights)
    assert [*pool.models] == models
    weights[0] = 3
    assert pool.weights == [0.5, 2]
    assert pool.vocab_size == 5
    assert pool.config is None
    assert {name.split(".")[1] for name in pool.state_dict()} == {"0", "1"}


@given(CONFIGS["pool"])
def test_of_a_config_it_has_the_weights_and_models_in_its_order(config):
    pool = made(config)
    assert isinstance(pool, Pool)
    assert pool.config is config
    assert pool.weights == [*config.weights]
    for model, member in zip(pool.models, config.members, strict=True):
        inner = model.network if isinstance(model, Windowed) else model
        if member.network not in ("flat", "hierarchical"):
            assert inner.config == member
        else:
            assert model.receptive_field == member.context
    assert sequence_model(pool) is pool


# what it refuses


def test_no_model_or_another_number_of_weights_or_vocabularies_that_differ_are_refused():
    assert refusal(Pool, []) == "Pool: there is no model"
    assert refusal(Pool, [wavenet(), gru()], [1.0]) == "Pool: 2 models, but 1 weights"
    assert refusal(Pool, [gru()], []) == "Pool: 1 models, but 0 weights"
    models = [wavenet(7), gru(5), gru(7)]
    assert refusal(Pool, models) == "Pool: vocab_size differs: 5, 7"


MEMBER = WaveNetConfig()
KINDS = "ngram, flat, hierarchical, wavenet, rnn, gru, lstm, transformer, pool"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": "rnn"}, "network is 'rnn', but it is pool"),
        ({"members": ()}, "members is (), but has to hold at least one"),
        ({"members": None}, "members is None, but has to hold at least one"),
        ({"members": (None,)}, "None is no config: it has no field named network"),
        ({"members": ({"order": 3},)}, f"network is None, but there are {KINDS}"),
        ({"members": ({"network": "ring"},)}, f"network is 'ring', but there are {KINDS}"),
        (
            {"members": [{"network": "gru", "n_hidden": 0}]},
            "n_hidden is 0, but has to be at least 1",
        ),
        ({"weights": []}, "weights is [], but has to hold at least one"),
        ({"weights": 1.0}, "weights is 1.0, but has to hold at least one"),
        ({"weights": ("a",)}, "weights is ('a',), but has to be finite numbers"),
        ({"weights": (True,)}, "weights is (True,), but has to be finite numbers"),
        (
            {"weights": (float("nan"),)},
            "weights is (nan,), but has to be finite numbers",
        ),
        (
            {"weights": (float("inf"),)},
            "weights is (inf,), but has to be finite numbers",
        ),
        ({"weights": (1, 2)}, "there are 1 members, but 2 weights"),
    ],
)
def test_a_config_of_one_tells_what_is_wrong(options, message):
    assert refusal(PoolConfig, **{"members": (MEMBER,), "weights": (1,), **options}) == message
