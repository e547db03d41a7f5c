from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import typedwave
from typedwave import IdOutOfRangeError, ShapeError
from typedwave.nn import Embedding, Sequential, Tanh
from typedwave.testing import axis_sizes, leading_axes, normal_tensors

IDS = [torch.int32, torch.int64]


@st.composite
def ids(draw: st.DrawFn, num_embeddings: int, *, smallest: int = 0):
    shape, dtype = draw(leading_axes(smallest=smallest)), draw(st.sampled_from(IDS))
    count = prod(shape)
    values = st.lists(st.integers(0, num_embeddings - 1), min_size=count, max_size=count)
    return torch.tensor(draw(values), dtype=dtype).reshape(shape)


@st.composite
def layers_and_ids(draw: st.DrawFn, *, smallest: int = 0, **options):
    """A layer of ours, torch's of the same table, in one mode, and ids for both."""
    sizes = draw(axis_sizes("num_embeddings", "embedding_dim"))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    ours = Embedding(**sizes, dtype=dtype, **options)
    theirs = torch.nn.Embedding(**sizes, dtype=dtype, **options)
    theirs.weight.data = draw(normal_tensors(theirs.weight.shape, dtype=dtype))
    ours.load_state_dict(theirs.state_dict())
    training = draw(st.booleans())
    x = draw(ids(sizes["num_embeddings"], smallest=smallest))
    return ours.train(training), theirs.train(training), x


def refusal(model: torch.nn.Module, x: object, kind: type[Exception] = ShapeError) -> str:
    with pytest.raises(kind) as caught:
        model(x)
    error = caught.value
    assert error.__context__ is None or error.__suppress_context__, "one exception, no chain"
    return str(error)


@given(layers_and_ids())
def test_the_rows_are_added_as_a_last_axis_in_the_dtype_of_the_table(case):
    ours, _, x = case
    y = ours(x)
    assert y.shape == (*x.shape, ours.embedding_dim)
    assert y.dtype == ours.weight.dtype


@given(layers_and_ids())
def test_it_gives_what_torch_gives_to_the_bit_which_are_rows_of_the_table(case):
    ours, theirs, x = case
    y = ours(x)
    assert torch.equal(y, theirs(x))
    assert torch.equal(y, ours.weight[x.long()])


@pytest.mark.parametrize("options", [{}, {"padding_idx": 1}, {"scale_grad_by_freq": True}])
@given(data=st.data())
def test_the_gradient_is_that_of_torch_and_finite(options, data):
    ours, theirs, x = data.draw(layers_and_ids(**options))
    weights = data.draw(normal_tensors((*x.shape, ours.embedding_dim), dtype=ours.weight.dtype))
    (mine,), (reference,) = (
        torch.autograd.grad(layer(x), [layer.weight], weights) for layer in (ours, theirs)
    )
    assert torch.equal(mine, reference)
    assert mine.isfinite().all()


def test_a_sparse_gradient_is_that_of_torch():
    ours, theirs = Embedding(5, 3, sparse=True), torch.nn.Embedding(5, 3, sparse=True)
    x = torch.tensor([[1, 4], [1, 0]])
    for layer in (ours, theirs):
        layer(x).sum().backward()
    assert ours.weight.grad.is_sparse
    assert torch.equal(ours.weight.grad.to_dense(), theirs.weight.grad.to_dense())


@given(layers_and_ids(max_norm=0.5, norm_type=1.0))
def test_rows_looked_up_are_scaled_to_the_largest_norm_as_in_torch(case):
    ours, theirs, x = case
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours.weight, theirs.weight)


@given(layers_and_ids(smallest=1), st.data())
def test_what_is_at_one_place_reaches_no_other_place(case, data):
    ours, _, x = case
    place = data.draw(st.integers(0, x.numel() - 1))
    changed = x.clone()
    flat = changed.view(-1)
    flat[place] = (flat[place] + 1) % ours.num_embeddings
    y, z = (ours(each).view(-1, ours.embedding_dim) for each in (x, changed))
    assert torch.equal((y != z).any(dim=1), torch.arange(x.numel()) == place)


@given(layers_and_ids())
def test_it_is_the_same_in_train_and_in_eval_mode_and_leaves_ids_and_table_alone(case):
    ours, _, x = case
    ids_before, table_before = x.clone(), ours.weight.detach().clone()
    assert torch.equal(ours.train()(x), ours.eval()(x))
    assert torch.equal(x, ids_before)
    assert torch.equal(ours.weight, table_before)


def test_the_padding_row_starts_as_zeros_and_gets_no_gradient():
    layer = Embedding(5, 3, padding_idx=2)
    assert torch.equal(layer.weight[2], torch.zeros(3))
    layer(torch.tensor([2, 4])).sum().backward()
    assert torch.equal(layer.weight.grad.any(dim=1), torch.arange(5) == 4)


def test_a_table_that_was_made_elsewhere_is_taken_as_it_is():
    table = torch.randn(5, 3, dtype=torch.float64)
    layer = Embedding.from_pretrained(table)
    assert type(layer) is Embedding
    assert (layer.num_embeddings, layer.embedding_dim) == (5, 3)
    assert not layer.weight.requires_grad
    assert Embedding.from_pretrained(table, freeze=False).weight.requires_grad
    assert torch.equal(layer(torch.tensor([4, 0])), table[[4, 0]])


