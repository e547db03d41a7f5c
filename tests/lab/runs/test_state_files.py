import errno
import json
import os
import stat
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from typedwave.lab.runs.state import State, StateFileError, load_state, save_state, state_files

DTYPES = [
    torch.float32,
    torch.float64,
    torch.bfloat16,
    torch.float16,
    torch.int64,
    torch.uint8,
    torch.bool,
]


def drawn(dtype: torch.dtype, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    if dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(dtype)
    return torch.randint(0, 2, shape, generator=generator).to(dtype)


TENSORS = st.dictionaries(
    st.text("abc.0_é", min_size=1, max_size=6).filter(lambda name: name != "__metadata__"),
    st.builds(
        drawn,
        st.sampled_from(DTYPES),
        st.lists(st.integers(0, 3), max_size=3).map(tuple),
        st.integers(0, 99),
    ),
    max_size=4,
)


def some(step: int, value: float = 1.0) -> State:
    tensors = {
        "network.weight": torch.full((3, 2), value),
        "training.generator": torch.Generator().manual_seed(step).get_state(),
    }
    return State(step, step / 8, tensors)


def assert_same(found: State, expected: State) -> None:
    assert (found.step, found.seconds) == (expected.step, expected.seconds)
    assert found.tensors.keys() == expected.tensors.keys()
    for name, tensor in expected.tensors.items():
        assert found.tensors[name].dtype == tensor.dtype
        assert found.tensors[name].shape == tensor.shape
        assert torch.equal(found.tensors[name], tensor), name


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# there and back


@given(tensors=TENSORS, step=st.integers(0, 2**60), seconds=st.floats(0, 1e9))
def test_what_is_saved_is_loaded_to_the_bit(tensors, step, seconds):
    with TemporaryDirectory() as name:
        folder = Path(name)
        save_state(folder, State(step, seconds, tensors))
        (path,) = state_files(folder)
        assert_same(load_state(path), State(step, seconds, tensors))
        assert_same(load_state(str(path)), State(step, seconds, tensors))


def test_nan_infinity_and_minus_zero_are_kept_too(tmp_path):
    odd = torch.tensor([torch.nan, torch.inf, -0.0, 1e-45])
    save_state(tmp_path, State(1, 0.0, {"odd": odd}))
    found = load_state(tmp_path / "state-000000000001.safetensors").tensors["odd"]
    assert torch.equal(found.view(torch.int32), odd.view(torch.int32))


def test_views_and_parameters_are_saved_as_they_are_now(tmp_path):
    parameter = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3))
    save_state(tmp_path, State(1, 0.0, {"a": parameter, "b": torch.arange(6).reshape(2, 3).T}))
    (path,) = state_files(tmp_path)
    with torch.no_grad():
        parameter.zero_()
    found = load_state(path).tensors
    assert torch.equal(found["a"], torch.arange(6.0).reshape(2, 3))
    assert not found["a"].requires_grad
    assert torch.equal(found["b"], torch.arange(6).reshape(2, 3).T)


def test_the_two_newest_are_kept_and_the_newest_comes_first(tmp_path):
    for step in (5, 20, 100, 1_000_000):
        save_state(tmp_path, some(step))
        assert load_state(state_files(tmp_path)[0]).step == step
    assert names_in(tmp_path) == [
        "state-000000000100.safetensors",
        "state-000001000000.safetensors",
    ]
    assert [load_state(path).step for path in state_files(tmp_path)] == [1_000_000, 100]


def test_a_state_of_the_same_step_takes_the_place_of_the_other(tmp_path):
    save_state(tmp_path, some(3))
    save_state(tmp_path, some(3, value=2.0))
    (path,) = state_files(tmp_path)
    assert_same(load_state(path), some(3, value=2.0))


def test_other_files_are_no_states_and_stay(tmp_path):
    others = ["checkpoint.safetensors", "state.safetensors", "state-1.txt", ".new-state-1"]
    for name in others:
        (tmp_path / name).write_text("")
    for step in (1, 2, 3):
        save_state(tmp_path, some(step))
    assert len(state_files(tmp_path)) == 2
    assert set(others) < set(names_in(tmp_path))


