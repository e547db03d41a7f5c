import ast
import importlib
import json
import os
import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import typedwave

ROOT = Path(__file__).resolve().parents[1]

# What the extras bring, and the core has to do without.
EXTRAS = ("hypothesis", "jsonargparse", "matplotlib", "rich", "safetensors")


def run(*command: str, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "name",
    [
        module.name
        for module in pkgutil.walk_packages(typedwave.__path__, "typedwave.")
        if not module.name.endswith("__main__")
    ],
)
def test_every_public_name_exists_and_every_module_says_what_it_is_for(name):
    module = importlib.import_module(name)
    assert module.__doc__
    if len(ast.parse(Path(module.__file__).read_text(encoding="utf-8")).body) == 1:
        return  # a folder with a docstring and nothing else
    for public in module.__all__:
        assert getattr(module, public) is not None


def test_the_core_imports_nothing_that_an_extra_brings(tmp_path):
    code = (
        "import sys, typedwave, typedwave.models, typedwave.inspect;"
        f"print([name for name in {EXTRAS} if name in sys.modules])"
    )
    assert run(sys.executable, "-c", code, cwd=tmp_path) == "[]\n"


def test_the_core_depends_on_four_packages():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {dependency.split(">")[0] for dependency in project["dependencies"]}
    assert names == {"torch", "jaxtyping", "beartype", "einops"}


def test_the_wheel_trains_on_its_own_names_away_from_the_checkout(tmp_path):
    build = ("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path))
    run(sys.executable, "-m", "pip", *build, str(ROOT), cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    install = ("install", "--quiet", "--no-deps", "--target", str(site), str(wheel))
    run(sys.executable, "-m", "pip", *install, cwd=tmp_path)
    where = "import typedwave, typedwave.lab; print(typedwave.__file__, typedwave.lab.names_path())"
    found = run(sys.executable, "-c", where, cwd=tmp_path, PYTHONPATH=str(site)).split()
    assert found == [
        str(site / "typedwave" / "__init__.py"),
        str(site / "typedwave" / "lab" / "names.txt"),
    ]
    assert (site / "typedwave" / "py.typed").exists()
    assert (site / "_typedwave_command.py").exists()
    train = ("-m", "typedwave", "train", "--steps", "20", "--out", "run", "--json")
    record = json.loads(run(sys.executable, *train, cwd=tmp_path, PYTHONPATH=str(site)))
    assert record["steps_done"] == 20
    assert record["corpus"] == found[1]
    assert (tmp_path / "run" / "curve.png").stat().st_size > 10_000


def test_a_type_checker_sees_what_a_layer_takes_and_gives():
    pytest.importorskip("mypy")
    run(sys.executable, "-m", "mypy", "tests/typing", cwd=ROOT)
