"""What a sweep does with its trials, in one process."""

import csv
import dataclasses
import json
import math
import os
import socket
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from optuna.samplers import RandomSampler
from optuna.trial import TrialState
from pretended import GRU, RECIPE, pretended, sweep
from sqlalchemy.exc import IntegrityError
from tiny_networks import WORDS

from typedwave.lab import (
    Choices,
    DivergedError,
    Range,
    Recipe,
    Search,
    SweepError,
    Trial,
    WordsRecipe,
    read_record,
)
from typedwave.lab.runs.folder import RunBusyError
from typedwave.lab.sweeps import ranked, worker
from typedwave.lab.sweeps import storage as storage_module
from typedwave.lab.sweeps.ledger import Ended
from typedwave.lab.sweeps.storage import JournalLock
from typedwave.lab.sweeps.trials import seconds_of
from typedwave.models import (
    NetworkConfig,
    PoolConfig,
    TransformerConfig,
    WaveNetConfig,
    network_of,
    size_of,
)

MINUTE = 60.0


@pytest.fixture
def pretend(monkeypatch):
    """Has nothing trained: the losses of a trial are what a function says of config and recipe."""

    def set_losses(losses) -> None:
        monkeypatch.setattr(worker, "Run", pretended(losses))

    set_losses(lambda config, recipe: [float(config.n_hidden)])
    return set_losses


@pytest.fixture(autouse=True)
def _unsafe_and_quick(monkeypatch):
    """A journal is brought to the disk with each line, which these tests have no use for."""
    monkeypatch.setattr(os, "fsync", lambda file: None)


@pytest.fixture
def no_curves(monkeypatch):
    monkeypatch.setattr("typedwave.lab.runs.run.draw_curve", lambda *_, **__: None)


def search(folder, words=WORDS, **settings) -> Search:
    ours = {name: settings.pop(name) for name in ("storage", "patience") if name in settings}
    return Search(sweep(**settings), folder, words, corpus="words", **ours)


def by_number(trials) -> list[Trial]:
    return sorted(trials, key=lambda trial: trial.number)


def told(trials) -> list[tuple]:
    """What does not depend on the clock."""
    return [(t.number, t.state, dict(t.values), t.loss, t.reason) for t in by_number(trials)]


def refused(error, function, *arguments, **keywords) -> str:
    with pytest.raises(error) as caught:
        function(*arguments, **keywords)
    return str(caught.value)


# trials


def test_each_trial_is_a_run(tmp_path, no_curves):
    space = {"n_hidden": Range(low=2, high=9), "muon_rate": Range(low=0.001, high=0.1, log=True)}
    trials = search(tmp_path, space=space).work()
    assert [trial.state for trial in trials] == ["finished"] * 3
    assert [trial.loss for trial in trials] == sorted(trial.loss for trial in trials)
    for trial in trials:
        record = read_record(tmp_path / trial.folder)
        assert record.losses["validation"] == trial.loss
        assert record.config == dataclasses.replace(GRU, n_hidden=trial.values["n_hidden"])
        assert record.recipe == dataclasses.replace(RECIPE, muon_rate=trial.values["muon_rate"])
        assert record.facts["parameters"] == trial.parameters
        assert trial.points == len(record.metrics.points) == 2
        assert trial.seconds > 0
        assert (trial.reason, trial.attempts) == ("", 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "journal.log",
        f"journal.log.{socket.gethostname()}.lock",
        "sweep.json",
        "trial-0001",
        "trial-0002",
        "trial-0003",
        "trials.csv",
        "workers",
    ]
    assert not any((tmp_path / "workers").iterdir())