def test_its_state_dict_is_one_of_torch_and_the_other_way_round():
    ours, theirs, again = Embedding(5, 3), torch.nn.Embedding(5, 3), torch.nn.Embedding(5, 3)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    again.load_state_dict(ours.state_dict(), strict=True)
    assert torch.equal(ours.weight, theirs.weight)
    assert torch.equal(again.weight, theirs.weight)


def test_it_starts_with_the_table_that_torch_would_draw():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        ours = Embedding(7, 5)
        torch.manual_seed(3)
        theirs = torch.nn.Embedding(7, 5)
    assert torch.equal(ours.weight, theirs.weight)


def test_its_table_is_made_on_the_device_and_of_the_dtype_asked_for():
    layer = Embedding(5, 3, device="meta", dtype=torch.float64)
    assert (layer.weight.device.type, layer.weight.dtype) == ("meta", torch.float64)
    y = layer(torch.zeros(2, 7, device="meta", dtype=torch.int64))
    assert (y.shape, y.device.type, y.dtype) == ((2, 7, 3), "meta", torch.float64)


def test_it_is_an_embedding_of_torch_and_a_module_of_typedwave():
    layer = Embedding(5, 3)
    assert isinstance(layer, torch.nn.Embedding)
    assert isinstance(layer, typedwave.Module)


def test_it_prints_its_arguments():
    assert repr(Embedding(27, 10)) == "Embedding(27, 10)"
    assert repr(Embedding(27, 10, padding_idx=0)) == "Embedding(27, 10, padding_idx=0)"


def test_ids_that_are_no_integers_are_refused():
    assert refusal(Embedding(27, 10), torch.zeros(32, 8)) == (
        """\
Embedding: x has the wrong dtype
  expected  Int32 "*B" or Int64 "*B"
  got       f32[32, 8]   its dtype is float32
  perhaps   x.long()"""
    )


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int8, torch.int16, torch.float64])
def test_only_int32_and_int64_are_ids(dtype):
    with pytest.raises(ShapeError, match="x has the wrong dtype"):
        Embedding(27, 10)(torch.zeros(3, dtype=dtype))


def test_what_is_no_tensor_is_refused():
    assert refusal(Embedding(27, 10), 3) == (
        """\
Embedding: x is not a tensor
  expected  Int32 "*B" or Int64 "*B"
  got       int 3"""
    )


@pytest.mark.parametrize("container", [torch.nn.Sequential, Sequential])
def test_the_error_has_the_path_inside_a_model(container):
    assert refusal(container(Tanh(), Embedding(27, 10)), torch.zeros(3)) == (
        """\
1 (Embedding): x has the wrong dtype
  expected  Int32 "*B" or Int64 "*B"
  got       f32[3]   its dtype is float32
  shapes until here
    0  Tanh       f32[3]  -> f32[3]
    1  Embedding  f32[3]  -> refused
  perhaps   x.long()"""
    )


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            torch.tensor([[3, 26], [27, 1]]),
            "Embedding: x holds the id 27 at position [1, 0]; "
            "ids are 0 to 26, as num_embeddings = 27",
        ),
        (
            torch.tensor([0, 0, -1], dtype=torch.int32),
            "Embedding: x holds the id -1 at position [2]; ids are 0 to 26, as num_embeddings = 27",
        ),
        (
            torch.tensor([[0, 27], [5, -1]]),
            "Embedding: x holds the id 27 at position [0, 1], and 1 more; "
            "ids are 0 to 26, as num_embeddings = 27",
        ),
        (
            torch.tensor([[0, 99], [-5, 27]]),
            "Embedding: x holds the id 99 at position [0, 1], and 2 more; "
            "ids are 0 to 26, as num_embeddings = 27",
        ),
        (
            torch.tensor(27),
            "Embedding: x holds the id 27; ids are 0 to 26, as num_embeddings = 27",
        ),
    ],
    ids=["too large", "negative", "two", "several", "a number"],
)
def test_an_id_that_is_no_row_is_named_with_its_position(x, message):
    assert refusal(Embedding(27, 10), x, IdOutOfRangeError) == message


@pytest.mark.parametrize("kind", [ValueError, IndexError])
def test_an_id_that_is_no_row_is_a_wrong_value_and_the_index_error_that_torch_raises(kind):
    with pytest.raises(kind, match="x holds the id 27 "):
        Embedding(27, 10)(torch.tensor([27]))


@pytest.mark.parametrize("container", [torch.nn.Sequential, Sequential])
def test_an_id_that_is_no_row_is_reported_with_the_path_inside_a_model(container):
    model = container(Embedding(27, 10), Tanh())
    assert refusal(model, torch.tensor([27]), IdOutOfRangeError) == (
        "0 (Embedding): x holds the id 27 at position [0]; ids are 0 to 26, as num_embeddings = 27"
    )


@given(layers_and_ids(smallest=1), st.data())
def test_ids_pass_exactly_if_each_is_a_row(case, data):
    ours, _, x = case
    place = data.draw(st.integers(0, x.numel() - 1))
    value = data.draw(st.integers(-3, ours.num_embeddings + 3))
    x.view(-1)[place] = value
    if 0 <= value < ours.num_embeddings:
        assert torch.equal(ours(x).view(-1, ours.embedding_dim)[place], ours.weight[value])
    else:
        with pytest.raises(IdOutOfRangeError, match=f"x holds the id {value}[; ]"):
            ours(x)
