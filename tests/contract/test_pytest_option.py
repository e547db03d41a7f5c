import itertools
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from typedwave.contract.importing import ImportHook

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[2]
numbers = itertools.count()

SOURCE = """
from jaxtyping import Float
from torch import Tensor

def halve(x: Float[Tensor, "T 2"]) -> Float[Tensor, "T 1"]:
    return x[:, :1]
"""
# Passes where `halve` is checked, fails where it is not.
REFUSED = """
import pytest
import torch
from {name} import halve
from typedwave import ShapeError

def test_it():
    with pytest.raises(ShapeError, match="halve: x has the wrong shape"):
        halve(torch.zeros(2, 3))
"""


class Project:
    """A package with tests, in a folder of its own, under a name that no other test has."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.name = f"optioned{next(numbers)}"
        self.write(SOURCE, f"{self.name}/__init__.py")
        self.write(REFUSED)
        pytester.syspathinsert()

    def write(self, source: str, file: str = "test_it.py") -> None:
        path = self.pytester.path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source.replace("{name}", self.name), encoding="utf-8")

    def run(self, *options: str) -> Any:
        """Runs pytest in this process."""
        return self.pytester.runpytest_inprocess("-p", "no:cacheprovider", *options)


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    return Project(pytester)


def test_the_packages_of_the_option_are_checked(project: Project) -> None:
    result = project.run(f"--typedwave-packages=unheard,{project.name}")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"typedwave: checks unheard, {project.name}"])


def test_the_hook_goes_with_the_run(project: Project) -> None:
    config = project.pytester.parseconfig(f"--typedwave-packages={project.name}")
    (hook,) = [finder for finder in sys.meta_path if isinstance(finder, ImportHook)]
    assert hook.packages == (project.name,)
    config._ensure_unconfigure()
    assert hook not in sys.meta_path


def test_nothing_is_checked_without_it(project: Project) -> None:
    result = project.run()
    result.assert_outcomes(failed=1)
    assert "typedwave: checks" not in result.stdout.str()


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("pytest.ini", "[pytest]\ntypedwave_packages =\n    unheard\n    {name}\n"),
        ("pyproject.toml", '[tool.pytest.ini_options]\ntypedwave_packages = ["{name}"]\n'),
    ],
)
def test_the_packages_of_the_configuration_are_checked(
    file: str, text: str, project: Project
) -> None:
    project.write(text, file)
    project.run().assert_outcomes(passed=1)


def test_the_option_takes_the_place_of_the_configuration(project: Project) -> None:
    project.write("[pytest]\ntypedwave_packages = {name}\n", "pytest.ini")
    project.run("--typedwave-packages=unheard").assert_outcomes(failed=1)
    project.run("--typedwave-packages=").assert_outcomes(failed=1)


def test_a_conftest_sees_checked_code(project: Project) -> None:
    project.write(REFUSED.replace("def test_it():", "def pytest_configure():"), "conftest.py")
    project.run(f"--typedwave-packages={project.name}").assert_outcomes(passed=1)


def test_assertions_in_a_package_are_rewritten_and_its_functions_checked(project: Project) -> None:
    source = SOURCE + REFUSED.partition("from {name} import halve")[2]
    source = f"import pytest\nimport torch\n{source}"
    assertion = "\ndef test_two():\n    one, two = [1], [2]\n    assert one == two\n"
    fixture = "import pytest\n@pytest.fixture\ndef three() -> int:\n    yield 3\n"
    project.write(fixture, "{name}/conftest.py".replace("{name}", project.name))
    asks = assertion + "\ndef test_three(three: str):\n    pass\n"
    for mode in ("prepend", "importlib"):
        for _ in range(2):  # compiled, then kept
            project.write(source + asks, f"{project.name}/test_inner.py")
            result = project.run(
                f"--typedwave-packages={project.name}", f"--import-mode={mode}", project.name
            )
            result.assert_outcomes(passed=1, failed=2)
            result.stdout.fnmatch_lines(["*assert [[]1[]] == [[]2[]]*"])
            result.stdout.fnmatch_lines(["*ShapeError: test_three: three is not str"])
    kept = list((project.pytester.path / project.name).rglob("*.pyc"))
    of_pytest = sorted(path.name.split(".")[0] for path in kept if "pytest" in path.name)
    assert of_pytest == ["conftest", "test_inner"]


def test_a_package_that_is_a_plugin_is_checked_and_rewritten(project: Project) -> None:
    project.write(f"{SOURCE}\ndef one(x: int) -> int:\n    two = [2]\n    assert [x] == two\n")
    (project.pytester.path / "test_it.py").rename(
        project.pytester.path / project.name / "__init__.py"
    )
    project.write("import pytest\npytest.register_assert_rewrite('{name}')\n", "conftest.py")
    project.write(REFUSED + "\ndef test_one():\n    from {name} import one\n    one(1)\n")
    result = project.run(f"--typedwave-packages={project.name}")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*assert [[]1[]] == [[]2[]]*"])


def test_doctests_of_a_package_are_found(project: Project) -> None:
    project.write(
        'def f(x: int) -> int:\n    """\n    >>> f("")\n    Traceback (most recent call last):\n'
        "    typedwave.errors.ShapeError: f: x is not int\n      expected  int\n      got       "
        'str \'\'\n    """\n',
        f"{project.name}/told.py",
    )
    option = f"--typedwave-packages={project.name}"
    project.run(option, "--doctest-modules", f"{project.name}/told.py").assert_outcomes(passed=1)


