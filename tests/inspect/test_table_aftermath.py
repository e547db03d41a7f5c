"""What a table leaves behind: nothing, or an error that says where."""

import gc
import subprocess
import sys
import weakref

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import typedwave
from typedwave import ShapeError
from typedwave.inspect import table


def hooks_of(model: nn.Module) -> int:
    return sum(
        len(hooks)
        for module in model.modules()
        for name, hooks in vars(module).items()
        if name.endswith("_hooks") and isinstance(hooks, dict)
    )


class Recorder(nn.Module):
    """Notes the mode and whether gradients are on, and fails if told to."""

    def __init__(self, note, *, fails: bool) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(3), nn.Linear(3, 3))
        self.fails = fails
        self.note = note

    def forward(self, x):
        self.note((self.training, self.inner[1].training, torch.is_grad_enabled()))
        y = self.inner(x)
        if self.fails:
            raise ZeroDivisionError
        return y


@given(fails=st.booleans(), modes=st.lists(st.booleans(), min_size=5, max_size=5))
def test_hooks_are_gone_and_modes_are_back_also_when_the_call_fails(fails, modes):
    seen = []
    network = Recorder(seen.append, fails=fails)
    for module, mode in zip(network.modules(), modes, strict=True):
        module.training = mode
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    if fails:
        with pytest.raises(ZeroDivisionError):
            table(network, torch.ones(2, 3))
    else:
        table(network, torch.ones(2, 3))
    assert seen == [(False, False, False)]
    assert [module.training for module in network.modules()] == modes
    assert hooks_of(network) == 0
    assert torch.is_grad_enabled()
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, state[name]), name


class Remembers(nn.Module):
    """Changes what it holds, in eval mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros(3))
        self.plain, self.seen = torch.zeros(3), []

    def forward(self, x):
        self.total.add_(1)
        self.plain.add_(1)
        self.seen.append(x)
        self.last = x
        return x + torch.rand(3)


def test_what_a_model_writes_into_what_it_holds_is_gone():
    network, generator = nn.Sequential(Remembers()), torch.get_rng_state()
    remembers, buffer = network[0], network[0].total
    assert table(network, torch.zeros(2, 3)).rows[1].output == "f32[2, 3]"
    assert torch.equal(torch.get_rng_state(), generator)
    assert remembers.total is buffer
    assert not buffer.any()
    assert not remembers.plain.any()
    assert remembers.seen == []
    assert not hasattr(remembers, "last")


def test_parameters_are_the_ones_of_the_model_and_no_copies():
    network, seen = nn.Linear(3, 5), []
    network.register_forward_hook(lambda module, *_: seen.append(module.weight))
    table(network, torch.zeros(2, 3))
    assert seen == [network.weight]


def test_a_train_that_does_more_than_to_set_the_mode_is_not_called():
    class Merges(nn.Linear):
        def train(self, mode=True):
            pytest.fail("as LoRA does, this writes into the weight")

    network = Merges(3, 3)
    table(network, torch.zeros(2, 3))
    assert network.training


def test_what_went_into_a_layer_is_let_go_when_the_layer_is_done():
    class Forgets(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(3))

        def forward(self, x):
            for layer in self.layers:
                before, x = weakref.ref(x), layer(x)
            return before() is None

    assert table(Forgets(), torch.zeros(2, 3)).rows[0].output == "bool True"


def test_the_compiler_is_not_imported_for_an_example():
    code = """if True:
        import sys, torch
        from typedwave.inspect import table
        table(torch.nn.Tanh(), torch.zeros(2))
        print("torch._dynamo" in sys.modules)
    """
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert found.stdout.split() == [b"False"]


def test_hooks_of_the_user_stay_and_run_once():
    network, calls = nn.Sequential(nn.Linear(3, 3)), []
    network[0].register_forward_hook(lambda *call: calls.append(1))
    table(network, torch.zeros(2, 3))
    assert calls == [1]
    assert hooks_of(network) == 1


def test_the_model_and_the_example_are_not_kept_alive():
    network, x = nn.Linear(3, 5), torch.zeros(2, 3)
    found = table(network, x)  # noqa: F841  # it lives on
    watched = [weakref.ref(network), weakref.ref(x)]
    del network, x
    gc.collect()
    assert [reference() for reference in watched] == [None, None]


def test_the_example_is_not_written_to_and_the_global_generator_stays():
    torch.manual_seed(3)
    before, x = torch.get_rng_state(), torch.ones(4, 3)
    table(nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(3)), x)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(x, torch.ones(4, 3))


# errors


class TriesAnother(nn.Module):
    """Goes on with another layer where the first one fails, deep inside."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(5, 3))
        self.second = nn.Linear(4, 2)

    def forward(self, x):
        try:
            return self.first(x)
        except RuntimeError:
            return self.second(x)


def test_an_error_of_the_model_is_the_one_that_the_model_would_raise():
    network = typedwave.nn.Sequential(typedwave.nn.Linear(3, 5), typedwave.nn.Linear(4, 2))
    messages = []
    for call in (network, lambda x: table(network, x)):
        with pytest.raises(ShapeError) as caught:
            call(torch.zeros(2, 3))
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert not hasattr(caught.value, "__notes__")
    assert hooks_of(network) == 0


def raised_by(network, *example):
    with pytest.raises((RuntimeError, TypeError, ZeroDivisionError)) as caught:
        table(network, *example)
    return caught.value


def test_an_error_of_torch_has_a_note_of_the_layer():
    network = nn.Sequential(nn.Linear(3, 5), nn.Sequential(nn.Linear(4, 2)))
    error = raised_by(network, torch.zeros(2, 3))
    assert str(error) == "mat1 and mat2 shapes cannot be multiplied (2x5 and 4x2)"
    assert error.__notes__ == ["table: raised in 1.0 (Linear), called on f32[2, 5]"]


def test_the_note_is_of_the_layer_that_raised_and_of_its_last_call():
    class Fails(TriesAnother):
        def forward(self, x):
            super().forward(x)
            return super().forward(x[:, :1])

    error = raised_by(Fails(), torch.zeros(2, 4))
    assert error.__notes__ == ["table: raised in second (Linear), called on f32[2, 1]"]

    class Raises(TriesAnother):
        def forward(self, x):
            super().forward(x)
            raise ZeroDivisionError

    assert raised_by(Raises(), torch.zeros(2, 4)).__notes__ == [
        "table: raised in Raises, called on f32[2, 4]"
    ]


def test_a_call_with_the_wrong_arguments_raises_as_ever():
    error = raised_by(nn.Linear(3, 5), torch.zeros(2, 3), None)
    assert str(error) == "Linear.forward() takes 2 positional arguments but 3 were given"
    assert error.__notes__ == ["table: raised in Linear, called on f32[2, 3], None"]


def test_an_error_from_something_that_cannot_be_looked_up():
    class Equal:
        __hash__ = None

        def fail(self):
            raise ZeroDivisionError

    class Asks(nn.Module):
        def forward(self, x):
            Equal().fail()

    error = raised_by(Asks(), torch.zeros(2))
    assert error.__notes__ == ["table: raised in Asks, called on f32[2]"]


def test_an_error_before_anything_was_called_has_no_note():
    class Refuses(nn.Module):
        def __call__(self, x):
            raise ZeroDivisionError

    assert not hasattr(raised_by(Refuses(), torch.zeros(2)), "__notes__")
