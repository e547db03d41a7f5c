import ast
import builtins
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from torch import zeros

from typedwave import ShapeError, typed

traitlets = pytest.importorskip("traitlets.config")
interactiveshell = pytest.importorskip("IPython.core.interactiveshell")

HEAD = """\
import torch
from jaxtyping import Float
from torch import Tensor, nn, zeros
"""


class Notebook:
    """Cells that run in a shell of IPython, in this process."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell

    def run(self, cell: str) -> Any:
        """Runs a cell and gives its last expression, or raises what it raised."""
        result = self.shell.run_cell(cell)
        result.raise_error()
        return result.result


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Notebook]:
    monkeypatch.setattr(sys, "displayhook", sys.displayhook)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    built_in = dict(vars(builtins))
    config = traitlets.Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    shell = interactiveshell.InteractiveShell(config=config)
    made = Notebook(shell)
    made.run(f"{HEAD}%load_ext typedwave")
    yield made
    shell.restore_sys_module_state()
    for name in vars(builtins).keys() - built_in:
        delattr(builtins, name)
    vars(builtins).update(built_in)


def test_functions_and_modules_of_later_cells_are_checked(notebook: Notebook) -> None:
    notebook.run(
        """
def halve(x: Float[Tensor, "T 2"]) -> Float[Tensor, "T 1"]:
    return x[:, :1]
class Scale(nn.Module):
    gain: Float[nn.Parameter, "C"]
    def __init__(self, size: int = 3):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(size))
    def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B C"]:
        return self.gain * x
"""
    )
    assert notebook.run("halve(zeros(3, 2)).shape, Scale()(zeros(3)).shape") == ((3, 1), (3,))
    with pytest.raises(ShapeError, match=r"^halve: x has the wrong shape"):
        notebook.run("halve(zeros(3))")
    with pytest.raises(ShapeError, match=r"^Scale: x has the wrong shape"):
        notebook.run("Scale()(zeros(3, 4))")


def test_the_error_is_that_of_the_decorator(notebook: Notebook) -> None:
    cell = 'def f(x: Float[Tensor, "T 2"], y: Float[Tensor, "T"]) -> Float[Tensor, "T"]: ...'
    notebook.run(cell)
    with pytest.raises(ShapeError) as got:
        notebook.run("f(zeros(3, 2), zeros(4))")
    plain: dict[str, Any] = {}
    exec(HEAD + cell, plain)
    with pytest.raises(ShapeError) as expected:
        typed(plain["f"])(zeros(3, 2), zeros(4))
    assert str(got.value) == str(expected.value)


def test_a_definition_in_another_cell_takes_the_place_of_the_first(notebook: Notebook) -> None:
    for size in (2, 3):
        notebook.run(f'def f(x: Float[Tensor, "{size}"]): return x')
        notebook.run(
            f'class A(nn.Module):\n    def forward(self, x: Float[Tensor, "{size}"]): return f(x)'
        )
        assert notebook.run(f"A()(zeros({size})).shape") == (size,)
        with pytest.raises(ShapeError, match=f'"{size}"'):
            notebook.run("A()(zeros(5))")


def test_postponed_annotations_are_resolved_in_the_notebook(notebook: Notebook) -> None:
    notebook.run(
        '"""Says."""\nfrom __future__ import annotations\n'
        'def f(x: Float[Tensor, "3"]) -> Later: return x\n'
    )
    notebook.run('Later = Float[Tensor, "3"]\ndef g(x: Later): return x')
    assert notebook.run("f.__annotations__")["x"] == "Float[Tensor, '3']"
    for name in "fg":
        assert notebook.run(f"{name}(zeros(3)).shape") == (3,)
        with pytest.raises(ShapeError):
            notebook.run(f"{name}(zeros(4))")


def test_cells_do_what_they_did(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    assert notebook.run("def f(x: int) -> int: return x\nf(3)") == 3
    assert notebook.run("def f(x: int) -> int: return x\nf(3);") == 3
    assert notebook.run("import asyncio\nawait asyncio.sleep(0, 5)") == 5
    assert notebook.run("async def g(x: int) -> int: return x\nawait g(6)") == 6
    assert notebook.run("x: int = 7\nx") == 7
    assert notebook.run("%time 1 + 7") == 8
    assert notebook.run("%%time\ndef f(x: int) -> int: return x\nf(9)") == 9
    notebook.run("%%timeit -n1 -r1\ndef f(x: int) -> int: return x\nf(10)")
    with pytest.raises(SyntaxError):
        notebook.run("def f(x: int) -> int: return x +")
    with pytest.raises(ZeroDivisionError):
        notebook.run("def f(x: int) -> int: return 1 // x\n\nf(0)")
    assert notebook.run("f(1)") == 1
    with pytest.raises(ShapeError):
        notebook.run("f('')")
    assert "threw an error" not in capsys.readouterr().err


def test_our_names_are_not_seen_and_not_missed(
    notebook: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook.run("def f(x: int) -> int: return x")
    capsys.readouterr()
    notebook.run("%who")
    assert "typedwave" not in capsys.readouterr().out
    notebook.run("%reset -f")
    notebook.run("def f():\n    def g(x: int): ...\n    return g")
    with pytest.raises(ShapeError):
        notebook.run("f()('')")


def test_loading_it_again_adds_nothing(notebook: Notebook) -> None:
    before = list(notebook.shell.ast_transformers)
    notebook.run("%reload_ext typedwave")
    assert len(notebook.shell.ast_transformers) == len(before) == 1


def test_once_unloaded_it_checks_no_more_of_what_is_defined(notebook: Notebook) -> None:
    other = ast.NodeTransformer()
    notebook.shell.ast_transformers.append(other)
    notebook.run("def before(x: int): return x")
    notebook.run("%unload_ext typedwave")
    assert notebook.shell.ast_transformers == [other]
    notebook.run("def after(x: int): return x")
    assert notebook.run("after('x')") == "x"
    with pytest.raises(ShapeError):
        notebook.run("before('x')")
    notebook.run("%load_ext typedwave")
    notebook.run("def after(x: int): return x")
    with pytest.raises(ShapeError):
        notebook.run("after('x')")
