"""The tree as dilated convolutions gives what the tree gives, and computes a node once."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from streamed import assert_close, cuts, in_pieces, made, random_ids, refusal, trees
from torch import Tensor

from typedwave.lab.words.corpus import Vocabulary, examples
from typedwave.models import MLP, Dilated, NetworkConfig, Windowed, build, to_dilated
from typedwave.nn import BatchNorm1d, Linear

DTYPES = (torch.float32, torch.float64)
both_kinds = trees("flat") | trees()
seeds = st.integers(0, 2**32)


@torch.enable_grad()
def trained(config: NetworkConfig, *, vocab_size: int, seed: int, dtype: torch.dtype) -> MLP:
    """After some steps of training, so that the statistics are those of what it has seen."""
    generator = torch.Generator().manual_seed(seed)
    tree = build(config, vocab_size=vocab_size, generator=generator, dtype=dtype)
    optimizer = torch.optim.SGD(tree.parameters(), lr=0.5)
    for _ in range(4):
        ids = torch.randint(vocab_size, (9, config.context + 1), generator=generator)
        loss = F.cross_entropy(tree(ids[:, :-1]), ids[:, -1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for norm in norms_of(tree):
        assert int(norm.num_batches_tracked) == 4
        assert not torch.equal(norm.running_var, torch.ones_like(norm.running_var))
        assert not torch.equal(norm.weight, torch.ones_like(norm.weight)) or vocab_size == 1
    optimizer.zero_grad()
    return tree.eval()


def norms_of(network: torch.nn.Module) -> list[BatchNorm1d]:
    return [module for module in network.modules() if isinstance(module, BatchNorm1d)]


@dataclass
class Drawn:
    tree: MLP
    names: list[list[int]]

    @property
    def ids(self) -> Tensor:
        """A row for each name: the boundary, its ids, and then some that do not matter."""
        longest = max(map(len, self.names))
        last = self.tree.vocab_size - 1
        rows = [[0, *name, *[last] * (longest - len(name))] for name in self.names]
        return torch.tensor(rows)

    def positions(self) -> Iterator[tuple[int, int]]:
        """Row and place of each boundary and id."""
        for row, name in enumerate(self.names):
            for t in range(len(name) + 1):
                yield row, t

    def windows(self) -> Tensor:
        """The window that ends at each of them."""
        before, rows = [0] * self.tree.context, []
        for row, t in self.positions():
            rows.append([*before, 0, *self.names[row]][: len(before) + t + 1][-len(before) :])
        return torch.tensor(rows)

    def logits(self, model: torch.nn.Module) -> Tensor:
        """What a model of sequences gives at each of them."""
        rows, places = zip(*self.positions(), strict=True)
        return model(self.ids)[list(rows), list(places)]


@st.composite
def trees_and_names(draw: st.DrawFn) -> Drawn:
    vocab_size = draw(st.integers(1, 12))
    tree = trained(
        draw(both_kinds),
        vocab_size=vocab_size,
        seed=draw(seeds),
        dtype=draw(st.sampled_from(DTYPES)),
    )
    name = st.lists(st.integers(0, vocab_size - 1), max_size=9)
    names = draw(st.lists(name, min_size=1, max_size=3))
    if draw(st.booleans()):  # longer than any window
        names.append(random_ids(75, vocab_size=vocab_size, seed=draw(seeds)).tolist())
    return Drawn(tree, names)


# the property


@given(case=trees_and_names(), fold=st.booleans())
@torch.no_grad()
def test_each_position_of_each_name_has_the_logits_of_the_tree_for_its_window(case, fold):
    dilated = to_dilated(case.tree, fold_batch_norm=fold)
    # Products are summed in another order, and folded ones were multiplied first.
    assert_close(case.logits(dilated), case.tree(case.windows()))


@given(case=trees_and_names(), fold=st.booleans(), data=st.data())
@torch.no_grad()
def test_in_any_pieces_too(case, fold, data):
    dilated = to_dilated(case.tree, fold_batch_norm=fold)
    lengths = data.draw(cuts(case.ids.shape[1]))
    streamed = case.logits(lambda ids: in_pieces(dilated, ids, lengths))
    # Sums in another order.
    assert_close(streamed, case.tree(case.windows()))


@pytest.mark.parametrize("fold", [False, True])
@torch.no_grad()
def test_on_words_the_logits_are_those_on_the_examples_of_the_lab(fold):
    words = ["emma", "o", "maximilian", "ada"]
    vocabulary = Vocabulary.of(words)
    tree = trained(NetworkConfig(), vocab_size=len(vocabulary), seed=3, dtype=torch.float64)
    contexts, _ = examples(words, vocabulary, context=8)
    dilated = to_dilated(tree, fold_batch_norm=fold)
    logits = [dilated(torch.tensor([[0, *vocabulary.encode(word)]]))[0] for word in words]
    assert_close(torch.cat(logits), tree(contexts))


@pytest.mark.parametrize("dtype", DTYPES)
@torch.no_grad()
def test_in_numbers_the_rounding_is_some_units_of_the_last_place(dtype):
    tree = trained(NetworkConfig(), vocab_size=27, seed=1, dtype=dtype)
    ids = random_ids(16, 30, vocab_size=27)
    windowed = Windowed(tree)(ids)
    for fold in (False, True):
        difference = (to_dilated(tree, fold_batch_norm=fold)(ids) - windowed).abs().max()
        # Logits of about 1, three sums of 256 products each.
        assert difference <= 32 * torch.finfo(dtype).eps * windowed.abs().max()


@given(config=both_kinds, seed=seeds)
def test_the_gradients_are_those_of_the_tree_at_all_windows(config, seed):
    tree = trained(config, vocab_size=5, seed=seed, dtype=torch.float64)
    dilated, ids = to_dilated(tree), random_ids(2, 11, seed=seed)
    found = []
    for model in (dilated, Windowed(tree)):
        logits = model(ids)
        weights = torch.linspace(-1, 1, logits.numel(), dtype=logits.dtype).reshape(logits.shape)
        found.append(torch.autograd.grad((logits * weights).sum(), [*model.parameters()]))
    for mine, reference in zip(*found, strict=True):
        if mine.ndim == 3:  # (out, c, fuse), where the tree has the neighbours one after another
            mine = mine.transpose(1, 2).flatten(1)
        # Sums of many positions in another order.
        torch.testing.assert_close(mine, reference, rtol=1e-8, atol=1e-9)


# what it is made of


@given(config=both_kinds, fold=st.booleans())
def test_the_receptive_field_is_the_context(config, fold):
    tree = MLP(config, vocab_size=3)
    dilated = to_dilated(tree, fold_batch_norm=fold)
    assert isinstance(dilated, Dilated)
    assert dilated.receptive_field == config.context
    assert dilated.vocab_size == 3
    flat = config.network == "flat"
    expected = [(config.context, 1)] if flat else []
    expected += [(config.fuse, config.fuse**level) for level in range(config.levels) if not flat]
    convolutions = [level.conv for level in dilated.levels]
    assert [(conv.kernel_size, conv.dilation) for conv in convolutions] == expected
    assert [conv.bias is not None for conv in convolutions] == [fold] * len(expected)
    assert [level.norm is None for level in dilated.levels] == [fold] * len(expected)


@given(config=both_kinds, seed=seeds)
def test_the_weights_are_the_same_numbers(config, seed):
    tree = trained(config, vocab_size=5, seed=seed, dtype=torch.float32)
    dilated = to_dilated(tree)
    linears = [layer for layer in tree.layers if isinstance(layer, Linear)]
    for level, linear in zip(dilated.levels, linears, strict=False):
        fuse = level.conv.kernel_size
        for place, columns in enumerate(linear.weight.chunk(fuse, dim=1)):
            assert torch.equal(level.conv.weight[:, :, place], columns)
    for mine, norm in zip(norms_of(dilated), norms_of(tree), strict=True):
        assert mine.unbiased == config.unbiased
        for name, tensor in norm.state_dict().items():
            assert torch.equal(mine.state_dict()[name], tensor), name
    assert torch.equal(dilated.embedding.weight, tree.layers[0].weight)
    assert torch.equal(dilated.head.weight, tree.head.weight)
    assert torch.equal(dilated.head.bias, tree.head.bias)


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_the_tree_stays_as_it_is_and_shares_no_memory(fold, training):
    tree = trained(NetworkConfig(context=4), vocab_size=5, seed=1, dtype=torch.float32)
    tree.train(training)
    before = copy.deepcopy(tree.state_dict())
    dilated = to_dilated(tree, fold_batch_norm=fold)
    assert {module.training for module in dilated.modules()} == {training}
    assert {module.training for module in tree.modules()} == {training}
    memory = {tensor.untyped_storage().data_ptr() for tensor in tree.state_dict().values()}
    for name, tensor in dilated.state_dict().items():
        assert tensor.untyped_storage().data_ptr() not in memory, name
    assert all(parameter.requires_grad for parameter in dilated.parameters())
    assert all(parameter.is_leaf for parameter in dilated.parameters())

    loss = dilated.train()(random_ids(2, 9)).square().mean()
    loss.backward()
    torch.optim.SGD(dilated.parameters(), lr=0.1).step()
    assert tree.state_dict().keys() == before.keys()
    for name, tensor in tree.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    for name, parameter in tree.named_parameters():
        assert parameter.grad is None, name
        assert parameter.requires_grad, name


def test_the_gradients_of_the_tree_do_not_come_along():
    tree = made_in_training()
    tree(random_ids(4, 4)).sum().backward()
    assert {parameter.grad is None for parameter in to_dilated(tree).parameters()} == {True}


@given(config=both_kinds, dtype=st.sampled_from(DTYPES), fold=st.booleans())
def test_the_copy_has_the_dtype_and_device_of_the_tree(config, dtype, fold):
    for device in ("cpu", "meta"):
        tree = MLP(config, vocab_size=5, dtype=dtype, device=device)
        for name, tensor in to_dilated(tree, fold_batch_norm=fold).state_dict().items():
            assert tensor.device.type == device, name
            assert tensor.dtype == (torch.int64 if "num_batches" in name else dtype), name


@pytest.mark.parametrize("fold", [False, True])
def test_no_random_number_is_drawn(fold):
    tree = MLP(NetworkConfig(context=4), vocab_size=5)
    before = torch.get_rng_state()
    to_dilated(tree, fold_batch_norm=fold)
    assert torch.equal(torch.get_rng_state(), before)


# in training


def made_in_training() -> MLP:
    config = NetworkConfig(context=4, n_embd=3, n_hidden=7)
    return trained(config, vocab_size=5, seed=2, dtype=torch.float64).train()


@given(config=both_kinds, seed=seeds)
def test_in_training_the_statistics_of_batch_norm_are_over_all_positions(config, seed):
    tree = trained(config, vocab_size=5, seed=seed, dtype=torch.float64)
    dilated, ids = to_dilated(tree.train()), random_ids(3, 6, seed=seed)
    before = copy.deepcopy(dilated)
    logits = dilated(ids)

    x = before.embedding.weight[F.pad(ids, (config.context - 1, 0))]
    for level, moved in zip(before.levels, dilated.levels, strict=True):
        conv, norm = level.conv, level.norm
        length = x.shape[1] - (conv.kernel_size - 1) * conv.dilation
        y = sum(
            x[:, k * conv.dilation :][:, :length] @ conv.weight[:, :, k].T
            for k in range(conv.kernel_size)
        )
        count = y.shape[0] * y.shape[1]  # the columns before the first position among them
        mean, var = y.mean((0, 1)), y.var((0, 1), correction=1)
        assert_close(moved.norm.running_mean, 0.9 * norm.running_mean + 0.1 * mean)
        assert_close(moved.norm.running_var, 0.9 * norm.running_var + 0.1 * var)
        if not config.unbiased:
            var = var * (count - 1) / count
        x = torch.tanh((y - mean) / torch.sqrt(var + 1e-5) * norm.weight + norm.bias)
    expected = x @ before.head.weight.T + before.head.bias
    # A channel that hardly varies is divided by next to nothing.
    torch.testing.assert_close(logits, expected, rtol=1e-6, atol=1e-6)


def test_it_can_be_trained_further():
    dilated = to_dilated(made_in_training())
    ids, before = random_ids(4, 12, seed=5), copy.deepcopy(dilated.state_dict())
    optimizer = torch.optim.SGD(dilated.parameters(), lr=0.3)
    losses = []
    for _ in range(30):
        loss = F.cross_entropy(dilated(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    for name, tensor in dilated.state_dict().items():
        assert not torch.equal(tensor, before[name]), name


# what is shared


def rows_that_come_out(
    model: torch.nn.Module, layers: Sequence[torch.nn.Module], call
) -> list[int]:
    """Of each layer, the rows of C channels that one call computes."""
    rows = [0] * len(layers)

    def counted(place: int):
        def hook(layer: torch.nn.Module, args: object, result: Tensor) -> None:
            rows[place] += result[..., 0].numel()

        return hook

    handles = [layer.register_forward_hook(counted(n)) for n, layer in enumerate(layers)]
    call(model)
    for handle in handles:
        handle.remove()
    return rows


@given(config=both_kinds, batch=st.integers(1, 3), length=st.integers(1, 40))
@torch.no_grad()
def test_a_node_is_computed_once_for_a_position_and_not_for_each_window(config, batch, length):
    tree = MLP(config, vocab_size=5).eval()
    dilated, windowed = to_dilated(tree), Windowed(tree)
    ids, context = random_ids(batch, length), config.context
    flat = config.network == "flat"
    # Ids below a node of each level.
    below = [context] if flat else [config.fuse**level for level in range(1, config.levels + 1)]
    linears = [layer for layer in tree.layers if isinstance(layer, Linear)][:-1]

    assert rows_that_come_out(windowed, linears, lambda model: model(ids)) == [
        batch * length * context // n for n in below
    ]
    # One for each position, and those before the first one that something above looks back on.
    assert rows_that_come_out(dilated, dilated.levels, lambda model: model(ids)) == [
        batch * (length + context - n) for n in below
    ]
    state = dilated.initial_state(batch)
    for piece in ids.split(3, 1):
        rows = rows_that_come_out(
            dilated, [*dilated.levels, dilated.head], lambda model, x=piece: model.stream(x, state)
        )
        assert rows == [piece.numel()] * (len(below) + 1)


@torch.no_grad()
def test_for_the_network_of_the_lecture_these_are_7_nodes_a_window_or_3():
    tree = MLP(NetworkConfig(), vocab_size=5).eval()
    dilated, ids = to_dilated(tree), random_ids(1, 1000)
    linears = [tree.layers[place] for place in (2, 6, 10)]
    assert rows_that_come_out(Windowed(tree), linears, lambda m: m(ids)) == [4000, 2000, 1000]
    assert rows_that_come_out(dilated, dilated.levels, lambda m: m(ids)) == [1006, 1004, 1000]


@torch.no_grad()
def test_the_state_before_a_batch_is_computed_for_one_sequence():
    dilated = made(NetworkConfig())
    rows = rows_that_come_out(dilated, dilated.levels, lambda model: model.initial_state(50))
    assert rows == [8, 8, 8]


# what it refuses


def changed(place: int | None, layer: torch.nn.Module | None) -> MLP:
    tree = made_in_training().eval()
    layers = [*tree.layers]
    if place is None:
        layers.insert(-1, layer)
    else:
        layers[place] = layer
    tree.layers = type(tree.layers)(*layers)
    return tree


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize(
    ("place", "layer", "message"),
    [
        (0, torch.nn.Flatten(), "layers.0 is Flatten, but a tree has Embedding there"),
        (4, torch.nn.ReLU(), "layers.4 is ReLU, but a tree has Tanh there"),
        (3, torch.nn.LayerNorm(7), "layers.3 is LayerNorm, but a tree has BatchNorm1d there"),
        (1, torch.nn.Flatten(), "layers.1 is Flatten, but a tree has FlattenConsecutive there"),
        (9, torch.nn.Identity(), "layers.9 is Identity, but a tree has Linear there"),
        (None, torch.nn.Dropout(0.5), "layers.9 is Dropout, but a tree has Linear there"),
    ],
)
def test_a_tree_with_other_layers_in_it_is_refused(place, layer, message, fold):
    told = refusal(to_dilated, changed(place, layer), fold_batch_norm=fold)
    assert told == f"to_dilated: {message}"


@pytest.mark.parametrize(("more", "levels", "has"), [(1, 2, 10), (2, 2, 10), (3, 2, 10)])
def test_a_tree_with_layers_at_its_end_is_refused(more, levels, has):
    tree = made_in_training()
    tree.layers = type(tree.layers)(*tree.layers, *[torch.nn.Tanh() for _ in range(more)])
    assert refusal(to_dilated, tree) == (
        f"to_dilated: the tree has {has + more} layers, but one of {levels} levels has {has}"
    )


@pytest.mark.parametrize("fold", [False, True])
@torch.no_grad()
def test_a_bias_is_kept(fold):
    tree, ids = changed(2, Linear(6, 7, dtype=torch.float64)), random_ids(2, 9)
    dilated = to_dilated(tree, fold_batch_norm=fold)
    assert_close(dilated(ids), Windowed(tree)(ids))
