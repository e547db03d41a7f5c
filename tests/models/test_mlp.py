import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from typedwave import IdOutOfRangeError, ShapeError
from typedwave.models import MLP, NetworkConfig, build
from typedwave.nn import BatchNorm1d
from typedwave.testing import axis_sizes


@st.composite
def configs(draw: st.DrawFn) -> NetworkConfig:
    sizes = draw(axis_sizes("n_embd", "n_hidden"))
    sizes = {name: max(1, size) for name, size in sizes.items()}
    network = draw(st.sampled_from(["flat", "hierarchical"]))
    fuse = draw(st.integers(2, 4))
    flat, power = draw(st.integers(1, 9)), fuse ** draw(st.integers(1, 3))
    return NetworkConfig(
        network=network,
        context=flat if network == "flat" else power,
        fuse=fuse,
        unbiased=draw(st.booleans()),
        output_scale=draw(st.sampled_from([0.1, 1.0, 0.37])),
        **sizes,
    )


vocab_sizes = st.integers(1, 12)
seeds = st.integers(0, 2**32)


def built(config: NetworkConfig, vocab_size: int, seed: int, **options) -> MLP:
    generator = torch.Generator().manual_seed(seed)
    return build(config, vocab_size=vocab_size, generator=generator, **options)


def trained_looking(config: NetworkConfig, vocab_size: int, seed: int) -> MLP:
    """In float64, with scales, shifts and running statistics that are nothing special."""
    network = built(config, vocab_size, seed, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.ndim == 1:
                tensor.uniform_(0.3, 1.4, generator=generator)
    return network


def drawn_ids(config: NetworkConfig, vocab_size: int, seed: int, batch: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, vocab_size, (batch, config.context), generator=generator)


# how large it is


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (NetworkConfig(network="flat", context=3, n_embd=10, n_hidden=200), 12_097),
        (NetworkConfig(network="flat", context=8, n_embd=10, n_hidden=200), 22_097),
        (NetworkConfig(n_embd=10, n_hidden=68), 22_397),
        (NetworkConfig(n_embd=24, n_hidden=128), 76_579),
    ],
)
def test_the_networks_of_the_lecture_have_its_numbers_of_parameters(config, parameters):
    network = MLP(config, vocab_size=27, device="meta")
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


@given(config=configs(), vocab_size=vocab_sizes)
def test_the_parameters_are_those_of_table_levels_and_logits(config, vocab_size):
    flat = config.network == "flat"
    fuse, levels = (config.context, 1) if flat else (config.fuse, config.levels)
    embd, hidden = config.n_embd, config.n_hidden
    first, others = fuse * embd * hidden, (levels - 1) * fuse * hidden * hidden
    expected = vocab_size * embd + first + others + levels * 2 * hidden + (hidden + 1) * vocab_size
    network = MLP(config, vocab_size=vocab_size, device="meta")
    assert sum(parameter.numel() for parameter in network.parameters()) == expected
    assert len(network.layers) == 2 + 4 * levels


# what build draws


