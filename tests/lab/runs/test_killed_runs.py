"""What a kill leaves is gone on with to the bit."""

import itertools
import os
import time

import pytest
from killed import BRIEF, KINDS, finished, outcome, started

KILLS = 12
"""Of each kind of run: 60 in all."""


@pytest.fixture(scope="module", params=sorted(KINDS.keys() - BRIEF.keys()))
def whole(request, tmp_path_factory):
    """A run that was not killed: its kind, its outcome, and how long it took."""
    folder = tmp_path_factory.mktemp("whole")
    for name in ("first", "second"):  # the first one starts the server of processes
        began = time.perf_counter()
        process = started(request.param, folder / name, resume=True)
        process.join()
        seconds = time.perf_counter() - began
        assert process.exitcode == 0
    assert outcome(folder / "first") == outcome(folder / "second")
    return request.param, outcome(folder / "second"), seconds


def test_killed_at_random_moments_it_ends_as_if_it_had_not_been(whole, tmp_path):
    kind, expected, seconds = whole
    kills = runs = 0
    while kills < KILLS:
        folder = tmp_path / str(runs)
        kills += finished(kind, folder, kills=4, within=seconds, seed=f"{kind} {runs}")
        assert outcome(folder) == expected
        runs += 1


@pytest.mark.parametrize("kind", sorted(BRIEF))
def test_killed_before_any_touch_of_a_file_it_ends_as_if_it_had_not_been(kind, tmp_path):
    process = started(kind, tmp_path / "whole", resume=True)
    process.join()
    expected = outcome(tmp_path / "whole")
    every = os.environ.get("HYPOTHESIS_PROFILE") == "long"
    for touch in itertools.count(1, 1 if every else 5):
        folder = tmp_path / str(touch)
        process = started(kind, folder, resume=True, last=touch)
        process.join()
        if process.exitcode == 0:  # it has not so many touches
            break
        assert process.exitcode == 137
        process = started(kind, folder, resume=True)
        process.join()
        assert process.exitcode == 0
        assert outcome(folder) == expected, f"killed before touch {touch}"
    assert touch > 60
