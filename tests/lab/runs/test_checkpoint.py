import dataclasses
import json
import pickle
import stat
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_networks import EVERY, LEARNING, POOL, VOCABULARY, made

from typedwave.lab import files
from typedwave.lab.runs.checkpoint import (
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
)
from typedwave.lab.words.corpus import Vocabulary
from typedwave.models import MLP, NetworkConfig, NGram, PoolConfig, build

configs = st.builds(
    NetworkConfig,
    network=st.just("flat"),
    context=st.integers(1, 6),
    n_embd=st.integers(1, 5),
    n_hidden=st.integers(1, 5),
    fuse=st.integers(2, 5),
    unbiased=st.booleans(),
    output_scale=st.floats(0, 2),
) | st.builds(
    NetworkConfig,
    context=st.sampled_from([2, 4, 8]),
    n_embd=st.integers(1, 5),
    n_hidden=st.integers(1, 5),
)
# Quotes, what JSON escapes, combining marks, astral characters.
tricky = st.sampled_from("\"'\\\u0301\U0001f600\U0001f469\u200d\u2028\x00\x1f\x7f.")
vocabularies = st.lists(st.text(tricky | st.characters(exclude_categories=["Cs"]))).map(
    Vocabulary.of
)


def checkpoint_of(
    config: NetworkConfig,
    vocabulary: Vocabulary,
    *,
    seed: int = 1,
    dtype: torch.dtype | None = None,
) -> Checkpoint:
    generator = torch.Generator().manual_seed(seed)
    network = build(config, vocab_size=len(vocabulary), generator=generator, dtype=dtype)
    network(torch.randint(len(vocabulary), (5, config.context), generator=generator))
    return Checkpoint(network, vocabulary)


SMALL = NetworkConfig(context=4, n_embd=3, n_hidden=5)
LETTERS = Vocabulary.of(["abc"])


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("checkpoint") / "checkpoint.safetensors"


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "checkpoint.safetensors"
    save_checkpoint(path, checkpoint_of(SMALL, LETTERS))
    return path.read_bytes()


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    message = str(caught.value)
    assert message.startswith(f"{path} ")
    assert "\n" not in message
    return message.removeprefix(f"{path} ")


# there and back


