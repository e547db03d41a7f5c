import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from typedwave.lab.files import replacing


@pytest.mark.parametrize("there", [False, True])
def test_what_is_written_beside_takes_the_place_of_the_file(tmp_path, there):
    path = tmp_path / "a.txt"
    if there:
        path.write_text("old and long")
    with replacing(path) as beside:
        assert beside != path
        assert beside.parent == path.parent
        assert beside.suffix == path.suffix
        beside.write_text("new")
        assert path.exists() == there
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_after_an_error_all_is_as_it_was(tmp_path, there, error):
    path = tmp_path / "a.txt"
    if there:
        path.write_text("old")
    with pytest.raises(error), replacing(path) as beside:  # noqa: PT012  # it is what is tested
        beside.write_text("ne")
        raise error
    assert list(tmp_path.iterdir()) == [path] * there
    assert not there or path.read_text() == "old"


def test_a_folder_in_its_place_stays(tmp_path):
    path = tmp_path / "a.txt"
    path.mkdir()
    with pytest.raises(IsADirectoryError), replacing(path) as beside:
        beside.write_text("new")
    assert list(tmp_path.iterdir()) == [path]
    assert path.is_dir()


def test_without_its_folder_there_is_an_error_of_the_system(tmp_path):
    path = tmp_path / "none" / "a.txt"
    with pytest.raises(FileNotFoundError) as caught, replacing(path):
        pytest.fail("there is nowhere to write to")
    assert caught.value.filename == str(path)


@given(mask=st.sampled_from([0o000, 0o022, 0o027, 0o077]))
def test_its_mode_is_that_of_any_new_file_and_the_mask_stays(tmp_path_factory, mask):
    folder = tmp_path_factory.mktemp("modes")
    before = os.umask(mask)
    try:
        with replacing(folder / "a") as beside:
            assert stat.S_IMODE(beside.stat().st_mode) == 0o600  # until it is whole
        (folder / "b").touch()
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((folder / name).stat().st_mode) for name in "ab"]
    assert modes == [0o666 & ~mask] * 2


def test_two_at_once_do_not_meet_and_the_last_to_end_wins(tmp_path):
    path = tmp_path / "a"
    with replacing(path) as one:
        with replacing(path) as other:
            assert one != other
            other.write_text("other")
        one.write_text("one")
        assert path.read_text() == "other"
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_path_without_a_folder_is_in_the_current_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with replacing(Path("a")) as beside:
        beside.write_text("new")
    assert (tmp_path / "a").read_text() == "new"


def test_an_error_that_names_no_file_is_given_the_name(tmp_path):
    path = tmp_path / "curve.csv"

    def fill_the_disk():
        with replacing(path):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left") as caught:
        fill_the_disk()
    assert caught.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []
