import re
from typing import Any

import pytest

from typedwave.testing import LAWS

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.usefixtures("default_profile")

MODELS = """
import pytest
from jaxtyping import Float
from torch import Tensor, nn
from typedwave.testing import declare

class Halves(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Float[Tensor, "B T 4"]) -> Float[Tensor, "B T 4"]:
        return self.linear(x)

class Centers(Halves):
    def forward(self, x: Float[Tensor, "B T 4"]) -> Float[Tensor, "B T 4"]:
        return super().forward(x) - x.mean(0)

class Holds:
    instance = Centers()

class Unannotated(nn.Module):
    def forward(self, x):
        return x

@declare(causal=True)
def build():
    return Halves()

def explodes():
    raise FileNotFoundError("weights.pt")
"""


class Project:
    """A package of models beside a test that knows nothing of laws."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        package = pytester.mkpydir("nets")
        (package / "models.py").write_text(MODELS)
        (package / "torn.py").write_text("raise RuntimeError('torn')\n")
        pytester.makepyfile(test_other="def test_other(): pass\n")

    def run(self, *targets: str, options: tuple[str, ...] = ()) -> Any:
        """Runs pytest in this process."""
        modules = [f"--typedwave-module={target}" for target in targets]
        return self.pytester.runpytest_inprocess("-p", "no:cacheprovider", *modules, *options)


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    return Project(pytester)


def test_a_module_gets_a_test_for_each_law(project):
    result = project.run("nets.models:Halves", options=("--collect-only", "-q"))
    ids = [line for line in result.outlines if "::" in line]
    assert ids == ["test_other.py::test_other", *(f"nets.models:Halves::{law}" for law in LAWS)]
    result.stdout.fnmatch_lines([f"{len(LAWS) + 1} tests collected in *"])


def test_a_run_shows_findings_and_ends_with_what_held(project):
    options = ("-rsf", "-Werror", "-k", "order or independence or receptive_field or mask")
    result = project.run("nets.models:Centers", "nets.models:build", options=options)
    result.assert_outcomes(passed=4, failed=1, skipped=3, deselected=2 * len(LAWS) - 7)
    result.stdout.fnmatch_lines(
        [
            "*__ independence __*",
            "independence: examples of a batch do not influence one another",
            "  module    Centers",
            "  call      x f32[[]B=2, T=3, 4[]]",
            "  but       only other examples changed, *",
            "  repeat    check(Centers, laws='independence', case=Case(sizes={'B': 2, 'T': 3}))",
            "*= laws of typedwave =*",
            "nets.models:Centers",
            "  held       order",
            "  broken     independence",
            "  say        receptive_field",
            "  not tried  mask",
            "nets.models:build",
            "  held       independence, order, receptive_field",
            "  not tried  mask",
            "*= short test summary info =*",
        ],
        consecutive=True,
    )
    result.stdout.fnmatch_lines(
        [
            "SKIPPED *no argument looks like a mask",
            "FAILED nets.models:Centers::independence - independence: examples of a batch *",
        ]
    )


def test_counts_are_right_where_laws_are_left_out(project):
    result = project.run("nets.models:Halves", options=("-m", "not typedwave"))
    result.assert_outcomes(passed=1, deselected=len(LAWS))
    result.stdout.fnmatch_lines([f"collected {len(LAWS) + 1} items / {len(LAWS)} deselected / 1 *"])
    assert "laws of typedwave" not in result.stdout.str()


def test_a_module_that_is_named_twice_is_tried_once(project):
    result = project.run(*["nets.models:Halves"] * 2, options=("-m", "typedwave", "-k", "purity"))
    result.assert_outcomes(passed=1, deselected=len(LAWS))


def test_instances_and_what_is_inside_of_a_class_have_a_name_too(project):
    result = project.run("nets.models:Holds.instance", options=("-k", "purity"))
    result.assert_outcomes(passed=1, deselected=len(LAWS))


def test_a_verbose_run_shows_the_id(project):
    result = project.run("nets.models:Halves", options=("-k", "purity", "-v"))
    result.stdout.fnmatch_lines(["nets.models:Halves::purity PASSED *"])


def test_a_test_can_be_deselected_by_its_id(project):
    option = "--deselect=nets.models:Halves::purity"
    result = project.run("nets.models:Halves", options=(option, "-k", "purity or order"))
    result.assert_outcomes(passed=1, deselected=len(LAWS))


def test_a_run_without_other_tests(project):
    (project.pytester.path / "test_other.py").unlink()
    result = project.run("nets.models:Halves", options=("-k", "purity"))
    result.assert_outcomes(passed=1, deselected=len(LAWS) - 1)
    assert result.ret == pytest.ExitCode.OK


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nets.models:Nope", "nets.models:Nope: module 'nets.models' has no attribute 'Nope'"),
        ("nets.models", "'nets.models' has no colon with a name behind it: package.module:factory"),
        (
            "nowhere:x",
            "nowhere:x: nowhere cannot be imported: ModuleNotFoundError: No module named 'nowhere'",
        ),
        ("nets.torn:x", "nets.torn:x: nets.torn cannot be imported: RuntimeError: torn"),
        ("nets.models:explodes", "explodes raised FileNotFoundError: weights.pt"),
        (
            "nets.models:MODELS",
            "nets.models:MODELS: module 'nets.models' has no attribute 'MODELS'",
        ),
        (
            "nets.models:Unannotated",
            "nothing says what Unannotated takes; annotate its forward with jaxtyping, or declare "
            'spec={"x": Float[Tensor, "B ..."]} with the shapes that it takes',
        ),
    ],
)
def test_what_cannot_be_checked_is_one_line(target, message, project):
    result = project.run(target)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert result.stderr.str().strip() == f"ERROR: --typedwave-module: {message}"
    assert "INTERNALERROR" not in result.stdout.str()


def test_laws_are_spread_over_processes(project):
    pytest.importorskip("xdist")
    project.pytester.makepyfile(
        test_nets="from nets.models import Centers\n"
        "from typedwave.testing import each_law\n"
        "@each_law(laws=['purity', 'independence', 'mask'], examples=3)\n"
        "def test_centers(): return Centers()\n"
    )
    options = ("-n2", "-k", "purity or independence or mask")
    result = project.run("nets.models:Centers", options=options)
    result.assert_outcomes(passed=2, failed=2, skipped=2)
    text = result.stdout.str().partition("laws of typedwave")[2]
    for module in ("test_centers", "nets.models:Centers"):
        said = "  held       purity\n  broken     independence\n  not tried  mask\n"
        lines = re.search(rf"^{module}\n((?:  .*\n)+)", text, re.MULTILINE)[1].splitlines(True)
        assert sorted(lines) == sorted(said.splitlines(keepends=True))


def test_an_unknown_name_is_one_line_with_several_processes_as_well(project):
    pytest.importorskip("xdist")
    result = project.run("nets.models:Nope", options=("-n2",))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --typedwave-module: nets.models:Nope: *'Nope'"])
    assert "INTERNALERROR" not in result.stdout.str()
