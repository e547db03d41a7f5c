import json
import os
import platform
import shutil
import subprocess
from importlib.metadata import version

import pytest
import torch

from typedwave.lab.runs import environment as environment_module
from typedwave.lab.runs.environment import environment
from typedwave.lab.training.processes import ALONE, Processes

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git here")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A folder that takes the place of the package's, in a place without git."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "A")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "a@b.c")
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "module.py").write_text("x = 1\n")
    monkeypatch.setattr(environment_module, "_PACKAGE", folder)
    return folder


def git(folder, *arguments) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def committed(package) -> str:
    git(package.parent, "init", "--quiet")
    git(package.parent, "add", "package")
    git(package.parent, "commit", "--quiet", "--message", "all of it")
    return git(package.parent, "rev-parse", "HEAD")


def test_it_says_what_python_torch_and_machine_it_is():
    found = environment(ALONE)
    assert json.loads(json.dumps(found)) == found
    commit = found.pop("commit")
    assert commit is None or len(commit.removesuffix("+")) == 40
    assert found == {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "typedwave": version("typedwave"),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": 1,
        "device": "cpu",
    }


def test_threads_and_processes_are_those_that_train(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 5)
    found = environment(Processes(rank=1, count=3))
    assert (found["threads"], found["processes"], found["device"]) == (5, 3, "cpu")


def test_a_gpu_is_named(monkeypatch):
    asked = []
    monkeypatch.setattr(
        torch.cuda, "get_device_name", lambda device: asked.append(device) or "Tesla"
    )
    device = torch.device("cuda:1")
    assert environment(Processes(device=device))["device"] == "Tesla"
    assert asked == [device]


@needs_git
def test_the_commit_is_that_of_the_package(package):
    commit = committed(package)
    assert environment(ALONE)["commit"] == commit
    # Of what lies beside the package, nothing matters.
    (package.parent / "beside").write_text("new\n")
    assert environment(ALONE)["commit"] == commit
    git(package.parent, "add", "beside")
    git(package.parent, "commit", "--quiet", "--message", "something else")
    assert environment(ALONE)["commit"] == commit


@needs_git
@pytest.mark.parametrize("name", ["module.py", "other.py"])
def test_a_change_since_the_commit_is_told_by_a_plus_sign(package, name):
    commit = committed(package)
    (package / name).write_text("x = 2\n")
    assert environment(ALONE)["commit"] == commit + "+"


@needs_git
def test_the_commit_of_a_project_that_only_has_it_installed_is_not_the_packages(package):
    git(package.parent, "init", "--quiet")
    (package.parent / "beside").write_text("another project\n")
    git(package.parent, "add", "beside")
    git(package.parent, "commit", "--quiet", "--message", "another project")
    assert environment(ALONE)["commit"] is None


@needs_git
def test_where_there_is_no_checkout_there_is_no_commit(package):
    assert environment(ALONE)["commit"] is None


def test_where_there_is_no_git_there_is_no_commit(package, monkeypatch):
    monkeypatch.setenv("PATH", str(package))
    assert environment(ALONE)["commit"] is None