@given(
    config=configs,
    vocabulary=vocabularies,
    seed=st.integers(0, 2**32),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
def test_what_is_saved_is_loaded_to_the_bit(path, config, vocabulary, seed, dtype):
    saved = checkpoint_of(config, vocabulary, seed=seed, dtype=dtype)
    save_checkpoint(path, saved)
    loaded = load_checkpoint(str(path))
    assert loaded.vocabulary == vocabulary
    assert loaded.network.config == config
    state = loaded.network.state_dict()
    assert state.keys() == saved.network.state_dict().keys()
    for name, tensor in saved.network.state_dict().items():
        assert state[name].dtype == tensor.dtype
        assert torch.equal(state[name], tensor), name
    assert not any(module.training for module in loaded.network.modules())
    ids = torch.zeros(3, config.context, dtype=torch.int64)
    assert torch.equal(loaded.network(ids), saved.network.eval()(ids))


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_network_is_loaded_to_the_bit_and_says_the_same(path, kind, dtype):
    saved = Checkpoint(made(EVERY[kind]).to(dtype), VOCABULARY)
    save_checkpoint(path, saved)
    loaded = load_checkpoint(path)
    assert loaded.vocabulary == VOCABULARY
    assert loaded.network.config == EVERY[kind]
    assert type(loaded.network) is type(saved.network)
    state = loaded.network.state_dict()
    assert list(state) == list(saved.network.state_dict())
    for name, tensor in saved.network.state_dict().items():
        assert state[name].dtype == tensor.dtype
        assert torch.equal(state[name], tensor), name
    assert not any(module.training for module in loaded.network.modules())
    length = getattr(saved.network, "context", 7)
    ids = torch.randint(len(VOCABULARY), (5, length), generator=torch.Generator().manual_seed(1))
    assert torch.equal(loaded.network(ids), saved.network.eval()(ids))


def test_a_pool_of_pools_is_loaded_too(path):
    config = PoolConfig(members=(POOL, EVERY["gru"], POOL), weights=(1.0, -0.5, 0.25))
    saved = Checkpoint(made(config), VOCABULARY)
    save_checkpoint(path, saved)
    network = load_checkpoint(path).network
    assert network.config == config
    ids = torch.zeros(2, 5, dtype=torch.int64)
    assert torch.equal(network(ids), saved.network.eval()(ids))


@pytest.mark.parametrize("kind", EVERY)
def test_of_every_network_a_tensor_that_is_missing_is_named(tmp_path, path, kind):
    save_checkpoint(path, Checkpoint(made(EVERY[kind]), VOCABULARY))
    for name in list(made(EVERY[kind]).state_dict())[::5]:
        found = rewrite(tmp_path / "c", path.read_bytes(), tensors={name: None})
        assert found == f"does not fit together: it lacks {name}"


def test_n_grams_that_are_not_fitted_stay_so(path):
    save_checkpoint(path, Checkpoint(NGram(EVERY["ngram"], vocab_size=12), VOCABULARY))
    assert len(load_checkpoint(path).network.edges) == 0


@pytest.mark.parametrize("kind", LEARNING)
def test_every_loaded_network_can_be_trained_on(path, kind):
    save_checkpoint(path, Checkpoint(made(LEARNING[kind]), VOCABULARY))
    network = load_checkpoint(path).network.train()
    network(torch.zeros(5, getattr(network, "context", 7), dtype=torch.int64)).sum().backward()
    for parameter in network.parameters():
        assert parameter.is_leaf
        assert parameter.grad is not None


def test_a_kind_of_network_that_there_is_not_is_named_with_those_there_are(path, whole):
    assert rewrite(path, whole, network='{"network": "ring"}') == (
        "does not fit together: network is 'ring', but there are ngram, flat, hierarchical, "
        "wavenet, rnn, gru, lstm, transformer, pool"
    )


def test_a_loaded_network_can_be_trained_on(path):
    save_checkpoint(path, checkpoint_of(SMALL, LETTERS))
    network = load_checkpoint(path).network.train()
    logits = network(torch.randint(4, (5, 4), generator=torch.Generator().manual_seed(1)))
    logits.square().sum().backward()
    for parameter in network.parameters():
        assert parameter.is_leaf
        assert parameter.grad is not None


def test_saving_does_not_change_the_network_nor_its_modes(path):
    saved = checkpoint_of(SMALL, LETTERS)
    state = {name: tensor.clone() for name, tensor in saved.network.state_dict().items()}
    save_checkpoint(path, saved)
    assert all(module.training for module in saved.network.modules())
    for name, tensor in saved.network.state_dict().items():
        assert torch.equal(tensor, state[name])


def test_a_loaded_network_does_not_depend_on_the_file_any_more(path):
    saved = checkpoint_of(SMALL, LETTERS)
    save_checkpoint(path, saved)
    network = load_checkpoint(path).network
    path.unlink()
    for name, tensor in saved.network.state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor)


def test_loading_leaves_the_global_generator_as_it_was(path):
    save_checkpoint(path, checkpoint_of(SMALL, LETTERS))
    before = torch.get_rng_state()
    load_checkpoint(path)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_file_is_plain_safetensors_that_says_what_it_is(path):
    saved = checkpoint_of(SMALL, LETTERS)
    save_checkpoint(path, saved)
    with safetensors.safe_open(path, framework="pt") as file:
        metadata, names = file.metadata(), set(file.keys())
    assert names == set(saved.network.state_dict())
    assert metadata["format"] == "typedwave 1"
    assert json.loads(metadata["network"]) == dataclasses.asdict(SMALL)
    assert json.loads(metadata["characters"]) == ["a", "b", "c"]
    assert metadata.keys() == {"format", "network", "characters"}


