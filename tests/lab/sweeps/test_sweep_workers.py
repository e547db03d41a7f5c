"""Workers in processes of their own, some of which are killed."""

import multiprocessing
import os
import signal
import time

import pytest
from pretended import sweep
from tiny_networks import WORDS

from typedwave.lab import Range, Recipe, Search, SweepError, find_runs, read_record
from typedwave.models import NetworkConfig

CONFIG = NetworkConfig(network="flat", context=3, n_embd=2, n_hidden=4)


def search(folder, *, steps: int, trials: int) -> Search:
    """Of trials of two milliseconds a step or so."""
    space = {"learning_rate": Range(low=0.01, high=0.2)}
    recipe = Recipe(steps=steps, batch_size=4)
    ours = sweep(config=CONFIG, recipe=recipe, space=space, trials=trials)
    return Search(ours, folder, WORDS, corpus="words")


def told(trials) -> list[tuple]:
    return sorted((t.number, t.state, t.values["learning_rate"], t.loss) for t in trials)


class Sends:
    """Sends a signal to the first worker that is busy with a trial; whose that was."""

    def __init__(self, folder, what: signal.Signals) -> None:
        self.folder, self.what = folder, what
        self.number = 0

    def __call__(self, trials) -> None:
        busy = [t for t in trials if t.state == "running" and t.points > 2]
        if busy and not self.number:
            for child in multiprocessing.active_children():
                os.kill(child.pid, self.what)
                child.join()
                break
            self.number = busy[0].number


def test_one_of_two_is_killed_and_the_other_does_what_is_left(tmp_path):
    ours = search(tmp_path / "ours", steps=400, trials=4)
    kill = Sends(ours.folder, signal.SIGKILL)
    trials = ours.run(workers=2, watch=kill)
    assert kill.number
    assert [t.state for t in trials] == ["finished"] * 4
    assert sorted(t.attempts for t in trials) == [1, 1, 1, 2]
    assert {t.reason for t in trials} == {""}
    with ours.opened() as ledger:
        (lost,) = [a for a in ledger.attempts() if a.state.name == "FAIL"]
        (again,) = [a for a in ledger.attempts() if "follows" in a.user_attrs]
    assert lost.user_attrs["reason"] == "its worker died"
    assert lost.params == again.params
    runs = find_runs([ours.folder])
    assert [read_record(run).losses["validation"] for run in runs] == [
        t.loss for t in sorted(trials, key=lambda t: t.number)
    ]
    # Random values and runs that go on to the bit: as if nothing had happened.
    assert told(trials) == told(search(tmp_path / "whole", steps=400, trials=4).work())


def test_where_all_are_killed_the_sweep_has_not_ended_and_is_gone_on_with(tmp_path):
    ours = search(tmp_path, steps=400, trials=1)
    with pytest.raises(SweepError) as caught:
        ours.run(watch=Sends(tmp_path, signal.SIGKILL))
    assert str(caught.value) == (
        "the sweep did not end: a worker was ended by SIGKILL. The same command goes on with it"
    )
    assert (tmp_path / "trials.csv").read_text().count("running") == 1
    (trial,) = ours.work()
    assert (trial.state, trial.attempts) == ("finished", 2)


def test_a_worker_that_is_asked_to_end_leaves_its_trial_to_the_others(tmp_path):
    ours = search(tmp_path, steps=400, trials=1)
    with pytest.raises(SweepError) as caught:
        ours.run(watch=Sends(tmp_path, signal.SIGTERM))
    assert str(caught.value) == (
        "the sweep did not end: a worker was interrupted. The same command goes on with it"
    )
    (trial,) = ours.trials()
    assert (trial.state, trial.reason) == ("stopped", "interrupted")


def test_an_error_of_a_worker_is_told(tmp_path):
    ours = search(tmp_path, steps=5, trials=1)
    with ours.begun():
        (tmp_path / "trial-0001").touch()
    with pytest.raises(SweepError) as caught:
        ours.run()
    assert str(caught.value) == (
        "the sweep did not end: a worker failed: [Errno 17] File exists: "
        f"'{tmp_path / 'trial-0001'}'. The same command goes on with it"
    )


def test_who_is_interrupted_ends_the_workers_and_keeps_their_trials(tmp_path):
    ours = search(tmp_path, steps=100_000, trials=2)

    def interrupt(trials) -> None:
        if sum(t.points > 0 for t in trials) == 2:
            raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        ours.run(workers=2, watch=interrupt)
    assert time.monotonic() - began < 60
    assert not multiprocessing.active_children()
    assert [(t.state, t.reason) for t in ours.trials()] == [("stopped", "interrupted")] * 2
    for trial in ours.trials():
        assert read_record(tmp_path / trial.folder).facts["interrupted"] is True
