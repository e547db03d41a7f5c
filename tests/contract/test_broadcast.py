import copy
import operator
import pickle
import traceback
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from typedwave import BroadcastError, ShapeError, no_broadcast

Shapes = list[tuple[int, ...]]
VECTOR, COLUMN, MATRIX = torch.rand(3), torch.rand(3, 1), torch.rand(2, 3)

BINARY = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": operator.pow,
    "<": operator.lt,
    "==": operator.eq,
    "&": lambda a, b: a.bool() & b.bool(),
    "maximum": torch.maximum,
    "atan2": torch.atan2,
    "xlogy": torch.special.xlogy,
    "masked_fill": lambda a, b: a.masked_fill(b > 0, 1.0),
}
TERNARY = {
    "where": lambda a, b, c: torch.where(a > 0, b, c),
    "clamp": torch.clamp,
    "lerp": torch.lerp,
    "addcmul": torch.addcmul,
    "addcdiv": torch.addcdiv,
}
LOSSES = {
    "mse_loss": F.mse_loss,
    "l1_loss": F.l1_loss,
    "smooth_l1_loss": F.smooth_l1_loss,
    "huber_loss": F.huber_loss,
    "poisson_nll_loss": F.poisson_nll_loss,
    "kl_div": partial(F.kl_div, reduction="batchmean"),
    "hinge_embedding_loss": F.hinge_embedding_loss,
    "MSELoss": nn.MSELoss(),
    "L1Loss": nn.L1Loss(reduction="sum"),
}


@st.composite
def fitting_shapes(draw: st.DrawFn, count: int) -> Shapes:
    """Shapes that broadcast together: of the same result, with ones and without leading axes."""
    result = draw(st.lists(st.integers(0, 3), max_size=3))
    shapes = []
    for _ in range(count):
        first = draw(st.integers(0, len(result)))
        axes = [(1, size)[draw(st.booleans())] for size in result[first:]]
        shapes.append(tuple(axes))
    return shapes


def is_refused(shapes: Shapes, *, one_sided: bool) -> bool:
    """What the docstring says."""
    shapes = [shape for shape in shapes if shape]
    together = tuple(torch.broadcast_shapes(*shapes))
    if one_sided:
        return bool(shapes) and together not in shapes
    return any(shape != together for shape in shapes)


def refuses(call, *tensors, one_sided: bool) -> bool:
    try:
        with no_broadcast(one_sided=one_sided):
            call(*tensors)
    except BroadcastError:
        return True
    return False


# what is refused


@pytest.mark.parametrize("call", BINARY.values(), ids=BINARY)
@given(shapes=fitting_shapes(2), one_sided=st.booleans())
def test_two_tensors_are_refused_by_what_their_shapes_make(call, shapes, one_sided):
    tensors = map(torch.ones, shapes)
    assert refuses(call, *tensors, one_sided=one_sided) == is_refused(shapes, one_sided=one_sided)


@pytest.mark.parametrize("call", TERNARY.values(), ids=TERNARY)
@given(shapes=fitting_shapes(3), one_sided=st.booleans())
def test_three_tensors_are_refused_by_what_their_shapes_make(call, shapes, one_sided):
    tensors = map(torch.ones, shapes)
    assert refuses(call, *tensors, one_sided=one_sided) == is_refused(shapes, one_sided=one_sided)


@given(shapes=fitting_shapes(2), one_sided=st.booleans())
def test_what_passes_gives_what_it_gives_without(shapes, one_sided):
    a, b = map(torch.rand, shapes)
    if not is_refused(shapes, one_sided=one_sided):
        with no_broadcast(one_sided=one_sided):
            assert torch.equal(a - b, torch.sub(a, b))