# what is refused


def test_a_file_that_is_missing_is_the_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        load_checkpoint(tmp_path / "none.safetensors")
    assert caught.value.filename == str(tmp_path / "none.safetensors")


def test_a_folder_is_the_error_of_the_system(tmp_path):
    with pytest.raises(IsADirectoryError):
        load_checkpoint(tmp_path)


def test_an_empty_file(path):
    path.write_bytes(b"")
    assert refusal(path) == (
        "is not a whole safetensors file: Error while deserializing header: header too small"
    )


@given(data=st.data())
def test_a_file_that_ends_anywhere_too_early(path, whole, data):
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    assert refusal(path).startswith(
        "is not a whole safetensors file: Error while deserializing header: "
    )


@given(more=st.binary(min_size=1, max_size=9))
def test_a_file_that_goes_on_after_its_end(path, whole, more):
    path.write_bytes(whole + more)
    assert refusal(path).startswith("is not a whole safetensors file: ")


@given(content=st.binary(max_size=400))
def test_any_bytes(path, content):
    path.write_bytes(content)
    assert refusal(path).startswith("is not a whole safetensors file: ")


@given(data=st.data())
def test_any_damage_to_the_header_is_refused_or_harmless(path, whole, data):
    size = 8 + int.from_bytes(whole[:8], "little")
    place = data.draw(st.integers(0, size - 1))
    damaged = bytearray(whole)
    damaged[place] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged)
    try:
        loaded = load_checkpoint(path)
    except CheckpointError as error:
        assert str(error).startswith(f"{path} ")  # noqa: PT017  # either is right
    else:
        assert isinstance(loaded.network, MLP)


def test_a_pickle_is_not_opened(path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("it was unpickled",))

    path.write_bytes(pickle.dumps(Bomb()))
    assert refusal(path).startswith("is not a whole safetensors file: ")
    torch.save({"a": Bomb()}, path)
    assert refusal(path).startswith("is not a whole safetensors file: ")


@pytest.mark.parametrize(
    ("metadata", "found"), [(None, "None"), ({"format": "pt"}, "'pt'"), ({}, "None")]
)
def test_someone_elses_safetensors_file(path, metadata, found):
    safetensors.torch.save_file({"weight": torch.zeros(3)}, path, metadata=metadata)
    assert refusal(path) == (
        "is a safetensors file, but not a checkpoint of typedwave: its format is "
        f"{found}, not 'typedwave 1'"
    )


def rewrite(path: Path, whole: bytes, *, tensors=None, **metadata: str | None) -> str:
    """The message for a checkpoint of which some tensors or metadata are others, or None."""
    path.write_bytes(whole)
    with safetensors.safe_open(path, framework="pt") as file:
        kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no dict
        metadata = {**file.metadata(), **metadata}
    kept = {name: x for name, x in (kept | (tensors or {})).items() if x is not None}
    said = {name: text for name, text in metadata.items() if text is not None}
    safetensors.torch.save_file(kept, path, metadata=said)
    return refusal(path)


def test_a_tensor_that_is_missing(path, whole):
    assert rewrite(path, whole, tensors={"layers.2.weight": None}) == (
        "does not fit together: it lacks layers.2.weight"
    )


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        (
            dict.fromkeys([f"layers.{i}.bias" for i in (9, 3, 7)] + ["layers.2.weight"]),
            "it lacks layers.2.weight, layers.3.bias, layers.7.bias, layers.9.bias",
        ),
        ({"layers.3.num_batches_tracked": None}, "it lacks layers.3.num_batches_tracked"),
        (
            {"layers.2.weight": torch.zeros(5, 6, dtype=torch.float64)},
            "its tensors have mixed dtypes: float32, float64",
        ),
        (
            {"layers.2.weight": torch.zeros(5, 6, dtype=torch.int64)},
            "its tensors have mixed dtypes: layers.2.weight",
        ),
        (
            {"layers.3.num_batches_tracked": torch.tensor(1.0)},
            "its tensors have mixed dtypes: layers.3.num_batches_tracked",
        ),
    ],
)
def test_tensors_that_are_missing_or_of_another_kind(path, whole, tensors, reason):
    assert rewrite(path, whole, tensors=tensors) == f"does not fit together: {reason}"


