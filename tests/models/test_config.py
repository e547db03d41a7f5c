import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamed import refusal

from typedwave.models import NetworkConfig, RecurrentConfig, TransformerConfig, WaveNetConfig


@given(fuse=st.integers(2, 9), levels=st.integers(1, 12))
def test_any_power_of_fuse_is_a_context_and_its_levels_are_the_exponent(fuse, levels):
    assert NetworkConfig(context=fuse**levels, fuse=fuse).levels == levels


@given(fuse=st.integers(2, 9), context=st.integers(1, 3000))
def test_no_other_context_is_and_the_message_names_the_powers_around_it(fuse, context):
    powers = [fuse**level for level in range(1, 14)]
    if context in powers:
        context += 1
    if context in powers:  # 2 and 3 are neighbours only where fuse is 2 and context was 1
        return
    below = max((power for power in powers if power < context), default=fuse)
    assert refusal(NetworkConfig, context=context, fuse=fuse) == (
        f"context is {context}, but a hierarchical network needs a power of fuse = {fuse}, "
        f"such as {below} or {below * fuse}"
    )


@given(st.integers(1, 3000))
def test_a_flat_network_takes_any_context(context):
    assert NetworkConfig(network="flat", context=context).context == context


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"network": "ring"}, "network is 'ring', but there are flat and hierarchical"),
        ({"context": 0}, "context is 0, but has to be at least 1"),
        ({"n_embd": 0}, "n_embd is 0, but has to be at least 1"),
        ({"n_hidden": -3}, "n_hidden is -3, but has to be at least 1"),
        ({"fuse": 1}, "fuse is 1, but has to be at least 2"),
        ({"network": "flat", "fuse": 1}, "fuse is 1, but has to be at least 2"),
        ({"network": "flat", "context": -1}, "context is -1, but has to be at least 1"),
        ({"context": float("inf")}, "context is inf, but has to be a whole number"),
        ({"n_embd": 3.0}, "n_embd is 3.0, but has to be a whole number"),
        ({"n_hidden": True}, "n_hidden is True, but has to be a whole number"),
        ({"fuse": "2"}, "fuse is '2', but has to be a whole number"),
        ({"unbiased": "no"}, "unbiased is 'no', but has to be True or False"),
        ({"output_scale": "0.1"}, "output_scale is '0.1', but has to be a finite number"),
        ({"output_scale": float("nan")}, "output_scale is nan, but has to be a finite number"),
    ],
)
def test_a_number_out_of_range_is_refused_with_its_limit(arguments, message):
    assert refusal(NetworkConfig, **arguments) == message


@pytest.mark.parametrize("name", ["context", "n_embd", "n_hidden"])
def test_one_of_each_is_enough_for_a_flat_network(name):
    assert getattr(NetworkConfig(**{"network": "flat", name: 1}), name) == 1


def test_it_cannot_be_changed_and_takes_no_positional_arguments():
    config = NetworkConfig()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.context = 3
    with pytest.raises(TypeError):
        NetworkConfig("flat")


@given(
    st.builds(
        NetworkConfig,
        network=st.just("flat"),
        context=st.integers(1, 99),
        unbiased=st.booleans(),
        output_scale=st.floats(0, 1),
    )
)
def test_its_dictionary_makes_it_again(config):
    again = NetworkConfig(**dataclasses.asdict(config))
    assert again == config
    assert hash(again) == hash(config)


# the other networks


COUNT = "has to be a whole number"
SHARE = "has to be at least 0 and less than 1"
DILATIONS = "has to be whole numbers of at least 1"


