import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import FRIENDS, fails

from typedwave.cli import run, sweeping
from typedwave.lab import Search, Trial, read_sweep

SWEEP = """
preset = "flat"
[sweep]
sampler = "grid"
pruner = "none"
max_parameters = 400
[network]
context = 3
n_embd = 2
[recipe]
epochs = 2
batch_size = 4
[space.n_hidden]
choices = [4, 8, 99]
[space.muon_rate]
choices = [0.01, 0.03]
"""


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("words") / "words.txt"
    path.write_text("\n".join(FRIENDS) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def space(tmp_path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(SWEEP, encoding="utf-8")
    return path


@pytest.fixture
def asked(monkeypatch) -> dict:
    """Has the sweep run in this process; what it was asked."""
    found: dict = {}

    def here(search, *, workers, threads, watch):
        found.update(search=search, workers=workers, threads=threads)
        watch(search.trials() if (search.folder / "sweep.json").exists() else [])
        time.sleep(found.get("pause", 0.0))
        trials = search.work()
        for _ in range(2):
            watch(sorted(trials, key=lambda trial: trial.number))
        return trials

    monkeypatch.setattr(Search, "run", here)
    monkeypatch.setattr(os, "fsync", lambda file: None)
    monkeypatch.setattr("typedwave.lab.runs.run.draw_curve", lambda *_, **__: None)
    return found


def test_a_sweep_tells_of_each_trial_and_ranks_them(capsys, tmp_path, space, words, asked):
    folder = tmp_path / "runs"
    assert run(["sweep", str(space), str(words), "--out", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    told, table, last = lines[:6], lines[6:13], lines[13]
    for line in told:
        assert re.fullmatch(
            r"trial \d  state finished  loss \d\.\d{4}  points 2  parameters \d+  seconds \d\.\d"
            r"  n_hidden [48]  muon_rate 0\.0[13]"
            r"|trial \d  state pruned  points 0  parameters 1,710  seconds \d\.\d  n_hidden 99"
            r"  muon_rate 0\.0[13]  remark it has 1,710 parameters, but 400 are the most",
            line,
        ), line
    assert table[0].split() == [
        *("trial", "state", "loss", "points", "parameters", "seconds"),
        *("n_hidden", "muon_rate", "remark"),
    ]
    losses = [line.split()[2] for line in table[1:5]]
    assert losses == sorted(losses)
    assert [line.split()[1] for line in table[1:]] == ["finished"] * 4 + ["pruned"] * 2
    best = table[1].split()[0]
    assert last == (f"the best is in {folder}/trial-000{best}; all are in {folder / 'trials.csv'}")
    assert (folder / f"trial-000{best}" / "run.json").exists()


def test_a_sweep_that_is_gone_on_with_tells_of_what_is_new(capsys, tmp_path, space, words, asked):
    folder = tmp_path / "runs"
    command = ["sweep", str(space), str(words), "--out", str(folder), "--trials"]
    run([*command, "2"])
    assert len(asked["search"].trials()) == 2
    capsys.readouterr()
    assert run([*command, "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2 trials ended before"
    assert [line.split()[1] for line in lines[1:3]] == ["3", "4"]
    assert lines[3].startswith("trial")


def test_the_columns_of_a_table_are_of_one_width():
    ours = {"values": {"n_hidden": 4, "clip": 0.0123456}, "points": 12}
    trials = [
        Trial(
            10, "finished", loss=2.0, parameters=12_345, seconds=1, reason="", attempts=2, **ours
        ),
        Trial(
            9, "failed", loss=None, parameters=None, seconds=0.1, reason="no", attempts=1, **ours
        ),
        Trial(8, "waiting", {"dilations": (1, 2)}, None, 0, None, 0, "", 0),
    ]
    assert sweeping._table(trials, ["n_hidden", "clip", "dilations"]) == [
        "trial  state       loss  points  parameters  seconds  n_hidden     clip  dilations  "
        "remark",
        "   10  finished  2.0000      12      12,345      1.0         4  0.01235             "
        "attempt 2",
        "    9  failed                12                  0.1         4  0.01235             no",
        "    8  waiting                0                  0.0                           1,2",
    ]


def test_what_runs_is_above_what_ended():
    trials = [
        Trial(1, "finished", {}, 2.0, 0, None, 0, "", 1),
        Trial(2, "running", {}, 3.0, 0, None, 0, "", 1),
        Trial(3, "finished", {}, 1.0, 0, None, 0, "", 1),
        Trial(4, "running", {}, None, 0, None, 0, "", 1),
    ]
    assert [trial.number for trial in sweeping._running_first(trials)] == [2, 4, 3, 1]


def test_a_sweep_as_json_is_json_on_stdout_and_nothing_else(capsys, tmp_path, space, words, asked):
    folder = tmp_path / "runs"
    assert run(["sweep", str(space), str(words), "--out", str(folder), "--json"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert out.count("\n") == 1
    assert err.count("\n") == 6
    trials = told.pop("trials")
    assert told == {"sweep": str(folder), "interrupted": False}
    assert len(trials) == 6
    assert set(trials[0]) == {
        *("number", "state", "values", "loss", "points", "parameters", "seconds", "reason"),
        *("attempts", "folder"),
    }
    record = json.loads((folder / trials[0]["folder"] / "run.json").read_text(encoding="utf-8"))
    assert record["losses"]["validation"] == trials[0]["loss"]


def test_the_flags_are_what_a_search_is_given(capsys, tmp_path, space, words, asked):
    storage = tmp_path / "elsewhere.log"
    flags = ["--workers", "3", "--threads", "2", "--storage", str(storage), "--seconds", "0.001"]
    assert run(["sweep", str(space), str(words), "--out", str(tmp_path / "runs"), *flags]) == 0
    search = asked["search"]
    assert (asked["workers"], asked["threads"], search.storage) == (3, 2, str(storage))
    assert search.words == FRIENDS
    assert search.corpus == str(words.resolve())
    assert (search.sweep.trials, search.sweep.seconds) == (None, 0.001)
    assert storage.exists()
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"no trial finished; all are in {tmp_path / 'runs' / 'trials.csv'}"
    )


def test_without_out_a_sweep_is_named_by_time_and_file(
    capsys, tmp_path, space, words, asked, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert run(["sweep", str(space), str(words), "--trials", "1"]) == 0
    (folder,) = Path("runs").iterdir()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d-\d{6}-tiny", folder.name)


def test_on_a_terminal_the_trials_are_a_table_that_lives(
    capsys, tmp_path, space, words, asked, monkeypatch
):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("LINES", "9")
    monkeypatch.setenv("COLUMNS", "60")
    asked["pause"] = 0.5  # it is drawn four times a second
    assert run(["sweep", str(space), str(words), "--out", str(tmp_path / "runs")]) == 0
    out, err = capsys.readouterr()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", err)
    assert "0 of 6 trials ended" in shown
    assert "6 of 6 trials ended: 4 finished, 2 pruned" in shown
    assert "and 1 more" in shown
    assert all(len(line) <= 60 for line in shown.splitlines())
    assert len(out.splitlines()) == 8  # the table and where the best is


def test_what_is_wrong_is_told_in_a_line_before_anything_is_made(capsys, tmp_path, space, words):
    folder = tmp_path / "runs"
    base = ["sweep", space, words, "--out", folder]
    assert fails(capsys, *base, "--workers", "0") == "workers is 0, but has to be at least 1"
    assert fails(capsys, *base, "--threads", "0") == "threads is 0, but has to be at least 1"
    assert fails(capsys, *base, "--trials", "0") == (
        "trials is 0, but has to be a whole number of at least 1"
    )
    assert fails(capsys, "sweep", tmp_path / "no.toml") == (
        f"{tmp_path / 'no.toml'}: No such file or directory"
    )
    space.write_text(SWEEP.replace("[4, 8, 99]", "[]"), encoding="utf-8")
    assert fails(capsys, *base) == f"{space}: space.n_hidden: choices is empty"
    assert not folder.exists()


@pytest.fixture
def running(tmp_path, space, words):
    """The command in a process, with a trial that would take long, and its folder."""
    longer = SWEEP.replace("epochs = 2", "epochs = 50_000").replace("[4, 8, 99]", "[4]")
    space.write_text(longer, encoding="utf-8")
    folder = tmp_path / "runs"
    command = [sys.executable, "-m", "typedwave", "sweep", str(space), str(words)]
    process = subprocess.Popen(
        [*command, "--out", str(folder), "--trials", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not list(folder.glob("*/metrics.jsonl")):
        assert process.poll() is None
        time.sleep(0.05)
    yield process, folder
    process.communicate()


def test_ctrl_c_ends_a_sweep_that_can_be_gone_on_with(running):
    """As from a shell: all processes get the signal."""
    process, folder = running
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    _, trial, last = out.splitlines()
    assert trial.split()[:2] == ["1", "stopped"]
    assert trial.endswith("  interrupted")
    assert last == f"interrupted; the same command with --out {folder} goes on"


def test_workers_end_when_nobody_waits_for_them(running, space, words):
    process, folder = running
    process.kill()
    search = Search(read_sweep(space), folder, FRIENDS, corpus=str(words))
    deadline = time.monotonic() + 60
    while (trial := search.trials()[0]).state == "running":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert (trial.state, trial.reason) == ("stopped", "interrupted")


def test_a_sweep_of_failures_is_one(capsys, tmp_path, space, words, asked, monkeypatch):
    def fail(*arguments, **options):
        raise ValueError("as it does")

    monkeypatch.setattr("typedwave.lab.sweeps.worker.Run", fail)
    assert run(["sweep", str(space), str(words), "--out", str(tmp_path / "runs")]) == 1
    assert "no trial finished" in capsys.readouterr().out