@given(fitting_shapes(2))
def test_in_place_only_the_other_tensor_can_be_of_another_shape(shapes):
    target, other = torch.zeros(torch.broadcast_shapes(*shapes)), torch.ones(shapes[1])
    for call in (operator.iadd, operator.imul, torch.Tensor.clamp_min_):
        assert not refuses(call, target, other, one_sided=True)
        expected = other.ndim > 0 and other.shape != target.shape
        assert refuses(call, target, other, one_sided=False) == expected


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_a_loss_of_all_pairs_is_refused_however_it_is_called(loss):
    assert refuses(loss, VECTOR, COLUMN, one_sided=True)
    assert refuses(loss, COLUMN, VECTOR, one_sided=True)
    assert refuses(lambda: loss(input=VECTOR, target=COLUMN), one_sided=True)
    assert not refuses(loss, VECTOR, VECTOR, one_sided=False)


def test_a_tensor_by_keyword_is_looked_at():
    assert refuses(lambda: VECTOR.clamp(min=COLUMN), one_sided=True)
    assert refuses(lambda: VECTOR.clamp(max=COLUMN), one_sided=True)
    assert refuses(lambda: torch.add(input=VECTOR, other=COLUMN, alpha=2), one_sided=True)
    assert refuses(lambda: VECTOR.lerp(end=COLUMN, weight=0.5), one_sided=True)
    assert refuses(lambda: F.mse_loss(VECTOR, VECTOR, weight=COLUMN), one_sided=True)


def test_numbers_and_tensors_without_axes_always_pass():
    number = torch.tensor(2.0)
    with no_broadcast(one_sided=False):
        assert torch.equal(number * MATRIX + 1, 1 + MATRIX * 2)
        assert torch.where(MATRIX > 0, number, 0.0).shape == (2, 3)
        assert number.lerp(number, number) == 2


def test_shapes_that_torch_refuses_are_left_to_torch():
    with no_broadcast(), pytest.raises(RuntimeError, match="must match the size") as caught:
        VECTOR + torch.zeros(4)
    assert type(caught.value) is RuntimeError


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(3, 5),
        nn.LayerNorm(3),
        nn.BatchNorm1d(3),
        nn.GRU(3, 4),
        nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Dropout(), nn.Softmax(-1)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_of_torch_pass(layer):
    with no_broadcast():
        layer(MATRIX)


NAMED = {
    "einsum": lambda: torch.einsum("i, j -> i j", VECTOR, VECTOR),
    "outer": lambda: torch.outer(VECTOR, VECTOR),
    "kron": lambda: torch.kron(torch.eye(2), torch.ones(3, 3)),
    "attention with two masks": lambda: nn.MultiheadAttention(4, 2, batch_first=True)(
        *[torch.ones(3, 5, 4)] * 3, attn_mask=torch.eye(5), key_padding_mask=torch.ones(3, 5)
    ),
}


@pytest.mark.parametrize("call", NAMED.values(), ids=NAMED)
def test_an_outer_product_by_its_name_passes(call):
    assert not refuses(call, one_sided=True)
    assert refuses(lambda: (call(), VECTOR - COLUMN), one_sided=True)  # and no other after it


# where it holds


def test_outside_of_it_everything_passes():
    with no_broadcast():
        pass
    assert (VECTOR - COLUMN).shape == (3, 3)


@pytest.mark.parametrize(
    ("call", "error"),
    [(lambda: VECTOR + COLUMN, BroadcastError), (lambda: {}["missing"], KeyError)],
    ids=["its own", "another"],
)
def test_it_is_clean_after_an_error(call, error):
    with pytest.raises(error), no_broadcast(one_sided=False):
        call()
    assert (VECTOR + COLUMN).shape == (3, 3)


def test_it_goes_on_after_an_error_that_was_caught_inside():
    with no_broadcast():
        for _ in range(2):
            with pytest.raises(BroadcastError):
                VECTOR + COLUMN


def test_of_nested_ones_the_stricter_holds_and_each_ends_by_itself():
    with no_broadcast():
        with no_broadcast(one_sided=False):
            assert refuses(lambda: MATRIX + VECTOR, one_sided=True)
            with no_broadcast(), pytest.raises(BroadcastError):
                MATRIX + VECTOR
        MATRIX + VECTOR
        with pytest.raises(BroadcastError):
            VECTOR + COLUMN
    VECTOR + COLUMN