def test_what_is_imported_already_stands_in_the_summary(project: Project) -> None:
    project.write(f"import {project.name}\n", f"early_{project.name}.py")
    early = ("-p", f"early_{project.name}", f"--typedwave-packages={project.name}")
    result = project.run("-Wdefault", *early)
    result.assert_outcomes(failed=1, warnings=1)
    result.stdout.fnmatch_lines(
        [
            "*= warnings summary =*",
            f"*UserWarning: imported before the import hook of typedwave, and unchecked: "
            f"{project.name}; install the hook before anything imports them. What is imported "
            "from now on is checked",
        ]
    )
    assert "never imported" not in result.stdout.str()


def test_where_warnings_are_errors_it_is_one_line(project: Project) -> None:
    project.write(f"import {project.name}\n", f"early_{project.name}.py")
    early = ("-p", f"early_{project.name}", f"--typedwave-packages={project.name}")
    result = project.run("-Werror", *early)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert result.stderr.str().strip() == (
        "ERROR: typedwave_packages: imported before the import hook of typedwave, and unchecked: "
        f"{project.name}; install the hook before anything imports them. What is imported from "
        "now on is checked"
    )


def test_what_cannot_be_a_package_is_one_line(project: Project) -> None:
    result = project.run("--typedwave-packages=my-package")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert result.stderr.str().strip() == (
        "ERROR: typedwave_packages: 'my-package' cannot be the name of a module; a package is "
        "named as in its import statement, such as 'mypackage' or 'mypackage.layers'"
    )


def test_a_package_that_was_never_imported_is_named(project: Project) -> None:
    result = project.run(f"--typedwave-packages=unheard,{project.name},misheard")
    result.stdout.fnmatch_lines(["typedwave: never imported: unheard, misheard"])
    assert "never imported" not in project.run(f"--typedwave-packages={project.name}").stdout.str()


def test_the_workers_of_xdist_check_as_well(project: Project) -> None:
    pytest.importorskip("xdist")
    project.write(REFUSED, "test_two.py")
    result = project.pytester.runpytest_subprocess(
        "-n2", "--dist=loadfile", f"--typedwave-packages={project.name}"
    )
    result.assert_outcomes(passed=2)
    assert "never imported" not in result.stdout.str()


def test_without_it_a_run_imports_nothing_of_ours(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import sys\n"
        "def test_it():\n"
        "    assert '_typedwave_pytest' in sys.modules\n"
        "    assert not {'torch', 'beartype', 'typedwave'} & set(sys.modules)\n"
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)


def test_the_plugin_is_installed_and_imports_pytest_only() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"typedwave": "_typedwave_pytest"}
    source = (ROOT / "_typedwave_pytest.py").read_text(encoding="utf-8")
    assert re.findall(r"^(?:from|import) \S+", source, re.MULTILINE) == [
        "from typing",
        "import pytest",
    ]
