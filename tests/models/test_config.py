import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from typedwave.models import NetworkConfig


def refusal(**arguments) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        NetworkConfig(**arguments)
    assert type(caught.value) is ValueError
    return str(caught.value)


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
    assert refusal(context=context, fuse=fuse) == (
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
    assert refusal(**arguments) == message


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
