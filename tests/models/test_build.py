"""One place makes every kind of network of its config, from a generator alone."""

import dataclasses
import json
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from streamed import (
    CONFIGS,
    EXAMPLES,
    assert_close,
    looking_trained,
    of_each_example,
    of_each_kind,
    random_ids,
    refusal,
    trees,
)

import typedwave
from typedwave.models import (
    MLP,
    Dilated,
    NetworkConfig,
    NGram,
    NGramConfig,
    Pool,
    PoolConfig,
    Recurrent,
    RecurrentConfig,
    Transformer,
    TransformerConfig,
    WaveNet,
    WaveNetConfig,
    Windowed,
    build,
    config_of,
    network_of,
    sequence_model,
)
from typedwave.models.build import Config, Network

seeds = st.integers(0, 2**32)
KINDS = {
    "ngram": (NGramConfig, NGram, Windowed),
    "flat": (NetworkConfig, MLP, Dilated),
    "hierarchical": (NetworkConfig, MLP, Dilated),
    "wavenet": (WaveNetConfig, WaveNet, WaveNet),
    "rnn": (RecurrentConfig, Recurrent, Recurrent),
    "gru": (RecurrentConfig, Recurrent, Recurrent),
    "lstm": (RecurrentConfig, Recurrent, Recurrent),
    "transformer": (TransformerConfig, Transformer, Transformer),
    "pool": (PoolConfig, Pool, Pool),
}


def generator_of(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def built(config: Config, *, seed: int = 0, **options) -> Network:
    return build(config, vocab_size=5, generator=generator_of(seed), **options)


def assert_same_state(one: torch.nn.Module, other: torch.nn.Module) -> None:
    state = other.state_dict()
    assert one.state_dict().keys() == state.keys()
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, state[name]), name


# which kinds there are


def test_every_kind_has_its_config_and_every_config_its_kinds():
    assert {kind: config for kind, (config, _, _) in KINDS.items()} == typedwave.models.CONFIGS
    assert set(get_args(Config)) == set(typedwave.models.CONFIGS.values())
    assert set(get_args(Network)) == {network for _, network, _ in KINDS.values()}
    named = [
        (kind, config)
        for config in get_args(Config)
        for kind in get_args(config.__dataclass_fields__["network"].type)
    ]
    assert dict(named) == typedwave.models.CONFIGS
    assert len(named) == len(KINDS)  # no two have one name
    assert CONFIGS.keys() == KINDS.keys()


def test_what_the_package_names_is_there_and_in_order():
    names = typedwave.models.__all__
    assert names == sorted(names, key=lambda name: (not name.isupper(), name[0].islower(), name))
    assert all(hasattr(typedwave.models, name) for name in names)


@of_each_kind
@given(data=st.data())
def test_a_config_makes_a_network_of_its_kind(kind, data):
    config = data.draw(CONFIGS[kind])
    kind_of_config, network, model = KINDS[kind]
    assert type(config) is kind_of_config
    assert config.network == kind
    made = built(config)
    assert type(made) is network
    assert type(network_of(config, vocab_size=5)) is network
    assert (made.config, made.vocab_size, made.training) == (config, 5, True)
    assert type(sequence_model(made)) is model
    assert sequence_model(made).vocab_size == 5


# configs as dictionaries


@of_each_kind
@given(data=st.data())
def test_a_config_is_made_again_of_its_dictionary_also_in_json(kind, data):
    config = data.draw(CONFIGS[kind])
    fields = dataclasses.asdict(config)
    for again in (config_of(fields), config_of(json.loads(json.dumps(fields)))):
        assert again == config
        assert hash(again) == hash(config)
        assert type(again) is type(config)
        assert_same_state(built(again), built(config))


@of_each_kind
@given(data=st.data())
def test_a_config_cannot_be_changed_and_takes_no_positional_arguments(kind, data):
    config = data.draw(CONFIGS[kind])
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.network = kind
    with pytest.raises(TypeError):
        type(config)(kind)


# what build draws


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data(), seed=seeds)
def test_the_weights_are_drawn_from_the_generator_alone(kind, data, seed):
    config = data.draw(CONFIGS[kind])
    generator, states = generator_of(seed), []
    torch.manual_seed(seed + 1)
    before = torch.get_rng_state()
    first = build(config, vocab_size=5, generator=generator)
    states.append(generator.get_state())
    assert torch.equal(torch.get_rng_state(), before)

    torch.manual_seed(seed + 2)
    generator = generator_of(seed)
    assert_same_state(build(config, vocab_size=5, generator=generator), first)
    assert torch.equal(generator.get_state(), states[0])
    assert not torch.equal(generator.get_state(), generator_of(seed).get_state())


@of_each_example
def test_another_seed_or_another_turn_of_the_generator_draws_other_weights(config):
    generator = generator_of(1)
    first, second = (build(config, vocab_size=5, generator=generator) for _ in range(2))
    for other in (second, built(config, seed=2)):
        for name, parameter in first.named_parameters():
            if parameter.ndim > 1:
                assert not torch.equal(parameter, dict(other.named_parameters())[name]), name