def test_it_is_a_decorator_too():
    @no_broadcast()
    def errors():
        return VECTOR - COLUMN

    for _ in range(2):
        with pytest.raises(BroadcastError):
            errors()
    VECTOR - COLUMN


def test_another_thread_is_not_affected():
    with ThreadPoolExecutor(1) as pool:
        with no_broadcast():
            shape = pool.submit(lambda: (VECTOR + COLUMN).shape).result()
        assert shape == (3, 3)
        inside = pool.submit(refuses, operator.add, VECTOR, COLUMN, one_sided=True)
        assert inside.result()
    VECTOR + COLUMN


def test_what_goes_back_is_not_looked_at():
    class Scales(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, grad):
            return (grad - grad[:, None]).mean(0) + grad

    x = torch.rand(3, requires_grad=True)
    with no_broadcast(one_sided=False):
        Scales.apply(x).sum().backward()
        x.expand(4, 3).sum().backward()
        assert torch.equal(x.grad, torch.full((3,), 5.0))
        with pytest.raises(BroadcastError):
            VECTOR - COLUMN


def test_training_is_as_without():
    def losses(**options):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
        optimizer = torch.optim.Adam(model.parameters())
        for _ in range(3):
            loss = F.mse_loss(model(torch.rand(5, 3)), torch.rand(5, 1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield loss.item()

    with torch.random.fork_rng():
        plain = [*losses()]
        with no_broadcast():
            assert [*losses()] == plain


# what it says


def all_pairs():
    return (
        torch.zeros(5)
        - torch.zeros(5, 1)
    )  # fmt: skip


def test_a_message_says_where_what_and_how():
    with pytest.raises(BroadcastError) as caught, no_broadcast():
        all_pairs()
    error = caught.value
    assert error.where == f"{__file__}:{all_pairs.__code__.co_firstlineno + 2}"
    assert (error.operation, error.shapes, error.together) == ("sub", ((5,), (5, 1)), (5, 5))
    assert str(error) == (
        f"{error.where}: sub broadcasts its arguments against each other: [5] and [5, 1] give "
        "[5, 5], a shape that none of them has; reshape them first"
    )
    assert not isinstance(error, ShapeError | TypeError)


def test_a_message_of_the_one_sided_kind_and_of_three():
    with pytest.raises(BroadcastError) as caught, no_broadcast(one_sided=False):
        torch.where(MATRIX > 0, VECTOR, torch.zeros(1))
    assert str(caught.value) == (
        f"{caught.value.where}: where broadcasts its arguments one to the shape of the other: "
        "[2, 3] and [3] and [1] give [2, 3]; reshape them first"
    )


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("add", lambda: MATRIX.clone().add_(VECTOR)),
        ("mul", lambda: operator.imul(MATRIX.clone(), VECTOR)),
        ("mse_loss", lambda: nn.MSELoss()(MATRIX, VECTOR)),
        ("lshift", lambda: MATRIX.long() << VECTOR.long()),
    ],
)
def test_an_operation_has_its_plain_name(name, call):
    with pytest.raises(BroadcastError) as caught, no_broadcast(one_sided=False):
        call()
    assert caught.value.operation == name


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_the_line_is_that_of_the_user_however_deep_torch_is_in_between():
    loss = nn.Sequential(nn.Identity())
    loss.forward = lambda x: F.gaussian_nll_loss(x, COLUMN, torch.ones(3))
    for call in (lambda: loss(VECTOR), lambda: nn.MSELoss()(VECTOR, COLUMN)):
        with pytest.raises(BroadcastError) as caught, no_broadcast():
            call()
        raised = traceback.extract_tb(caught.value.__traceback__)
        ours = [f"{frame.filename}:{frame.lineno}" for frame in raised if __file__ in str(frame)]
        assert caught.value.where == ours[-1]


def test_an_error_is_the_same_after_pickling_and_copying():
    error = BroadcastError("file.py:3", "add", [(3,), (3, 1)], (3, 3))
    for twin in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error), copy.copy(error)):
        assert type(twin) is BroadcastError
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)