def test_a_tensor_too_many(path, whole):
    assert rewrite(path, whole, tensors={"more": torch.zeros(1)}) == (
        "does not fit together: Error(s) in loading state_dict for MLP: "
        'Unexpected key(s) in state_dict: "more".'
    )


def test_tensors_of_another_shape_are_all_named(path, whole):
    wrong = {"layers.2.weight": torch.zeros(5, 7), "layers.9.bias": torch.zeros(5)}
    assert rewrite(path, whole, tensors=wrong) == (
        "does not fit together: Error(s) in loading state_dict for MLP: "
        "size mismatch for layers.2.weight: copying a param with shape torch.Size([5, 7]) from "
        "checkpoint, the shape in current model is torch.Size([5, 6]). "
        "size mismatch for layers.9.bias: copying a param with shape torch.Size([5]) from "
        "checkpoint, the shape in current model is torch.Size([4])."
    )


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        (
            {"network": "{"},
            "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        ),
        ({"characters": ""}, "Expecting value: line 1 column 1 (char 0)"),
        ({"characters": None}, "'characters'"),
        ({"network": None}, "'network'"),
        ({"characters": "5"}, "'int' object is not iterable"),
        ({"characters": '["b", "a", "c"]'}, None),
        ({"network": '{"context": 5}'}, None),
        ({"network": '{"rings": 5}'}, None),
        ({"network": "[]"}, None),
        ({"network": "null"}, None),
        ({"network": '{"context": "4"}'}, None),
        ({"network": '{"n_embd": 3.5}'}, None),
        ({"network": '{"n_embd": true}'}, None),
        ({"characters": "[5]"}, None),
        ({"characters": "null"}, None),
        ({"characters": "[" * 100_000}, None),
    ],
)
def test_metadata_that_is_damaged(path, whole, metadata, reason):
    message = rewrite(path, whole, **metadata)
    assert message.startswith("does not fit together: ")
    if reason is not None:
        assert message == f"does not fit together: {reason}"


def test_a_vocabulary_of_another_size(path, whole):
    message = rewrite(path, whole, characters='["a", "b"]')
    assert "size mismatch for layers.0.weight" in message


# writing


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, checkpoint_of(SMALL, LETTERS))
    before = path.read_bytes()

    write = Path.write_bytes

    def half(beside, content):
        write(beside, content[:100])
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match="no space left"):
        save_checkpoint(path, checkpoint_of(SMALL, LETTERS, seed=2))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.safetensors"]


def test_a_new_checkpoint_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    for seed in (1, 2):
        save_checkpoint(path, checkpoint_of(SMALL, LETTERS, seed=seed))
    assert torch.equal(
        load_checkpoint(path).network.layers[0].weight,
        checkpoint_of(SMALL, LETTERS, seed=2).network.layers[0].weight,
    )
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.safetensors"]


def test_others_may_read_it_as_they_may_read_any_file(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.safetensors"
    monkeypatch.setattr(files, "_umask", lambda: 0o027)
    save_checkpoint(path, checkpoint_of(SMALL, LETTERS))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_folder_that_is_missing_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        save_checkpoint(tmp_path / "none" / "c.safetensors", checkpoint_of(SMALL, LETTERS))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", EVERY)
def test_the_same_checkpoint_has_the_same_bytes(tmp_path, kind):
    files = [tmp_path / str(i) for i in range(6)]
    for file in files:
        save_checkpoint(file, Checkpoint(made(EVERY[kind]), VOCABULARY))
    assert len({file.read_bytes() for file in files}) == 1
    header = 8 + int.from_bytes(files[0].read_bytes()[:8], "little")
    assert header % 8 == 0