@pytest.mark.parametrize("name", ["wavenet", "gru", "transformer", "pool"])
def test_no_other_generator_of_torch_is_seeded(name, monkeypatch):
    seeded = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    monkeypatch.setattr(torch.random, "manual_seed", seeded.append)
    monkeypatch.setattr(torch, "manual_seed", seeded.append)
    built(EXAMPLES[name])
    assert seeded == []


@pytest.mark.parametrize("name", ["wavenet", "gru", "transformer"])
def test_the_global_generator_is_put_back_also_after_an_error(name):
    before = torch.get_rng_state()
    with pytest.raises(TypeError):
        built(EXAMPLES[name], dtype="float32")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["wavenet", "wavenet with skips", "lstm", "transformer"])
def test_the_first_weights_are_as_torch_draws_them_from_a_seed_of_the_generator(name):
    seed = int(torch.randint(2**62, (), generator=generator_of(4)))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        plain = network_of(EXAMPLES[name], vocab_size=5)
    assert_same_state(built(EXAMPLES[name], seed=4), plain)


def test_networks_of_the_lecture_have_its_initialisation_in_a_pool_too():
    member = NetworkConfig(context=4, n_embd=3, n_hidden=7, output_scale=0.0)
    pool = built(PoolConfig(members=(WaveNetConfig(), member), weights=(0.5, 0.5)))
    assert not pool.models[1].head.weight.any()
    generator = generator_of(0)
    build(WaveNetConfig(), vocab_size=5, generator=generator)
    alone = sequence_model(build(member, vocab_size=5, generator=generator))
    assert_same_state(pool.models[1], alone)


@of_each_example
def test_everything_is_on_the_device_and_of_the_dtype_asked_for(config):
    made = network_of(config, vocab_size=5, device="meta", dtype=torch.bfloat16)
    assert made.state_dict()
    for name, tensor in made.state_dict().items():
        assert tensor.is_meta, name
        assert not tensor.is_floating_point() or tensor.dtype == torch.bfloat16, name
    for dtype in (None, torch.float64):
        for name, tensor in built(config, dtype=dtype).state_dict().items():
            assert tensor.device.type == "cpu", name
            assert not tensor.is_floating_point() or tensor.dtype == (dtype or torch.float32), name


# models of sequences


@of_each_kind
@torch.no_grad()
@given(data=st.data(), seed=seeds)
def test_as_a_model_of_sequences_a_network_has_the_same_logits(kind, data, seed):
    config = data.draw(CONFIGS[kind])
    network = looking_trained(built(config, dtype=torch.float64), seed=seed)
    model, ids = sequence_model(network), random_ids(2, 9, seed=seed)
    if isinstance(network, MLP | NGram):
        # The network itself knows one window, in which boundaries are before the first position.
        rows = [[0] * network.context + row.tolist() for row in ids]
        for t in range(9):
            windows = torch.tensor([row[: network.context + t + 1] for row in rows])
            expected = network(windows[:, -network.context :])
            # Sums in another order.
            assert_close(model(ids)[:, t], expected)
    else:
        assert model is network
    assert sequence_model(model) is model


@given(trees())
def test_a_tree_becomes_a_folded_copy_in_its_mode_and_n_grams_are_the_same(config):
    tree = built(config)
    for training in (True, False):
        model = sequence_model(tree.train(training))
        assert model.training is training
        assert all(level.norm is None for level in model.levels)
    ngram = built(NGramConfig(order=3))
    model = sequence_model(ngram)
    assert model.network is ngram
    assert (model.context, model.receptive_field) == (2, 2)


# what is refused

NAMES = "ngram, flat, hierarchical, wavenet, rnn, gru, lstm, transformer, pool"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, f"network is None, but there are {NAMES}"),
        ({"network": "ring"}, f"network is 'ring', but there are {NAMES}"),
        ({"network": ["flat"]}, f"network is ['flat'], but there are {NAMES}"),
        ({"network": "None"}, f"network is 'None', but there are {NAMES}"),
        ("flat", "'flat' is no config: it has no field named network"),
        ({"network": "lstm", "n_embd": 0}, "n_embd is 0, but has to be at least 1"),
    ],
)
def test_a_dictionary_of_no_config_is_refused(fields, message):
    assert refusal(config_of, fields) == message


def test_a_field_that_there_is_not_is_refused():
    assert refusal(config_of, {"network": "gru", "context": 8}, kind=TypeError) == (
        "RecurrentConfig.__init__() got an unexpected keyword argument 'context'"
    )


def test_what_is_no_config_makes_no_network():
    with pytest.raises(AssertionError, match="Expected code to be unreachable"):
        network_of(None, vocab_size=5)


@pytest.mark.parametrize("vocab_size", [0, -1, 2.0, True])
@pytest.mark.parametrize("name", EXAMPLES)
def test_a_vocabulary_without_an_id_is_refused(name, vocab_size):
    config = EXAMPLES[name]
    of_a_pool = next(iter(getattr(config, "members", ())), config)  # its first one is made first
    network = KINDS[of_a_pool.network][1].__name__
    assert refusal(network_of, config, vocab_size=vocab_size) == (
        f"{network}: vocab_size is {vocab_size}, but has to be a whole number of at least 1"
    )
