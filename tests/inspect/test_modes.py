import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from typedwave.inspect import modes_kept


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Dropout(), nn.BatchNorm1d(3)), nn.Tanh())


def modes_of(module: nn.Module) -> list[bool]:
    return [inner.training for inner in module.modules()]


def put(module: nn.Module, modes: list[bool]) -> None:
    for inner, mode in zip(module.modules(), modes, strict=True):
        inner.training = mode


modes = st.lists(st.booleans(), min_size=6, max_size=6)


@given(before=modes, within=modes, fails=st.booleans())
def test_every_module_has_its_own_mode_again_also_after_an_exception(before, within, fails):
    network = model()
    put(network, before)
    try:
        with modes_kept(network):
            assert modes_of(network) == before
            put(network, within)
            if fails:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert fails
    assert modes_of(network) == before


@given(before=modes)
def test_one_inside_another_gives_back_what_each_was_given(before):
    network = model()
    put(network, before)
    with modes_kept(network):
        network.eval()
        with modes_kept(network):
            network.train()
        assert not any(modes_of(network))
    assert modes_of(network) == before


def test_an_exception_goes_through():
    with pytest.raises(ZeroDivisionError), modes_kept(model()):
        raise ZeroDivisionError


def test_a_train_that_freezes_a_layer_is_not_called_on_the_way_out():
    class Frozen(nn.Linear):
        def train(self, mode=True):
            return super().train(False)

    network = nn.Sequential(Frozen(2, 2))
    network[0].training = True
    with modes_kept(network):
        network.eval()
    assert modes_of(network) == [True, True]


def test_a_module_that_is_added_meanwhile_keeps_the_mode_it_came_with():
    network = nn.Sequential()
    with modes_kept(network):
        network.append(nn.Tanh().eval())
    assert modes_of(network) == [True, False]


def test_what_a_call_does_in_the_block_is_done():
    network = nn.BatchNorm1d(3)
    with modes_kept(network):
        network.eval()
        network(torch.ones(2, 3))
    assert network.num_batches_tracked == 0
    assert network.training