# what is not whole


@pytest.fixture
def path(tmp_path) -> Path:
    save_state(tmp_path, some(7))
    return tmp_path / "state-000000000007.safetensors"


def test_a_file_that_is_cut_short_anywhere_is_refused(path):
    whole = path.read_bytes()
    for length in [*range(0, len(whole), 37), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(StateFileError) as caught:
            load_state(path)
        assert str(caught.value).startswith(f"{path} is not a whole safetensors file: ")
    assert issubclass(StateFileError, ValueError)


def test_a_bit_that_is_flipped_anywhere_is_noticed(path):
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    # All of the header, where the numbers of step and seconds are; and some of the rest.
    for place in [*range(header), *range(header, len(whole), 97)]:
        data = bytearray(whole)
        data[place] ^= 1 << place % 5
        path.write_bytes(data)
        try:
            found = load_state(path)
        except StateFileError as error:
            assert str(error).startswith(f"{path} is ")  # noqa: PT017  # some flips do not matter
        else:
            assert data[:header] != whole[:header]  # a space of the header's, say
            assert_same(found, some(7))


def test_a_number_that_was_not_written_is_named(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(StateFileError) as caught:
        load_state(path)
    assert str(caught.value) == f"{path} is damaged: its numbers are not those that were written"


@pytest.mark.parametrize(
    ("name", "value"), [("step", "8"), ("seconds", "0.5"), ("step", None), ("sha256", "")]
)
def test_a_step_that_was_not_written_is_damage(path, name, value):
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    metadata = {name_: x for name_, x in {**metadata, name: value}.items() if x is not None}
    path.write_bytes(safetensors.torch.save(dict(some(7).tensors), metadata=metadata))
    with pytest.raises(StateFileError) as caught:
        load_state(path)
    assert str(caught.value) == f"{path} is damaged: its numbers are not those that were written"


@pytest.mark.parametrize(
    ("change", "format_"),
    [({"format": "typedwave 1"}, "'typedwave 1'"), ({"format": "typedwave state 2"}, None)],
)
def test_a_file_of_another_format_is_refused(path, change, format_):
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = {**file.metadata(), **change}
    path.write_bytes(safetensors.torch.save(dict(some(7).tensors), metadata=metadata))
    with pytest.raises(StateFileError) as caught:
        load_state(path)
    assert str(caught.value) == (
        f"{path} is a safetensors file, but not the state of a training: its format is "
        f"{format_ or repr('typedwave state 2')}, not 'typedwave state 1'"
    )


def test_a_file_without_metadata_is_refused(path):
    path.write_bytes(safetensors.torch.save(dict(some(7).tensors)))
    with pytest.raises(StateFileError) as caught:
        load_state(path)
    assert str(caught.value) == (
        f"{path} is a safetensors file, but not the state of a training: its format is None, "
        "not 'typedwave state 1'"
    )


def test_a_file_that_is_not_there_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        load_state(tmp_path / "none")
    assert caught.value.filename == str(tmp_path / "none")


def test_what_is_in_a_file_is_what_it_says_and_no_pickle(path):
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        names = set(file.keys())
    assert metadata.pop("sha256")
    assert {name: json.loads(metadata[name]) for name in ("step", "seconds")} == {
        "step": 7,
        "seconds": 0.875,
    }
    assert metadata["format"] == "typedwave state 1"
    assert names == some(7).tensors.keys()


# a full disk


@pytest.mark.parametrize("fails", ["write_bytes", "replace"])
def test_on_a_full_disk_the_states_before_are_still_there(tmp_path, monkeypatch, fails):
    for step in (1, 2):
        save_state(tmp_path, some(step))
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}

    def full(path, *arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, fails, full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        save_state(tmp_path, some(3))
    assert caught.value.filename == str(tmp_path / "state-000000000003.safetensors")
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_state_has_the_mode_of_any_file(path):
    (path.parent / "any").touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((path.parent / "any").stat().st_mode)