@given(
    config=configs(),
    vocab_size=vocab_sizes,
    seed=seeds,
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_the_first_weights_are_those_of_the_lecture_drawn_layer_by_layer(
    config, vocab_size, seed, dtype
):
    generator = torch.Generator().manual_seed(seed)
    network = build(config, vocab_size=vocab_size, generator=generator, dtype=dtype)

    plain = torch.Generator().manual_seed(seed)
    flat = config.network == "flat"
    fuse, levels = (config.context, 1) if flat else (config.fuse, config.levels)
    hidden, out = config.n_hidden, vocab_size
    expected = {
        "layers.0.weight": torch.randn((vocab_size, config.n_embd), generator=plain, dtype=dtype)
    }
    fan_in = config.n_embd * fuse
    for level in range(levels):
        weight = torch.randn((fan_in, hidden), generator=plain, dtype=dtype) / fan_in**0.5
        expected[f"layers.{4 * level + 2}.weight"] = weight.T
        expected[f"layers.{4 * level + 3}.weight"] = torch.ones(hidden, dtype=dtype)
        expected[f"layers.{4 * level + 3}.bias"] = torch.zeros(hidden, dtype=dtype)
        expected[f"layers.{4 * level + 3}.running_mean"] = torch.zeros(hidden, dtype=dtype)
        expected[f"layers.{4 * level + 3}.running_var"] = torch.ones(hidden, dtype=dtype)
        expected[f"layers.{4 * level + 3}.num_batches_tracked"] = torch.tensor(0)
        fan_in = hidden * fuse
    last = torch.randn((hidden, out), generator=plain, dtype=dtype) / hidden**0.5
    expected[f"layers.{4 * levels + 1}.weight"] = (last * config.output_scale).T
    expected[f"layers.{4 * levels + 1}.bias"] = torch.zeros(out, dtype=dtype)

    state = network.state_dict()
    assert state.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(state[name], tensor), name
    assert torch.equal(generator.get_state(), plain.get_state())


@given(config=configs(), vocab_size=vocab_sizes, seed=seeds)
def test_building_leaves_the_global_generator_as_it_was_and_does_not_look_at_it(
    config, vocab_size, seed
):
    torch.manual_seed(seed + 1)
    before = torch.get_rng_state()
    first = built(config, vocab_size, seed)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(seed + 2)
    second = built(config, vocab_size, seed).state_dict()
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second[name]), name


@given(config=configs(), seed=seeds)
def test_another_seed_gives_other_weights(config, seed):
    one, other = (built(config, 5, number).layers[0].weight for number in (seed, seed + 1))
    assert not torch.equal(one, other)


@given(config=configs(), dtype=st.sampled_from([torch.float64, torch.bfloat16]))
def test_build_makes_everything_in_the_dtype_and_on_the_device_of_the_generator(config, dtype):
    network = built(config, 5, 1, dtype=dtype)
    for name, tensor in network.state_dict().items():
        assert tensor.dtype == (torch.int64 if "num_batches" in name else dtype), name
        assert tensor.device == torch.device("cpu")
    for parameter in network.parameters():
        assert parameter.requires_grad
        assert parameter.is_leaf
    assert network.training


# what it computes


@given(config=configs(), vocab_size=vocab_sizes, seed=seeds, batch=st.integers(2, 5))
def test_a_window_of_ids_gives_a_logit_for_each_id(config, vocab_size, seed, batch):
    network = built(config, vocab_size, seed)
    logits = network(drawn_ids(config, vocab_size, seed, batch))
    assert logits.shape == (batch, vocab_size)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


@given(
    config=configs(),
    vocab_size=vocab_sizes,
    seed=seeds,
    training=st.booleans(),
    batch=st.integers(2, 5),
)
def test_it_equals_a_loop_written_by_hand(config, vocab_size, seed, training, batch):
    network = trained_looking(config, vocab_size, seed)
    ids = drawn_ids(config, vocab_size, seed, batch)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    flat = config.network == "flat"
    fuse, levels = (config.context, 1) if flat else (config.fuse, config.levels)

    x = state["layers.0.weight"][ids]  # (B, T, C)
    for level in range(levels):
        at = f"layers.{4 * level + 3}"
        # With two neighbours: the even positions beside the odd ones.
        x = torch.cat([x[:, first::fuse] for first in range(fuse)], dim=2)
        x = x @ state[f"layers.{4 * level + 2}.weight"].T
        mean, var = state[f"{at}.running_mean"], state[f"{at}.running_var"]
        if training:
            mean, var = x.mean((0, 1)), x.var((0, 1), correction=1 if config.unbiased else 0)
        x = (x - mean) / torch.sqrt(var + 1e-5) * state[f"{at}.weight"] + state[f"{at}.bias"]
        x = torch.tanh(x)
    assert x.shape[1] == 1
    last = f"layers.{4 * levels + 1}"
    expected = x[:, 0] @ state[f"{last}.weight"].T + state[f"{last}.bias"]

    # Float64 and a few levels: rounding, but for a channel whose batch hardly varies.
    torch.testing.assert_close(network.train(training)(ids), expected, rtol=1e-6, atol=1e-6)