@pytest.mark.parametrize(
    ("config", "arguments", "message"),
    [
        (WaveNetConfig, {"network": "flat"}, "network is 'flat', but it is wavenet"),
        (WaveNetConfig, {"channels": 0}, "channels is 0, but has to be at least 1"),
        (WaveNetConfig, {"channels": 6.0}, f"channels is 6.0, but {COUNT}"),
        (WaveNetConfig, {"gate_channels": 0}, "gate_channels is 0, but has to be at least 1"),
        (WaveNetConfig, {"skip_channels": -1}, "skip_channels is -1, but has to be at least 0"),
        (WaveNetConfig, {"kernel_size": 0}, "kernel_size is 0, but has to be at least 1"),
        (WaveNetConfig, {"cycles": 0}, "cycles is 0, but has to be at least 1"),
        (WaveNetConfig, {"cycles": True}, f"cycles is True, but {COUNT}"),
        (WaveNetConfig, {"global_channels": -1}, "global_channels is -1, but has to be at least 0"),
        (WaveNetConfig, {"local_channels": -1}, "local_channels is -1, but has to be at least 0"),
        (WaveNetConfig, {"dilations": ()}, f"dilations is (), but {DILATIONS}"),
        (WaveNetConfig, {"dilations": [1, 0]}, f"dilations is [1, 0], but {DILATIONS}"),
        (WaveNetConfig, {"dilations": (1, 2.0)}, f"dilations is (1, 2.0), but {DILATIONS}"),
        (WaveNetConfig, {"dilations": (True,)}, f"dilations is (True,), but {DILATIONS}"),
        (WaveNetConfig, {"dilations": 3}, f"dilations is 3, but {DILATIONS}"),
        (WaveNetConfig, {"norm": 1}, "norm is 1, but has to be True or False"),
        (WaveNetConfig, {"dropout": 1}, f"dropout is 1, but {SHARE}"),
        (WaveNetConfig, {"dropout": -0.1}, f"dropout is -0.1, but {SHARE}"),
        (RecurrentConfig, {"network": "gpu"}, "network is 'gpu', but there are rnn, gru and lstm"),
        (RecurrentConfig, {"n_embd": 0}, "n_embd is 0, but has to be at least 1"),
        (RecurrentConfig, {"n_hidden": 0}, "n_hidden is 0, but has to be at least 1"),
        (RecurrentConfig, {"num_layers": 0}, "num_layers is 0, but has to be at least 1"),
        (RecurrentConfig, {"num_layers": "2"}, f"num_layers is '2', but {COUNT}"),
        (RecurrentConfig, {"dropout": True}, f"dropout is True, but {SHARE}"),
        (RecurrentConfig, {"dropout": "0.1"}, f"dropout is '0.1', but {SHARE}"),
        (RecurrentConfig, {"dropout": float("nan")}, f"dropout is nan, but {SHARE}"),
        (TransformerConfig, {"network": "rnn"}, "network is 'rnn', but it is transformer"),
        (TransformerConfig, {"n_embd": 0}, "n_embd is 0, but has to be at least 1"),
        (TransformerConfig, {"n_hidden": 0}, "n_hidden is 0, but has to be at least 1"),
        (TransformerConfig, {"num_heads": 0}, "num_heads is 0, but has to be at least 1"),
        (TransformerConfig, {"num_layers": 0}, "num_layers is 0, but has to be at least 1"),
        (
            TransformerConfig,
            {"n_embd": 48, "num_heads": 5},
            "n_embd is 48, but has to be a multiple of num_heads = 5",
        ),
        (TransformerConfig, {"token_shift": 0}, "token_shift is 0, but has to be True or False"),
        (TransformerConfig, {"dropout": 1.0}, f"dropout is 1.0, but {SHARE}"),
    ],
)
def test_what_another_network_cannot_be_is_refused_with_its_limit(config, arguments, message):
    assert refusal(config, **arguments) == message


@pytest.mark.parametrize(
    ("config", "arguments"),
    [
        (WaveNetConfig, {"channels": 1, "gate_channels": 1, "kernel_size": 1, "dilations": (1,)}),
        (WaveNetConfig, {"skip_channels": 1, "global_channels": 1, "local_channels": 1}),
        (WaveNetConfig, {"dropout": 0, "cycles": 1, "norm": False}),
        (RecurrentConfig, {"n_embd": 1, "n_hidden": 1, "num_layers": 1, "dropout": 0.999}),
        (TransformerConfig, {"n_embd": 1, "n_hidden": 1, "num_heads": 1, "num_layers": 1}),
    ],
)
def test_the_limit_itself_is_taken(config, arguments):
    made = config(**arguments)
    assert {name: getattr(made, name) for name in arguments} == arguments


def test_dilations_may_be_given_as_a_list_and_are_kept_as_a_tuple():
    given_list = [1, 3]
    config = WaveNetConfig(dilations=given_list)
    given_list.append(9)
    assert config.dilations == (1, 3)
    assert hash(config) == hash(WaveNetConfig(dilations=(1, 3)))