def test_the_trials_are_a_table_on_disk_with_the_best_first(tmp_path, pretend):
    space = {"dilations": Choices(([1], [1, 2])), "channels": Choices((4, 8))}
    config = WaveNetConfig(channels=4, gate_channels=4)

    def losses(config, recipe):
        if config.channels == 4 and config.dilations == (1,):
            raise DivergedError("the loss is nan; so it is")
        return [config.channels + sum(config.dilations)]

    pretend(losses)
    settings = {"sampler": "grid", "trials": None, "max_parameters": None}
    trials = search(tmp_path, config=config, space=space, **settings).work()
    with (tmp_path / "trials.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["loss"] for row in rows] == ["7.0", "9.0", "11.0", ""]
    assert [row["dilations"] for row in rows] == ["(1, 2)", "(1,)", "(1, 2)", "(1,)"]
    assert [row["channels"] for row in rows] == ["4", "8", "8", "4"]
    assert [row["state"] for row in rows] == ["finished"] * 3 + ["failed"]
    assert [row["reason"] for row in rows] == [""] * 3 + [
        "DivergedError: the loss is nan; so it is"
    ]
    assert [int(row["number"]) for row in rows] == [trial.number for trial in trials]
    assert {int(row["parameters"]) for row in rows} == {trial.parameters for trial in trials}
    assert list(rows[0]) == [
        *("number", "state", "loss", "points", "parameters", "seconds"),
        *("dilations", "channels", "reason"),
    ]


def test_a_trial_that_fails_keeps_its_error_and_the_sweep_goes_on(tmp_path, pretend):
    def losses(config, recipe):
        if config.n_hidden % 2:
            raise RuntimeError("no memory\nfor this network")
        return [1.0, math.inf if config.n_hidden > 30 else 0.5]

    pretend(losses)
    trials = search(tmp_path, trials=8).work()
    for trial in trials:
        hidden = trial.values["n_hidden"]
        expected = ("finished", "")
        if hidden % 2:
            expected = ("failed", "RuntimeError: no memory")
        elif hidden > 30:
            expected = ("failed", "the validation loss is inf")
        assert (trial.state, trial.reason) == expected
    assert {trial.reason for trial in trials} == {
        "",
        "RuntimeError: no memory",
        "the validation loss is inf",
    }


def test_a_loss_that_diverges_is_a_failure_with_its_words(tmp_path, no_curves):
    config = NetworkConfig(network="flat", context=2, n_embd=2, n_hidden=3, output_scale=1e38)
    (trial,) = search(
        tmp_path, config=config, recipe=Recipe(steps=2), trials=1, space={"seed": Choices((1,))}
    ).work()
    assert trial.state == "failed"
    assert trial.reason.startswith("DivergedError: the ")
    assert trial.loss is None


def test_values_that_do_not_go_together_are_a_failure(tmp_path, pretend):
    config = TransformerConfig(n_embd=6, n_hidden=4, num_heads=2)
    space = {"num_heads": Choices((2, 5)), "n_embd": Choices((6, 10))}
    pretend(lambda config, recipe: [1.0])
    trials = search(tmp_path, config=config, space=space, sampler="grid", trials=None).work()
    assert {t.reason for t in trials if t.values == {"num_heads": 5, "n_embd": 6}} == {
        "ValueError: n_embd is 6, but has to be a multiple of num_heads = 5"
    }
    assert sorted(t.state for t in trials) == ["failed"] + ["finished"] * 3


def test_a_network_of_more_parameters_is_not_trained(tmp_path, pretend):
    def size(hidden: int) -> int:
        return size_of(network_of(dataclasses.replace(GRU, n_hidden=hidden), vocab_size=12))

    trained = []
    pretend(lambda config, recipe: trained.append(config.n_hidden) or [1.0])
    space = {"n_hidden": Choices((4, 5, 6))}
    most = size(5)
    grid = {"sampler": "grid", "trials": None}
    trials = search(tmp_path, space=space, max_parameters=most, **grid).work()
    assert {t.values["n_hidden"]: (t.state, t.parameters, t.reason) for t in trials} == {
        4: ("finished", size(4), ""),
        5: ("finished", most, ""),
        6: ("pruned", size(6), f"it has {size(6):,} parameters, but {most:,} are the most"),
    }
    assert sorted(trained) == [4, 5]


def test_a_sampler_learns_which_networks_are_too_large(tmp_path, pretend):
    """Five in six of those that are drawn at random are, and less than half of the last."""
    ours = search(tmp_path, trials=40, max_parameters=700, sampler="tpe", seed=1)
    late = [trial for trial in ours.work() if trial.number > 25]
    assert sum(trial.state == "pruned" for trial in late) < 7
    with ours.opened() as ledger:
        for attempt, trial in zip(ledger.attempts(), by_number(ours.trials()), strict=True):
            assert attempt.constraints == {"parameters": trial.parameters / 700 - 1}


@pytest.mark.parametrize("kind", ["flat", "hierarchical", "wavenet", "gru", "transformer", "ngram"])
def test_any_kind_of_network_is_measured_before_it_is_made(tmp_path, pretend, kind):
    pretend(lambda config, recipe: [1.0])
    space = {"network": Choices((kind,))}
    (trial,) = search(tmp_path, space=space, trials=1).work()
    assert (trial.state, trial.parameters is not None) == ("finished", True)


def test_what_does_not_look_good_is_pruned_and_stays_a_run(tmp_path, no_curves):
    pruner = {"pruner": "threshold", "pruner_options": {"upper": 0.1}}
    (trial,) = search(tmp_path, trials=1, **pruner).work()
    assert (trial.state, trial.reason) == ("pruned", "it did not look good at point 1")
    record = read_record(tmp_path / trial.folder)
    assert record.facts["interrupted"] is True
    assert trial.points == len(record.metrics.points) == 1
    assert trial.loss == record.metrics.points[0].validation


def test_points_are_compared_with_those_of_other_trials(tmp_path, pretend):
    """The median of 10 and 20 at the second point is 15."""
    order = iter([[30.0, 10.0, 1.0], [30.0, 20.0, 2.0], [30.0, 15.5, 0.0], [30.0, 14.5, 0.5]])
    pretend(lambda config, recipe: next(order))
    options = {"n_startup_trials": 2, "n_warmup_steps": 1}
    trials = search(tmp_path, trials=4, pruner="median", pruner_options=options).work()
    assert [(t.number, t.state, t.loss) for t in by_number(trials)] == [
        (1, "finished", 1.0),
        (2, "finished", 2.0),
        (3, "pruned", 15.5),
        (4, "finished", 0.5),
    ]
    assert [t.number for t in trials] == [4, 1, 2, 3]


def test_nothing_is_pruned_at_the_last_point(tmp_path, pretend):
    pretend(lambda config, recipe: [0.0, 5.0])
    pruner = {"pruner": "threshold", "pruner_options": {"upper": 1.0}}
    (trial,) = search(tmp_path, trials=1, **pruner).work()
    assert (trial.state, trial.loss, trial.points) == ("finished", 5.0, 2)


def test_the_points_of_a_teacher_are_not_those_of_the_trial(tmp_path, monkeypatch):
    losses = pretended(lambda config, recipe: [0.5, 0.25])

    class Taught(losses):
        def train(self, config, recipe, name):
            teacher = SimpleNamespace(
                network=SimpleNamespace(config=config),
                recipe=WordsRecipe(),
                curve=[SimpleNamespace(validation=9.0)],
                step=1,
                steps=3,
                seconds=0.0,
            )
            assert self.watch(teacher, iter([None])) is False
            return super().train(config, recipe, name)

    monkeypatch.setattr(worker, "Run", Taught)
    pruner = {"pruner": "threshold", "pruner_options": {"upper": 1.0}}
    (trial,) = search(tmp_path, trials=1, **pruner).work()
    assert (trial.state, trial.points, trial.loss) == ("finished", 2, 0.25)


def test_the_points_of_an_attempt_before_are_told_again(tmp_path, monkeypatch):
    class GoneOnWith(pretended(lambda config, recipe: [])):
        def train(self, config, recipe, name):
            curve = [SimpleNamespace(validation=loss) for loss in (9.0, 8.0)]
            experiment = SimpleNamespace(
                network=SimpleNamespace(config=config), recipe=recipe, curve=curve, step=3, steps=3
            )

            def points():
                curve.append(SimpleNamespace(validation=7.0))
                yield curve[-1]

            self.watch(experiment, points())
            return {"losses": {"validation": 7.0}}

    monkeypatch.setattr(worker, "Run", GoneOnWith)
    ours = search(tmp_path, trials=1)
    assert ours.work()[0].points == 3
    with ours.opened() as ledger:
        assert ledger.attempts()[0].intermediate_values == {1: 9.0, 2: 8.0, 3: 7.0}


def test_the_loss_may_be_of_unseen_words(tmp_path, pretend):
    pretend(lambda config, recipe: [1.0, 0.5])
    words = [f"{a}{b}" for a in "abcdef" for b in "uvwxyz"]
    (trial,) = search(tmp_path, words, trials=1, metric="unseen").work()
    assert trial.loss == 1.5


# samplers


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "gp", "grid"])
def test_interrupted_and_continued_it_has_the_same_trials(tmp_path, pretend, sampler):
    settings = {
        "sampler": sampler,
        "trials": 8,
        "space": {
            "n_hidden": Range(low=2, high=64, step=2),
            "muon_rate": Range(low=0.5, high=4.0, step=0.5),
        },
    }
    if sampler in ("tpe", "gp"):
        settings["sampler_options"] = {"n_startup_trials": 4}

    def losses(config, recipe):
        return [99.0, abs(config.n_hidden - 30) + recipe.muon_rate]

    pretend(losses)
    expected = told(search(tmp_path / "whole", **settings).work())
    assert len({tuple(values.values()) for _, _, values, _, _ in expected}) == 8

    calls = []

    def interrupted(config, recipe):
        calls.append(config)
        if len(calls) in (3, 4, 7):
            raise KeyboardInterrupt
        return losses(config, recipe)

    pretend(interrupted)
    ours = search(tmp_path / "parts", **settings)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            ours.work()
    trials = ours.work()
    assert told(trials) == expected
    assert {t.number: t.attempts for t in trials} == dict.fromkeys(range(1, 9), 1) | {3: 3, 5: 2}