@given(config=configs(), seed=seeds, batch=st.integers(2, 6), data=st.data())
def test_in_eval_mode_a_window_has_no_influence_on_the_others(config, seed, batch, data):
    network = trained_looking(config, 7, seed).eval()
    ids = drawn_ids(config, 7, seed, batch)
    place = data.draw(st.integers(0, batch - 1))
    changed = ids.clone()
    changed[place] = (ids[place] + 3) % 7
    others = torch.arange(batch) != place
    before, after = network(ids), network(changed)
    assert torch.equal(before[others], after[others])
    assert not torch.equal(before[place], after[place])


@given(config=configs(), seed=seeds)
def test_in_training_windows_meet_in_batch_norm_and_running_statistics_move(config, seed):
    network = trained_looking(config, 7, seed).train()
    before = {name: tensor.clone() for name, tensor in network.named_buffers()}
    network(drawn_ids(config, 7, seed, 4))
    for name, tensor in network.named_buffers():
        moved = before[name] + 1 if "num_batches" in name else None
        assert moved is None or torch.equal(tensor, moved)
        assert not torch.equal(tensor, before[name]), name
    state = {name: tensor.clone() for name, tensor in network.named_buffers()}
    network.eval()(drawn_ids(config, 7, seed, 4))
    for name, tensor in network.named_buffers():
        assert torch.equal(tensor, state[name]), name


@given(config=configs(), seed=seeds)
def test_every_position_matters_and_every_parameter_gets_a_gradient(config, seed):
    network = trained_looking(config, 7, seed).eval()
    ids = drawn_ids(config, 7, seed, 2)
    logits = network(ids)
    for position in range(config.context):
        changed = ids.clone()
        changed[:, position] = (ids[:, position] + 1) % 7
        assert not torch.equal(network(changed), logits), position
    gradients = torch.autograd.grad(F.cross_entropy(logits, ids[:, 0]), [*network.parameters()])
    for gradient in gradients:
        assert gradient.isfinite().all()
        assert gradient.any()


def test_unbiased_reaches_every_batch_norm():
    for unbiased in (False, True):
        network = MLP(NetworkConfig(unbiased=unbiased), vocab_size=3, device="meta")
        norms = [module for module in network.modules() if isinstance(module, BatchNorm1d)]
        assert [norm.unbiased for norm in norms] == [unbiased] * 3


def test_device_and_dtype_are_as_asked_for():
    network = MLP(NetworkConfig(), vocab_size=27, device="meta", dtype=torch.float64)
    for name, tensor in network.state_dict().items():
        assert tensor.is_meta
        assert tensor.dtype == (torch.int64 if "num_batches" in name else torch.float64)
    ids = torch.zeros(2, 8, dtype=torch.int64, device="meta")
    assert network(ids).is_meta


def test_it_knows_what_it_was_made_of():
    config = NetworkConfig(context=16)
    network = MLP(config, vocab_size=5)
    assert network.config is config
    assert (network.context, network.vocab_size) == (16, 5)


# what it refuses


def refusal(network: MLP, x: object) -> str:
    with pytest.raises(ShapeError) as caught:
        network(x)
    return str(caught.value)


@pytest.fixture
def small() -> MLP:
    return built(NetworkConfig(n_embd=3, n_hidden=5), 7, 1)


def test_a_window_of_another_length_is_refused_at_the_door(small):
    assert refusal(small, torch.zeros(2, 9, dtype=torch.int64)) == (
        "MLP: x has the wrong shape\n"
        '  expected  Int64 "B {self.context}"   {self.context} = 8\n'
        "  got       i64[2, 9]                  axis 1 is 9"
    )


