"""``typedwave check``: its table, its exit codes and what it says where it cannot be run."""

import ast
import importlib
import itertools
import json
import re
import subprocess
import sys

import pytest

from typedwave.cli import run
from typedwave.testing import LAWS, Case, check

SOURCE = """
from jaxtyping import Float
from torch import Tensor, nn
from typedwave.testing import declare

class Halves(nn.Module):
    def __init__(self, size: int = 4):
        super().__init__()
        self.linear = nn.Linear(size, size)

    def forward(self, x: Float[Tensor, "B T 4"]) -> Float[Tensor, "B T 4"]:
        return self.linear(x)

class Centers(Halves):
    def forward(self, x: Float[Tensor, "B T 4"]) -> Float[Tensor, "B T 4"]:
        return super().forward(x) - x.mean(0)

class NeedsASize(Halves):
    def __init__(self, size):
        super().__init__(size)

class Holds:
    instance = Centers()

class Unannotated(nn.Module):
    def forward(self, x):
        return x

@declare(causal=True)
def build():
    return Halves()

def pairs(x: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    if x.shape[1] % 2:
        raise ValueError("give pairs")
    return x

def explodes():
    raise FileNotFoundError("weights.pt")

three = 3
"""
numbers = itertools.count()
pytestmark = pytest.mark.usefixtures("default_profile")


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    """The name of a package in the current directory."""
    folder, name = tmp_path_factory.mktemp("checked"), f"checked{next(numbers)}"
    (folder / name).mkdir()
    (folder / name / "models.py").write_text(SOURCE, encoding="utf-8")
    (folder / name / "torn.py").write_text("def (", encoding="utf-8")
    (folder / name / "raises.py").write_text("raise RuntimeError('at import')", encoding="utf-8")
    path = sys.path[:]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield name
    sys.path[:] = path


def prints(capsys, *arguments: str, code: int = 0) -> str:
    """What stands on stdout, where nothing stands on stderr."""
    assert run(["check", *arguments]) == code
    out, err = capsys.readouterr()
    assert err == ""
    return out


# the table


def test_it_prints_the_table_of_check(capsys, nets):
    out = prints(capsys, f"{nets}.models:Halves", "--laws", "purity,order,receptive_field,mask")
    assert re.sub(r"\d\.\d s", "0.0 s", out) == (
        "Halves: 2 laws held, 0 broken, 1 to be declared\n"
        "  purity           held       20 examples, 0.0 s\n"
        "  order            held       20 examples, 0.0 s\n"
        "  receptive_field  say        causal=True or receptive_field=..., if it is meant\n"
        "  mask             not tried  no argument looks like a mask\n"
    )


def test_without_laws_it_tries_all(capsys, nets):
    out = prints(capsys, f"{nets}.models:Halves", "--examples", "2")
    assert [line.split()[0] for line in out.splitlines()[1:]] == [*LAWS]
    assert re.search(r"^  order +held +2 examples, ", out, re.MULTILINE)


def test_a_finding_stands_below_and_the_code_is_one(capsys, nets):
    out = prints(capsys, f"{nets}.models:Centers", "--laws", "independence", code=1)
    assert out == (
        "Centers: 0 laws held, 1 broken\n"
        "  independence  broken     see below\n"
        "\n"
        "independence: examples of a batch do not influence one another\n"
        "  module    Centers\n"
        "  call      x f32[B=2, T=3, 4]\n"
        "  but       only other examples changed, and the result of example 0 of 2 did too: "
        "result[0, 1, 1] was 0.0762494 and became 1.59593, in eval mode\n"
        "  repeat    check(Centers, laws='independence', case=Case(sizes={'B': 2, 'T': 3}))\n"
    )
    found = importlib.import_module(f"{nets}.models").Centers
    line = out.splitlines()[-1].partition("repeat    ")[2]
    again = eval(line, {"check": check, "Case": Case, "Centers": found})
    assert str(again.findings[0]) == out.partition("\n\n")[2].strip()


def test_sizes_that_are_refused_stand_below_the_table(capsys, nets):
    out = prints(capsys, f"{nets}.models:pairs", "--laws", "order")
    assert out.endswith("\n  refuses T = 1, 3, 5, 7, 9, 11, 13: ValueError: give pairs\n")


def test_modules_functions_classes_and_factories_are_checked(capsys, nets):
    for target in ("Halves", "build", "pairs"):
        assert f"{target}: 1 law" in prints(capsys, f"{nets}.models:{target}", "--laws=order")
    out = prints(capsys, f"{nets}.models:Holds.instance", "--laws", "batch_size", code=1)
    assert out.startswith("Centers: 0 laws held, 1 broken\n")


# options


def test_declarations_are_those_of_python(capsys, nets):
    out = prints(
        capsys,
        f"{nets}.models:Halves",
        "--laws=receptive_field,independence",
        "--declare=causal",
        "--declare",
        "sizes={'B': (2, 3), 'T': 5}",
        "--json",
    )
    assert {row["law"]: row["outcome"] for row in json.loads(out)["laws"]} == {
        "receptive_field": "held",
        "independence": "held",
    }
    out = prints(
        capsys, f"{nets}.models:Centers", "--laws=batch_size", "--declare=sizes={'T': 5}", code=1
    )
    assert "check(Centers, laws='batch_size', sizes={'T': 5}, case=Case(" in out