def test_interrupted_and_continued_each_run_is_the_same_to_the_bit(
    tmp_path, no_curves, monkeypatch
):
    settings = {"trials": 2, "recipe": WordsRecipe(epochs=4, batch_size=4)}
    expected = search(tmp_path / "whole", **settings).work()
    ours = search(tmp_path / "parts", **settings)
    points = []
    prune = worker._Attempt._stops

    def interrupting(attempt, experiment, is_ours):
        points.append(experiment.step)
        if len(points) == 6:  # the second of the second trial
            raise KeyboardInterrupt
        return prune(attempt, experiment, is_ours)

    monkeypatch.setattr(worker._Attempt, "_stops", interrupting)
    with pytest.raises(KeyboardInterrupt):
        ours.work()
    stopped = ours.trials()[-1]
    assert (stopped.number, stopped.state, stopped.reason) == (2, "stopped", "interrupted")
    trials = ours.work()
    assert told(trials) == told(expected)
    assert [t.points for t in trials] == [4, 4]
    for name in ("metrics.jsonl", "samples.txt"):
        for trial in trials:
            parts = [tmp_path / folder / trial.folder / name for folder in ("whole", "parts")]
            assert len({path.read_bytes() for path in parts}) == 1


def test_a_grid_is_gone_through_once_in_an_order_that_the_seed_decides(tmp_path, pretend):
    grid = {"space": {"n_hidden": Range(low=2, high=9)}, "sampler": "grid", "trials": None}
    first, again, other = (
        [t.values["n_hidden"] for t in by_number(search(tmp_path / name, **grid, seed=seed).work())]
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    assert sorted(first) == list(range(2, 10))
    assert first == again
    assert first != other
    assert first != sorted(first)


def test_the_seed_decides_what_is_drawn(tmp_path, pretend):
    first, again, other = (
        told(search(tmp_path / name, seed=seed).work())
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    assert first == again
    assert first != other


def test_a_sequence_is_one_for_all_trials(tmp_path, pretend):
    """Eight points of Sobol's, also of a scrambled one, have one in each eighth."""
    space = {"warm_up": Range(low=0.0, high=1.0)}
    settings = {"sampler": "qmc", "sampler_options": {"scramble": True}, "space": space}
    trials = by_number(search(tmp_path, trials=9, **settings).work())[1:]  # the first is no point
    assert sorted(int(8 * trial.values["warm_up"]) for trial in trials) == list(range(8))


# budgets


def test_more_trials_are_run_when_there_are_to_be_more(tmp_path, pretend):
    assert len(search(tmp_path, trials=2).work()) == 2
    more = search(tmp_path, trials=5).work()
    assert told(more) == told(search(tmp_path / "at once", trials=5).work())
    assert len(search(tmp_path, trials=3).work()) == 5  # what there is stays


def test_a_training_that_takes_too_long_is_pruned(tmp_path, pretend):
    pretend(lambda config, recipe: [9.0, 8.0, 7.0, 6.0])  # a second each
    (trial,) = search(tmp_path, trials=1, seconds_per_trial=2).work()
    assert (trial.state, trial.points, trial.loss) == ("pruned", 3, 7.0)
    assert trial.reason == "its 2 seconds were over"
    (trial,) = search(tmp_path / "enough", trials=1, seconds_per_trial=3).work()
    assert trial.state == "finished"


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, monkeypatch) -> None:
        self.now = 1_000_000.0
        for name in ("time.time", "time.monotonic"):
            monkeypatch.setattr(name, lambda: self.now)


def test_a_sweep_ends_when_its_time_is_over_and_goes_on_with_more(tmp_path, pretend, monkeypatch):
    clock = Clock(monkeypatch)

    def losses(config, recipe):
        for loss in (3.0, 2.0, 1.0):
            clock.now += 10
            yield loss

    class Slowly(list):
        def __len__(self):
            return 3

        def __iter__(self):
            return losses(None, None)

    pretend(lambda config, recipe: Slowly())
    trials = by_number(search(tmp_path, trials=None, seconds=75).work())
    assert [(t.state, t.seconds, t.points) for t in trials] == [
        ("finished", 30, 3),
        ("finished", 30, 3),
        ("stopped", 20, 2),
    ]
    assert trials[2].reason == "the time of the sweep was over"
    clock.now += 10_000  # a pause does not count
    longer = by_number(search(tmp_path, trials=None, seconds=100).work())
    assert [(t.state, t.seconds, t.attempts) for t in longer] == [
        ("finished", 30, 1),
        ("finished", 30, 1),
        ("stopped", 40, 2),
    ]
    assert longer[2].values == trials[2].values
    assert told(search(tmp_path, trials=None, seconds=100).work()) == told(longer)  # no time left


def test_time_is_counted_once_however_many_work():
    def attempt(state, **attributes):
        return SimpleNamespace(state=state, user_attrs=attributes)

    attempts = [
        attempt(TrialState.COMPLETE, began=10.0, alive=40.0),
        attempt(TrialState.PRUNED, began=20.0, alive=30.0),  # meanwhile
        attempt(TrialState.FAIL, began=35.0, alive=45.0),  # partly so
        attempt(TrialState.FAIL, began=70.0),  # died at once
        attempt(TrialState.FAIL),  # before it began
        attempt(TrialState.WAITING),
        attempt(TrialState.RUNNING, began=100.0, alive=103.0),
    ]
    assert seconds_of(attempts, now=162.0) == 35 + 62
    assert seconds_of(reversed(attempts), now=162.0) == 35 + 62
    assert seconds_of(attempts, now=163.0) == 35 + 3  # a minute without a sign


def test_the_time_since_a_worker_died_is_not_that_of_the_sweep(tmp_path, pretend, monkeypatch):
    clock = Clock(monkeypatch)
    ours = search(tmp_path, trials=1, seconds=100)
    with ours.begun() as ledger:
        trial, _ = ledger.claim(dead_worker(tmp_path))
        clock.now += 20
        trial.set_user_attr("alive", clock.now)
        clock.now += 5
        assert ledger.seconds_left() == 75
        clock.now += 10_000
        assert ledger.seconds_left() == 80
    (trial,) = ours.work()
    assert (trial.state, trial.attempts, trial.seconds) == ("finished", 2, 20)
    ours = search(tmp_path / "dead lately", trials=1, seconds=10)
    with ours.begun() as ledger:
        ledger.claim(dead_worker(tmp_path / "dead lately"))
        clock.now += 15
        assert ledger.seconds_left() == -5
    assert ours.work()[0].state == "finished"  # of 10 seconds none was known to be used


def test_it_ends_when_it_is_told_to_stop(tmp_path, pretend):
    pretend(lambda config, recipe: [1.0, 0.5])
    asked = []

    def stopped() -> bool:
        asked.append(None)
        return len(asked) > 3  # before the first trial, at its first point, before the second

    ours = search(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        ours.work(stopped=stopped)
    assert [(t.state, t.reason) for t in ours.trials()] == [
        ("finished", ""),
        ("stopped", "interrupted"),
    ]
    assert ours.work(stopped=lambda: True) == ours.trials()
    assert [t.state for t in ours.work()] == ["finished"] * 3


def test_a_full_disk_ends_the_worker_and_the_trial_is_tried_again(tmp_path, pretend):
    full = [True]

    def losses(config, recipe):
        if full:
            raise OSError(28, "No space left on device")
        return [1.0]

    pretend(losses)
    ours = search(tmp_path, trials=1)
    assert refused(OSError, ours.work) == "[Errno 28] No space left on device"
    (trial,) = ours.trials()
    assert (trial.state, trial.reason) == ("stopped", "[Errno 28] No space left on device")
    full.clear()
    (again,) = ours.work()
    assert (again.state, again.attempts, again.values) == ("finished", 2, trial.values)


# several workers


def dead_worker(folder) -> str:
    """Leaves the lock of a worker, as one does that was killed here."""
    path = folder / "workers" / "dead"
    path.parent.mkdir(exist_ok=True)
    path.touch()
    return f"{socket.gethostname()}/dead"


def test_the_trial_of_a_dead_worker_is_tried_again_by_another(tmp_path, pretend):
    ours = search(tmp_path)
    with ours.begun() as ledger:
        trial, number = ledger.claim(dead_worker(tmp_path))
        hidden = trial.suggest_int("n_hidden", 2, 64)
        trial.report(77.0, 1)
    assert number == 1
    (running,) = ours.trials()
    assert (running.state, running.loss, running.reason) == ("running", 77.0, "")
    trials = by_number(ours.work())
    assert told(trials) == told(search(tmp_path / "whole").work())
    assert trials[0].values == {"n_hidden": hidden}
    assert [(t.state, t.attempts) for t in trials] == [
        ("finished", 2),
        ("finished", 1),
        ("finished", 1),
    ]


def test_a_worker_that_died_before_it_had_values_loses_nothing(tmp_path, pretend):
    ours = search(tmp_path)
    with ours.begun() as ledger:
        ledger.claim(dead_worker(tmp_path))
    assert told(ours.work()) == told(search(tmp_path / "whole").work())


def test_values_are_not_forgotten_by_an_attempt_that_had_none(tmp_path, pretend):
    ours = search(tmp_path, trials=1)
    with ours.begun() as ledger:
        trial, _ = ledger.claim("elsewhere/worker")
        ledger._study.sampler = RandomSampler(seed=5)  # and not as any worker would
        hidden = trial.suggest_int("n_hidden", 2, 64)
        ledger.bury(ledger.running()[0])
        ledger.claim("elsewhere/worker")
        ledger.bury(ledger.running()[0])
    (trial,) = ours.work()
    assert trial.values == {"n_hidden": hidden}
    assert trial.values != search(tmp_path / "other", trials=1).work()[0].values


def test_a_trial_that_costs_three_workers_has_failed(tmp_path, pretend):
    ours = search(tmp_path, trials=1)
    with ours.begun() as ledger:
        for deaths in (1, 2, 3):
            trial, number = ledger.claim("elsewhere/worker")
            trial.suggest_int("n_hidden", 2, 64)
            ledger.bury(ledger.running()[0])
            (told_of,) = ledger.trials()
            assert (number, told_of.attempts) == (1, deaths)
            if deaths < 3:
                assert (told_of.state, told_of.reason) == ("stopped", "its worker died")
    (trial,) = ours.work()
    assert (trial.state, trial.reason) == ("failed", "its worker died 3 times")


def test_who_is_interrupted_again_and_again_has_not_failed(tmp_path, pretend):
    ours = search(tmp_path, trials=1)
    with ours.begun() as ledger:
        for _ in range(5):
            trial, _ = ledger.claim("elsewhere/worker")
            ledger.end(trial, Ended(reason="interrupted", again=True))
    (trial,) = ours.work()
    assert (trial.state, trial.attempts) == ("finished", 6)


def test_of_two_workers_that_ask_at_once_for_the_last_trial_one_gets_it(tmp_path, pretend):
    ours = search(tmp_path, trials=1)
    with ours.begun() as ledger, ours.opened() as other:
        ask = ledger._study.ask
        others = []

        def at_once():
            others.append(other.claim("there/worker"))
            return ask()

        ledger._study.ask = at_once
        assert ledger.claim("here/worker") is None
        assert others[0][1] == 1
        assert len(ledger.attempts()) == 2
        assert [(t.number, t.state) for t in ledger.trials()] == [(1, "running")]
        assert ledger.claim("here/worker") is None
        assert len(ledger.attempts()) == 2  # what is one too many is not tried again
        assert not ledger.done()
        other.end(others[0][0], Ended(loss=1.0))
        assert ledger.done()
    assert [t.number for t in search(tmp_path, trials=2).work()] == [1, 2]


def test_of_two_workers_that_try_the_same_again_one_does(tmp_path, pretend):
    ours = search(tmp_path, trials=1)
    with ours.begun() as ledger, ours.opened() as other:
        trial, _ = ledger.claim("here/worker")
        ledger.end(trial, Ended(reason="interrupted", again=True))
        ask = ledger._study.ask
        others = []

        def at_once():
            other._study.enqueue_trial({}, user_attrs={"follows": 1})  # asked as we did
            others.append(other.claim("there/worker"))
            return ask()

        ledger._study.ask = at_once
        assert ledger.claim("here/worker") is None
        assert others[0][1] == 1
        assert [a.state.name for a in ledger.attempts()] == ["FAIL", "RUNNING", "FAIL"]
        other.end(others[0][0], Ended(loss=1.0))
        assert ledger.done()
    assert [(t.state, t.attempts) for t in ours.work()] == [("finished", 2)]


def test_a_worker_waits_for_the_last_trial_of_another(tmp_path, pretend):
    ours = search(tmp_path, trials=2)
    with ours.begun() as ledger:
        trial, _ = ledger.claim("elsewhere/worker")
        waiting = threading.Thread(target=ours.work)
        waiting.start()
        deadline = time.monotonic() + MINUTE
        while len(ledger.attempts()) < 2 or len(ledger.running()) > 1:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        waiting.join(0.5)
        assert waiting.is_alive()
        ledger.end(trial, Ended(loss=3.0))
        waiting.join(MINUTE)
        assert not waiting.is_alive()
    assert {t.state for t in ours.trials()} == {"finished"}


def test_a_worker_elsewhere_is_dead_when_it_is_silent(tmp_path, pretend):
    ours = search(tmp_path, trials=1, patience=0.3)
    with ours.begun() as ledger:
        ledger.claim("elsewhere/worker")
    (trial,) = ours.work()
    assert (trial.state, trial.attempts) == ("finished", 2)


def test_whose_lock_is_held_lives_and_whose_sign_changes(tmp_path, monkeypatch):
    clock = Clock(monkeypatch)
    deaths = worker._Deaths(tmp_path, 60.0)

    def attempt(number, **attributes):
        return SimpleNamespace(number=number, user_attrs=attributes)

    with worker._present(tmp_path) as me:
        assert me.startswith(f"{socket.gethostname()}/")
        assert not deaths.happened(attempt(1, worker=me))
        clock.now += 1000
        assert not deaths.happened(attempt(1, worker=me))
    assert deaths.happened(attempt(1, worker=dead_worker(tmp_path)))

    for name in ("elsewhere/dead", f"{socket.gethostname()}/unknown"):  # whose lock is not here
        deaths = worker._Deaths(tmp_path, 60.0)
        clock.now += 1000
        assert not deaths.happened(attempt(2, worker=name, alive=1.0))  # heard of it just now
        clock.now += 60
        assert not deaths.happened(attempt(2, worker=name, alive=1.0))
        assert not deaths.happened(attempt(3, worker=name, alive=1.0))
        clock.now += 1
        assert deaths.happened(attempt(2, worker=name, alive=1.0))
        clock.now += 60
        assert not deaths.happened(attempt(3, worker=name, alive=2.0))
        clock.now += 61
        assert deaths.happened(attempt(3, worker=name, alive=2.0))
    assert not deaths.happened(attempt(4))  # between two writes of its worker, or dead there
    clock.now += 61
    assert deaths.happened(attempt(4))


def test_a_worker_gives_signs_of_life_and_hears_when_its_trial_was_taken(tmp_path):
    ours = search(tmp_path)
    with ours.begun() as ledger, ours.opened() as other:
        trial, _ = ledger.claim("here/worker")
        with worker._beating(trial, 0.01) as taken:
            deadline = time.monotonic() + MINUTE
            while other.attempts()[0].user_attrs.get("alive") is None:
                assert time.monotonic() < deadline
            assert not taken.is_set()
            other.bury(other.running()[0])
            assert taken.wait(MINUTE)


def test_a_worker_that_was_taken_for_dead_leaves_the_trial_to_the_other(tmp_path, pretend):
    ours = search(tmp_path, trials=2)

    def losses(config, recipe):
        with ours.opened() as other:
            attempts = other.attempts()
            if len(attempts) == 1:
                other.bury(attempts[0])
        return [5.0, 4.0]

    pretend(losses)
    trials = by_number(ours.work())
    assert [(t.state, t.loss, t.attempts) for t in trials] == [
        ("finished", 4.0, 2),
        ("finished", 4.0, 1),
    ]
    assert told(trials) == told(search(tmp_path / "whole", trials=2).work())


def test_a_worker_that_was_taken_for_dead_writes_nothing_more(tmp_path, pretend, monkeypatch):
    ours = search(tmp_path, trials=1)
    with ours.begun() as ledger:
        claimed = ledger.claim("here/worker")
        attempt = worker._Attempt(ours.worker(ledger, lambda: False), *claimed, math.inf)
        attempt.taken.set()
        experiment = SimpleNamespace(curve=[SimpleNamespace(validation=1.0)], step=1, steps=2)
        with pytest.raises(worker.UpdateFinishedTrialError):
            attempt._stops(experiment, ours=True)
        assert ledger.trials()[0].points == 0


def test_a_folder_that_another_process_trains_into_is_waited_for(tmp_path, monkeypatch):
    busy = [True, True]
    losses = pretended(lambda config, recipe: [1.0])

    class Busy(losses):
        def train(self, *arguments):
            if busy and busy.pop():
                raise RunBusyError("another trains")
            return super().train(*arguments)

    monkeypatch.setattr(worker, "Run", Busy)
    (trial,) = search(tmp_path, trials=1).work()
    assert (trial.state, trial.attempts) == ("finished", 1)
    busy.extend([True] * 100)
    (trial,) = search(tmp_path / "for ever", trials=1, patience=0.3).work()
    assert (trial.state, trial.reason) == ("failed", "RunBusyError: another trains")


# storages


def test_several_folders_share_one_database(tmp_path, pretend):
    storage = f"sqlite:///{tmp_path}/trials.db"
    asked = []

    def stopped() -> bool:
        asked.append(None)
        return len(asked) > 2

    first = search(tmp_path / "first", storage=storage, trials=5)
    first.work(stopped=stopped)
    assert [t.state for t in first.trials()] == ["finished"] * 2
    second = search(tmp_path / "second", storage=storage, trials=5)
    trials = second.work()
    assert told(trials) == told(search(tmp_path / "whole", trials=5).work())
    assert first.trials() == trials
    search(tmp_path / "third", storage=storage, name="other", trials=1).work()
    assert first.trials() == trials


def test_a_database_does_all_that_a_journal_does(tmp_path, no_curves):
    storage = f"sqlite:///{tmp_path}/trials.db"
    ours = search(tmp_path / "ours", storage=storage, sampler="tpe", pruner="median")
    with ours.begun() as ledger:
        trial, _ = ledger.claim(dead_worker(tmp_path / "ours"))
        trial.suggest_int("n_hidden", 2, 64)
    trials = ours.work()
    whole = search(tmp_path / "whole", sampler="tpe", pruner="median").work()
    assert told(trials) == told(whole)
    assert [t.points for t in trials] == [t.points for t in whole]


def test_a_line_that_was_cut_off_is_taken_from_the_journal(tmp_path, pretend):
    expected = told(search(tmp_path / "whole").work())
    ours = search(tmp_path / "cut", trials=2)
    ours.work()
    journal = tmp_path / "cut" / "journal.log"
    text = journal.read_bytes()
    journal.write_bytes(text + b'{"op_code":4,"worker')
    assert told(search(tmp_path / "cut").work()) == expected
    assert journal.read_bytes().startswith(text + b'{"op_code"')
    assert all(json.loads(line) for line in journal.read_bytes().splitlines())


def test_a_lock_that_a_killed_process_left_here_is_free_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("typedwave.lab.sweeps.storage.time.sleep", None)  # it is not waited for
    lock = JournalLock(str(tmp_path / "journal"))
    (tmp_path / "journal.lock").symlink_to(f"{socket.gethostname()}/dead")
    assert lock.acquire()
    assert os.readlink(tmp_path / "journal.lock").startswith(f"{socket.gethostname()}/")
    assert not os.readlink(tmp_path / "journal.lock").endswith("/dead")
    lock.release()
    assert not os.path.lexists(tmp_path / "journal.lock")


def test_a_lock_of_another_machine_is_waited_for_and_not_for_ever(tmp_path, monkeypatch):
    clock = Clock(monkeypatch)
    link = tmp_path / "journal.lock"
    link.symlink_to("elsewhere/first")
    waits = []

    def sleep(seconds: float) -> None:
        clock.now += 10
        waits.append(os.readlink(link))
        if len(waits) == 3:  # 30 seconds are not too long
            link.unlink()
            link.symlink_to("elsewhere/second")

    monkeypatch.setattr("typedwave.lab.sweeps.storage.time.sleep", sleep)
    lock = JournalLock(str(tmp_path / "journal"))
    lock.acquire()
    assert waits == ["elsewhere/first"] * 3 + ["elsewhere/second"] * 4
    link.unlink()
    link.symlink_to("elsewhere/third")  # who took it for left behind
    lock.release()
    assert os.readlink(link) == "elsewhere/third"


def test_a_lock_is_held_by_one(tmp_path):
    locks = [JournalLock(str(tmp_path / "journal")) for _ in range(2)]
    locks[0].acquire()
    waiting = threading.Thread(target=lambda: locks[1].acquire() and locks[1].release())
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    locks[0].release()
    waiting.join(MINUTE)
    assert not waiting.is_alive()


def test_what_is_no_journal_is_refused(tmp_path):
    path = tmp_path / "letter.txt"
    for text in ("Dear sir,\n", "3\n", "{}\n", '{"op_code": 77}\n', '{"to": "you'):
        path.write_text(text, encoding="utf-8")
        message = refused(SweepError, search(tmp_path / "new", storage=str(path)).work)
        assert message == f"{path} is not the journal of a sweep, or is damaged"
        assert [each.name for each in tmp_path.iterdir()] == ["letter.txt"]
        assert path.read_text(encoding="utf-8") == text
    assert not (tmp_path / "new").exists()


def test_a_storage_that_cannot_be_opened_is_told_without_its_password(tmp_path):
    ours = search(tmp_path / "new", storage="dialect://me:secret@host/db")
    assert refused(SweepError, ours.work) == (
        "the storage cannot be opened: Can't load plugin: sqlalchemy.dialects:dialect"
    )
    assert not (tmp_path / "new").exists()


@pytest.fixture
def failing(monkeypatch):
    """Has the database refuse a few times, as it does one of two who make its tables at once."""
    pauses, left, opening = [], [], storage_module.RDBStorage

    def opened(url, **options):
        if left:
            left.pop()
            raise IntegrityError("CREATE TABLE studies", {}, Exception("it is there\nalready"))
        return opening(url, **options)

    monkeypatch.setattr(storage_module, "RDBStorage", opened)
    monkeypatch.setattr(storage_module.time, "sleep", pauses.append)
    return SimpleNamespace(left=left, pauses=pauses)


def test_a_database_whose_tables_another_makes_is_opened_again(failing, tmp_path):
    url = f"sqlite:///{tmp_path / 'trials.db'}"
    failing.left += [1, 2, 3]
    with storage_module.storage_at(url) as storage:
        assert storage.get_all_studies() == []
    assert failing.pauses == [0.5] * 3
    failing.left += [1, 2, 3, 4]
    with pytest.raises(SweepError) as caught, storage_module.storage_at(url):
        pass
    assert str(caught.value) == ("the storage cannot be opened: (builtins.Exception) it is there")


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused(url, tmp_path):
    ours = search(tmp_path / "new", storage=url)
    assert refused(SweepError, ours.work) == (
        f"the storage {url} is in the memory of one process, and workers are several; name a file: "
        "sqlite:///trials.db"
    )
    assert not (tmp_path / "new").exists()


def test_a_database_that_fails_later_is_told_in_a_line(tmp_path, pretend):
    path = tmp_path / "trials.db"

    def damage(config, recipe):
        path.write_bytes(b"garbage" * 1000)
        return [2.0]

    pretend(damage)
    ours = search(tmp_path / "new", storage=f"sqlite:///{path}", trials=2)
    assert refused(SweepError, ours.work) == (
        "the storage fails: (sqlite3.DatabaseError) file is not a database"
    )


def test_a_driver_that_is_not_installed_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    ours = search(tmp_path / "new", storage="postgresql+psycopg2://me:secret@host/db")
    assert refused(SweepError, ours.work) == (
        "the storage needs psycopg2, which is not installed: pip install psycopg2, or name another "
        "in the URL, as in postgresql+psycopg2://"
    )
    assert not (tmp_path / "new").exists()


def test_a_folder_with_something_else_is_refused(tmp_path):
    (tmp_path / "letter.txt").touch()
    assert refused(SweepError, search(tmp_path).work) == (
        f"{tmp_path} is not empty, and holds no sweep; name a new folder"
    )


def test_a_folder_with_another_sweep_is_refused_with_the_difference(tmp_path, pretend):
    search(tmp_path).work()
    for settings, difference in (
        (
            {"space": {"n_hidden": Range(low=2, high=65)}},
            "space.n_hidden.high is 64 there and 65 here",
        ),
        (
            {"space": {"n_hidden": Range(low=2, high=64, step=2)}},
            "space.n_hidden.step is missing there and 2 here",
        ),
        ({"space": {"n_embd": Range(low=2, high=64)}}, None),
        ({"max_parameters": 99}, "max_parameters is missing there and 99 here"),
        ({"words": [*WORDS, "cec"]}, None),
    ):
        message = refused(SweepError, search(tmp_path, **settings).work)
        assert message.startswith(f"{tmp_path} holds another sweep: ")
        assert message.endswith("; name a new folder")
        if difference is not None:
            assert message == f"{tmp_path} holds another sweep: {difference}; name a new folder"


def test_a_storage_with_another_sweep_of_the_name_is_refused(tmp_path, pretend):
    storage = str(tmp_path / "shared.log")
    search(tmp_path / "first", storage=storage).work()
    other = search(tmp_path / "second", storage=storage, seed=7)
    assert refused(SweepError, other.work) == (
        "the sweep 'sweep' in the storage is another: seed is 42 there and 7 here; give this one "
        "another name, or another storage"
    )
    assert not (tmp_path / "second").exists()


def test_a_sweep_that_is_not_begun_has_no_trials(tmp_path):
    assert search(tmp_path).trials() == []
    assert not any(tmp_path.iterdir())


def test_a_damaged_folder_is_refused(tmp_path):
    (tmp_path / "sweep.json").write_text("{", encoding="utf-8")
    assert refused(SweepError, search(tmp_path).work) == (
        f"{tmp_path / 'sweep.json'} is damaged: Expecting property name enclosed in double quotes: "
        "line 1 column 2 (char 1)"
    )


def test_what_each_trial_would_fail_for_is_refused_first(tmp_path):
    folder = tmp_path / "new"
    words = ["ana", "bo"] * 30
    assert refused(ValueError, search(folder, words, metric="unseen").work) == (
        "metric is 'unseen', but each validation word is in train as well"
    )
    assert refused(
        ValueError, search(folder, recipe=Recipe(), space={"seed": Choices((1,))}).work
    ) == ("a Recipe is not for a network of kind gru")
    pool = PoolConfig(members=(GRU,), weights=(1.0,))
    space = {"seed": Choices((1,))}
    assert refused(ValueError, search(folder, config=pool, space=space).work) == (
        "a PoolRecipe is for a pool, and a pool for a PoolRecipe"
    )
    assert not folder.exists()


def test_a_recipe_with_a_teacher_may_be_searched(tmp_path, pretend):
    search(tmp_path, recipe=WordsRecipe(teacher="fast", sampled=9)).work()


# ranking


def test_the_best_are_first_and_what_has_no_loss_is_last():
    def trial(number, state, loss):
        return Trial(number, state, {}, loss, 0, None, 0.0, "", 1)

    trials = [
        trial(1, "failed", None),
        trial(2, "pruned", 0.5),
        trial(3, "finished", 2.0),
        trial(4, "running", 1.0),
        trial(5, "finished", 1.5),
        trial(6, "pruned", None),
        trial(7, "waiting", None),
        trial(8, "stopped", 1.0),
        trial(9, "finished", 1.5),
    ]
    assert [t.number for t in ranked(trials)] == [5, 9, 3, 2, 6, 4, 8, 7, 1]
    assert trials[0].folder == "trial-0001"
