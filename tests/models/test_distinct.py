"""The tree over many windows, of which each distinct node is computed once."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from streamed import assert_close, looking_trained, random_ids, refusal, trees

from typedwave import IdOutOfRangeError, ShapeError
from typedwave.models import MLP, NetworkConfig, logits_of_windows


def tree_of(config: NetworkConfig, *, vocab_size: int = 5, seed: int = 0) -> MLP:
    return looking_trained(MLP(config, vocab_size=vocab_size, dtype=torch.float64), seed=seed)


@given(
    config=trees("flat") | trees(),
    vocab_size=st.integers(1, 9),
    count=st.integers(1, 40),
    seed=st.integers(0, 2**32),
)
@torch.no_grad()
def test_the_logits_are_those_of_the_tree_whatever_repeats(config, vocab_size, count, seed):
    tree = tree_of(config, vocab_size=vocab_size, seed=seed)
    windows = random_ids(count, config.context, vocab_size=vocab_size, seed=seed)
    windows = torch.cat([windows, windows[: count // 2], windows.flip(0)])
    before = windows.clone()
    # Products of other shapes are summed in another order.
    assert_close(logits_of_windows(tree, windows), tree(windows))
    assert torch.equal(windows, before)


@torch.no_grad()
def test_no_windows_have_no_logits():
    tree = tree_of(NetworkConfig(context=4))
    assert logits_of_windows(tree, random_ids(0, 4)).shape == (0, 5)


@torch.no_grad()
def test_numbers_too_large_for_one_code_are_told_apart():
    # 64 ids of 27 have more windows than an int64 has numbers.
    tree = tree_of(NetworkConfig(network="flat", context=64, n_embd=2, n_hidden=3), vocab_size=27)
    windows = random_ids(30, 64, vocab_size=27)
    windows = torch.cat([windows, windows[:7]])
    windows[30:, 0] = (windows[30:, 0] + 1) % 27  # which differ in their first id only
    assert_close(logits_of_windows(tree, windows), tree(windows))


@torch.no_grad()
def test_equal_nodes_go_through_a_layer_once():
    tree, rows = tree_of(NetworkConfig(context=4)), []
    for place in (2, 6):
        tree.layers[place].register_forward_hook(lambda *call: rows.append(call[2].shape[0]))
    windows = torch.tensor([[0, 0, 0, 1], [0, 1, 0, 1], [0, 0, 0, 1], [0, 1, 0, 0]])
    logits_of_windows(tree, windows)
    assert rows == [2, 3]  # 00 and 01; 00 01, 01 01 and 01 00


def test_a_tree_in_training_an_id_out_of_range_and_windows_of_another_length_are_refused():
    tree, windows = tree_of(NetworkConfig(context=4)), random_ids(3, 4)
    windows[1, 2] = 5
    assert refusal(logits_of_windows, tree, windows, kind=IdOutOfRangeError) == (
        "Embedding: x holds the id 5 at position [1, 2]; ids are 0 to 4, as num_embeddings = 5"
    )
    windows[1, 2] = -1
    refusal(logits_of_windows, tree, windows, kind=IdOutOfRangeError)
    refusal(logits_of_windows, tree, random_ids(3, 5), kind=ShapeError)
    assert refusal(logits_of_windows, tree.train(), random_ids(3, 4)) == (
        "logits_of_windows: in training, batch norm looks at the batch; call eval()"
    )