def test_a_single_window_without_a_batch_is_refused(small):
    assert refusal(small, torch.zeros(8, dtype=torch.int64)) == (
        "MLP: x has the wrong shape\n"
        '  expected  Int64 "B {self.context}"   {self.context} = 8\n'
        "  got       i64[8]                     it has 1 axis"
    )


@pytest.mark.parametrize(
    ("dtype", "short"), [(torch.float32, "f32"), (torch.int32, "i32"), (torch.bool, "bool")]
)
def test_ids_of_another_dtype_are_refused(small, dtype, short):
    first, _, got, *_ = refusal(small, torch.zeros(2, 8, dtype=dtype)).splitlines()
    assert first == "MLP: x has the wrong dtype"
    name = str(dtype).removeprefix("torch.")
    assert got == f"  got       {short}[2, 8]   its dtype is {name}"


def test_a_list_of_ids_is_refused(small):
    assert refusal(small, [[0] * 8]) == (
        'MLP: x is not a tensor\n  expected  Int64 "B {self.context}"\n  got       list of 1'
    )


def test_an_id_out_of_range_is_named_with_the_layer_and_its_place(small):
    ids = torch.zeros(2, 8, dtype=torch.int64)
    ids[1, 3], ids[1, 5] = 7, -1
    with pytest.raises(IdOutOfRangeError) as caught:
        small(ids)
    assert str(caught.value) == (
        "layers.0 (Embedding): x holds the id 7 at position [1, 3], and 1 more; "
        "ids are 0 to 6, as num_embeddings = 7"
    )


def test_one_window_is_not_enough_to_train_on(small):
    assert refusal(small.train(), torch.zeros(1, 8, dtype=torch.int64)) == (
        "layers.11 (BatchNorm1d): x has the wrong shape\n"
        '  expected  Float "*B num_features"   at least 2 values per channel to train on\n'
        "  got       f32[1, 5]                 it has 1\n"
        "  shapes until here\n"
        "    layers.0   Embedding           i64[1, 8]      -> f32[1, 8, 3]\n"
        "    layers.1   FlattenConsecutive  f32[1, 8, 3]   -> f32[1, 4, 6]\n"
        "    layers.2   Linear              f32[1, 4, 6]   -> f32[1, 4, 5]\n"
        "    layers.3   BatchNorm1d         f32[1, 4, 5]   -> f32[1, 4, 5]\n"
        "    layers.4   Tanh                f32[1, 4, 5]   -> f32[1, 4, 5]\n"
        "    layers.5   FlattenConsecutive  f32[1, 4, 5]   -> f32[1, 2, 10]\n"
        "    layers.6   Linear              f32[1, 2, 10]  -> f32[1, 2, 5]\n"
        "    layers.7   BatchNorm1d         f32[1, 2, 5]   -> f32[1, 2, 5]\n"
        "    layers.8   Tanh                f32[1, 2, 5]   -> f32[1, 2, 5]\n"
        "    layers.9   FlattenConsecutive  f32[1, 2, 5]   -> f32[1, 10]\n"
        "    layers.10  Linear              f32[1, 10]     -> f32[1, 5]\n"
        "    layers.11  BatchNorm1d         f32[1, 5]      -> refused\n"
        "  perhaps   a larger batch, or eval() to use the running statistics"
    )
    assert small.eval()(torch.zeros(1, 8, dtype=torch.int64)).shape == (1, 7)


def test_a_layer_that_does_not_fit_any_more_is_named_by_its_path(small):
    small.layers[5] = torch.nn.Identity()
    message = refusal(small, torch.zeros(2, 8, dtype=torch.int64))
    assert message.startswith("layers.6 (Linear): x has the wrong shape\n")
    assert "  in_features = 10 comes from layers.6.weight f32[5, 10]" in message.splitlines()