def test_a_factory_carries_declarations(capsys, nets):
    out = prints(capsys, f"{nets}.models:build", "--laws=receptive_field")
    assert out.startswith("build: 1 law")
    out = prints(capsys, f"{nets}.models:build", "--laws=receptive_field", "--declare=causal=False")
    assert "  receptive_field  say        " in out


def test_blanks_and_empty_names_of_laws_are_nothing(capsys, nets):
    out = prints(capsys, f"{nets}.models:Halves", "--laws", "purity, order,")
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["purity", "order"]


def test_as_json_it_is_json_and_nothing_else(capsys, nets):
    out = prints(
        capsys, f"{nets}.models:Centers", "--laws", "order,batch_size,mask", "--json", code=1
    )
    told = json.loads(out)
    (finding,) = told.pop("findings")
    assert told == {
        "module": "Centers",
        "laws": [
            {"law": "order", "outcome": "held", "examples": 20, "why": ""},
            {"law": "batch_size", "outcome": "broken", "examples": 0, "why": ""},
            {
                "law": "mask",
                "outcome": "not tried",
                "examples": 0,
                "why": "no argument looks like a mask",
            },
        ],
        "refused": [],
    }
    assert {key: finding[key] for key in ("law", "call", "where", "meant")} == {
        "law": "batch_size",
        "call": "x f32[B=2, T=3, 4]",
        "where": "",
        "meant": "",
    }
    assert finding["repeat"] in finding["text"]
    assert finding["differed"] in finding["text"]
    assert ast.parse(finding["repeat"])


# what it refuses

REFUSED = {
    "{nets}.models:Nope": "{nets}.models:Nope: module '{nets}.models' has no attribute 'Nope'",
    "{nets}.models": "'{nets}.models' has no colon with a name behind it: package.module:factory",
    ":x": "':x' has no colon with a name behind it: package.module:factory",
    "nowhere:x": (
        "nowhere:x: nowhere cannot be imported: ModuleNotFoundError: No module named 'nowhere'"
    ),
    "{nets}.torn:x": (
        "{nets}.torn:x: {nets}.torn cannot be imported: SyntaxError: invalid syntax (torn.py, "
        "line 1)"
    ),
    "{nets}.raises:x": (
        "{nets}.raises:x: {nets}.raises cannot be imported: RuntimeError: at import"
    ),
    "{nets}.models:explodes": "explodes raised FileNotFoundError: weights.pt",
    "{nets}.models:NeedsASize": (
        "NeedsASize raised TypeError: NeedsASize.__init__() missing 1 required positional "
        "argument: 'size'; give a function without arguments that makes one"
    ),
    "{nets}.models:three": (
        "this takes a module, a function that makes one or a function of tensors, but got int 3"
    ),
    "{nets}.models:Unannotated": (
        "nothing says what Unannotated takes; annotate its forward with jaxtyping, or declare "
        'spec={{"x": Float[Tensor, "B ..."]}} with the shapes that it takes'
    ),
    "{nets}.models:Halves --laws=nope": f"no law is called 'nope'; there are {', '.join(LAWS)}",
    "{nets}.models:Halves --declare=causal=maybe": (
        "--declare causal=maybe: maybe is no number, string, tuple or dict of Python; a string "
        "has quotes, and what cannot be written so is declared by typedwave.testing.declare"
    ),
    "{nets}.models:Halves --declare=batch='N'": (
        "batch speaks of an axis 'N', but the axes of Halves are B, T"
    ),
    "{nets}.models:Halves --examples=0 --laws=order": "examples is 0, but has to be at least 1",
    "": "the following arguments are required: check.target",
    "{nets}.models:Halves more": "unrecognized arguments: more",
}


@pytest.mark.parametrize(("command", "message"), REFUSED.items(), ids=REFUSED)
@pytest.mark.parametrize("options", [[], ["--json"]], ids=["", "--json"])
def test_what_cannot_be_checked_is_one_line_and_the_code_is_two(
    command, message, options, capsys, nets
):
    assert run(["check", *command.format(nets=nets).split(), *options]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"typedwave: {message.format(nets=nets)}\n")


def test_from_a_shell(nets):
    found = subprocess.run(
        [sys.executable, "-m", "typedwave", "check", f"{nets}.models:Centers", "--laws=batch_size"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stderr) == (1, "")
    assert found.stdout.startswith("Centers: 0 laws held, 1 broken\n")
    assert found.stdout.endswith("case=Case(sizes={'B': 2, 'T': 3}))\n")


def test_help_names_what_it_takes(capsys):
    with pytest.raises(SystemExit) as caught:
        run(["check", "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    for option in ("target", "--laws", "--examples", "--seconds", "--declare", "--json"):
        assert option in out
