import asyncio
import contextlib
import importlib
import importlib.machinery
import importlib.util
import inspect
import itertools
import pickle
import py_compile
import runpy
import sys
import sysconfig
import textwrap
import traceback
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from typedwave import ShapeError, StateError
from typedwave.contract import importing
from typedwave.contract.importing import install_import_hook

zeros = torch.zeros
numbers = itertools.count()

HEAD = """\
from jaxtyping import Float
from torch import Tensor, nn
"""
HALVE = """
def halve(x: Float[Tensor, "T 2"]) -> Float[Tensor, "T 1"]:
    return x[:, :1]
"""
PLAIN = HEAD + HALVE


class Package:
    """A package in a folder of its own, under a name that no other test has."""

    def __init__(self, folder: Path) -> None:
        self.name = f"hooked{next(numbers)}"
        self.folder = folder

    def write(self, source: str, file: str = "__init__.py") -> Path:
        path = self.folder / self.name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source), encoding="utf-8")
        importlib.invalidate_caches()
        return path

    def load(self, source: str | None = None, module: str = "") -> Any:
        """Imports it, or a module in it, with the hook."""
        if source is not None:
            self.write(source)
        with install_import_hook(self.name):
            return importlib.import_module(self.name + module)

    def forget(self) -> None:
        for name in [name for name in sys.modules if name.split(".")[0] == self.name]:
            del sys.modules[name]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    finders = list(sys.meta_path)
    made = Package(tmp_path)
    yield made
    made.forget()
    assert sys.meta_path == finders


def refuses(call: Callable[..., Any], *args: Any) -> bool:
    try:
        call(*args)
    except ShapeError:
        return True
    return False


def drain(made: Any) -> Any:
    """Runs what a generator function or a coroutine function gave, whichever it is."""
    if inspect.iscoroutine(made):
        return asyncio.run(made)
    if inspect.isasyncgen(made):

        async def collect() -> list[Any]:
            return [x async for x in made]

        return asyncio.run(collect())
    return list(made)


# what is checked
FORMS = {
    "plain": "def f(x: Float[Tensor, '3']): ...",
    "with an annotated result only": "def f(x) -> Float[Tensor, '3']: return x",
    "with an annotated keyword": "def f(x=None, *, y: Float[Tensor, '3'] = None): ...\n"
    "import functools\nf = (lambda g: lambda x: g(y=x))(f)",
    "with annotated stars": "def f(*x: Float[Tensor, '3'], **y): ...",
    "with annotated double stars": "def f(*x, **y: Float[Tensor, '3']): ...\n"
    "f = (lambda g: lambda x: g(y=x))(f)",
    "positional only": "def f(x: Float[Tensor, '3'], /): ...",
    "nested": "def g():\n    def f(x: Float[Tensor, '3']): ...\n    return f\nf = g()",
    "in a condition": "if True:\n    def f(x: Float[Tensor, '3']): ...",
    "in an else": "for _ in ():\n    pass\nelse:\n    def f(x: Float[Tensor, '3']): ...",
    "in an except": "try:\n    1 / 0\nexcept ZeroDivisionError:\n"
    "    def f(x: Float[Tensor, '3']): ...",
    "in a finally": "try:\n    pass\nfinally:\n    def f(x: Float[Tensor, '3']): ...",
    "in a case": "match 1:\n    case _:\n        def f(x: Float[Tensor, '3']): ...",
    "method": "class A:\n    def f(self, x: Float[Tensor, '3']): ...\nf = A().f",
    "class method": "class A:\n    @classmethod\n"
    "    def f(cls, x: Float[Tensor, '3']): ...\nf = A.f",
    "static method": "class A:\n    @staticmethod\n    def f(x: Float[Tensor, '3']): ...\nf = A.f",
    "property": "class A:\n    def __init__(self, x): self.x = x\n    @property\n"
    "    def y(self) -> Float[Tensor, '3']: return self.x\nf = lambda x: A(x).y",
    "setter": "class A:\n    y = property()\n    @y.setter\n"
    "    def y(self, x: Float[Tensor, '3']): ...\nf = lambda x: setattr(A(), 'y', x)",
    "in a class in a function": "def g():\n    class A:\n"
    "        def f(self, x: Float[Tensor, '3']): ...\n    return A()\nf = g().f",
    "cached": "import functools\n@functools.cache\ndef f(x: Float[Tensor, '3']): ...",
    "constructor": "class f:\n    def __init__(self, x: Float[Tensor, '3']): ...",
    "maker": "class f:\n    def __new__(cls, x: Float[Tensor, '3']): return object.__new__(cls)",
    "mangled": "class A:\n    def f(self, __x: Float[Tensor, '3']): ...\nf = A().f",
    "module": "class A(nn.Module):\n    def forward(self, x: Float[Tensor, '3']): ...\nf = A()",
    "module in a function": "def g():\n    class A(nn.Module):\n"
    "        def forward(self, x: Float[Tensor, '3']): ...\n    return A()\nf = g()",
    "dataclass": "import dataclasses\n@dataclasses.dataclass\nclass f:\n    x: Float[Tensor, '3']",
    "frozen dataclass": "import dataclasses\n@dataclasses.dataclass(frozen=True, slots=True)\n"
    "class f:\n    x: Float[Tensor, '3']",
    "derived dataclass": "import dataclasses\n@dataclasses.dataclass\nclass A:\n"
    "    x: Float[Tensor, '3']\nclass f(A): ...",
}


@pytest.mark.parametrize("form", FORMS)
def test_what_is_annotated_is_checked(form: str, package: Package) -> None:
    f = package.load(f"{HEAD}{FORMS[form]}").f
    assert not refuses(f, zeros(3))
    assert refuses(f, zeros(4))


@pytest.mark.parametrize("form", FORMS)
def test_the_same_is_not_checked_without_the_hook(form: str, package: Package) -> None:
    package.write(f"{HEAD}{FORMS[form]}")
    assert not refuses(importlib.import_module(package.name).f, zeros(4))


KINDS = {
    "generator": "def f(x: Float[Tensor, '3']):\n    yield x\n    return 5",
    "coroutine": "async def f(x: Float[Tensor, '3']):\n    return x",
    "async generator": "async def f(x: Float[Tensor, '3']):\n    yield x",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_function_stays_of_the_kind_it_is(kind: str, package: Package) -> None:
    f = package.load(f"{HEAD}{KINDS[kind]}").f
    of_kind = [
        inspect.isgeneratorfunction(f),
        inspect.iscoroutinefunction(f),
        inspect.isasyncgenfunction(f),
    ]
    assert of_kind == [kind == name for name in KINDS]
    assert (f.__name__, list(inspect.signature(f).parameters)) == ("f", ["x"])
    assert inspect.getsource(f).rstrip() == KINDS[kind]
    assert len(drain(f(zeros(3)))) in (1, 3)
    assert refuses(lambda: drain(f(zeros(4))))


def test_what_decorates_a_generator_is_not_disturbed(package: Package) -> None:
    module = package.load(
        """
        from collections.abc import AsyncIterator, Iterator
        from contextlib import asynccontextmanager, contextmanager
        log = []
        @contextmanager
        def plain(x: int) -> Iterator[int]:
            try:
                yield x
            except KeyError:
                log.append("caught")
        @asynccontextmanager
        async def later(x: int) -> AsyncIterator[int]:
            try:
                yield x
            except KeyError:
                log.append("caught later")
        async def echo(x: int) -> AsyncIterator[int]:
            try:
                while True:
                    x = yield x + 1
            finally:
                log.append("closed")
        def total(x: int) -> Iterator[int]:
            return (yield x)
        """
    )
    with module.plain(3) as three:
        raise KeyError

    async def run() -> list[int]:
        async with module.later(4) as four:
            raise KeyError
        echo = module.echo(5)
        heard = [four, await echo.asend(None), await echo.asend(7)]
        await echo.aclose()
        assert module.log[-1] == "closed"
        with pytest.raises(StopAsyncIteration):
            await echo.asend(1)
        return heard

    assert (three, asyncio.run(run())) == (3, [4, 6, 8])
    assert module.log == ["caught", "caught later", "closed"]
    total = module.total(1)
    next(total)
    with pytest.raises(StopIteration) as stopped:
        total.send("given")
    assert stopped.value.value == "given"


TWIN = """
import torch
from jaxtyping import Float
from torch import Tensor, nn
{imports}
{typed}
def add(x: Float[Tensor, "T C"], y: Float[Tensor, "T C"]) -> Float[Tensor, "T C"]:
    return x + y
class Scale({Module}):
    gain: Float[nn.Parameter, "C"]
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(3))
        self.inner = nn.Identity()
    def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B C"]:
        return self.gain * x
    {typed}
    def back(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B 1"]:
        return x / self.gain
    {typed}
    async def later(self, x: Float[Tensor, "*B C"]): ...
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(Scale(), nn.Flatten(), Scale())
    def forward(self, x):
        return self.layers(x)
def shrunk():
    scale = Scale()
    scale.gain.data = torch.ones(3, 1)
    return scale
"""


def test_errors_are_those_of_the_decorators_word_for_word(package: Package) -> None:
    package.write("")
    own = {"typed": "@typed", "Module": "Module", "imports": "from typedwave import Module, typed"}
    package.write(TWIN.format(**own), "decorated.py")
    package.write(TWIN.format(typed="", Module="nn.Module", imports=""), "hooked.py")
    decorated = importlib.import_module(f"{package.name}.decorated")
    with install_import_hook(f"{package.name}.hooked"):
        hooked = importlib.import_module(f"{package.name}.hooked")
    wrong: list[Callable[[Any], Any]] = [
        lambda module: module.add(zeros(2, 3), zeros(2, 4)),
        lambda module: module.add(zeros(2, 3).long(), "x"),
        lambda module: module.Scale()(zeros(5, 2)),
        lambda module: module.Scale().back(zeros(5, 3)),
        lambda module: asyncio.run(module.Scale().later(zeros(5, 2))),
        lambda module: module.Net()(zeros(5, 3, 1)),
        lambda module: module.Net()(zeros(5, 2, 3)),
        lambda module: module.shrunk()(zeros(5, 3)),
    ]
    for call in wrong:
        with pytest.raises((ShapeError, StateError)) as expected:
            call(decorated)
        with pytest.raises((ShapeError, StateError)) as got:
            call(hooked)
        assert type(got.value) is type(expected.value)
        assert str(got.value) == str(expected.value)
        assert got.value.__cause__ is expected.value.__cause__


def test_ours_is_under_the_other_decorators(package: Package) -> None:
    module = package.load(
        HEAD
        + """
def twice(f):
    return lambda x: f(f(x[:1])[:1])  # a shape that f itself would not take
@twice
def f(x: Float[Tensor, "1"]) -> Float[Tensor, "2"]:
    return x.repeat(2)
"""
    )
    assert module.f(zeros(7)).shape == (2,)


def test_a_function_that_is_typed_already_is_checked_once(package: Package) -> None:
    module = package.load("from typedwave import typed\n@typed\ndef f(x: int) -> int: return x")
    assert not hasattr(module.f.__wrapped__, "__contract__")


def test_a_function_made_inside_of_a_compiled_one_breaks_no_graph(package: Package) -> None:
    module = package.load(
        HEAD
        + """
def f(x: Float[Tensor, "T"]) -> Float[Tensor, "T"]:
    def g(y: Float[Tensor, "T"]) -> Float[Tensor, "T"]:
        return y * 2
    return g(x)
"""
    )
    compiled = torch.compile(module.f, backend="eager", fullgraph=True)
    assert compiled(torch.ones(3)).tolist() == [2, 2, 2]


# dataclasses
def test_a_field_of_another_module_means_what_it_means_there(package: Package) -> None:
    head = "from __future__ import annotations\nimport dataclasses\n"
    package.write(
        f"{head}{HEAD}@dataclasses.dataclass\nclass Base:\n"
        "    x: Float[Tensor, 'C']\n    w: Unheard\n"
    )
    package.write(
        f"{head}from torch import *\nfrom . import Base\n@dataclasses.dataclass\n"
        "class Pair(Base):\n    y: Tensor\n    z: Unheard | None = None\n",
        "pair.py",
    )
    pair = package.load(module=".pair")
    assert not refuses(pair.Pair, zeros(3), "w", zeros(4))
    assert refuses(pair.Pair, zeros(3, 3), "w", zeros(4))
    assert refuses(pair.Pair, zeros(3), "w", 4)
    assert pair.Pair.__init__.__annotations__["y"] == "Tensor"


def test_a_dataclass_whose_author_opts_out_is_let_be(package: Package) -> None:
    module = package.load(
        """
        import dataclasses, typing
        @dataclasses.dataclass
        class A:
            x: int
            @typing.no_type_check
            def __init__(self, x: int): self.x = x
        @dataclasses.dataclass
        class B:
            x: int
            def __init__(self, x): self.x = x
        @dataclasses.dataclass(init=False)
        class C:
            x: int = 3
        def make(self, x): self.x = x
        make.__annotations__ = {"x": int}
        class E(dict):
            __init__ = make
        @typing.no_type_check
        @dataclasses.dataclass
        class D:
            x: int
        """
    )
    assert [module.A("").x, module.B("").x, module.C().x, module.D("").x] == ["", "", 3, ""]
    assert module.E("").x == ""
    assert not hasattr(module.B.__init__, "__contract__")


# what is left alone
@pytest.mark.parametrize("source", [*KINDS.values(), "def f(x: int): ..."])
def test_switched_off_a_function_is_its_author_s(
    source: str, package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TYPEDWAVE_CHECKS", "off")
    assert not hasattr(package.load(f"{HEAD}{source}").f, "__wrapped__")


LEFT_ALONE = {
    "opting out": "from typing import no_type_check\n@no_type_check\ndef f(x: int): ...",
    "opting out by another name": "from typing import no_type_check as free\n"
    "@free\ndef f(x: int): ...",
    "opting out by its module": "import typing as t\n@t.no_type_check\ndef f(x: int): ...",
    "in one that opts out": "import typing\n@typing.no_type_check\ndef g():\n"
    "    def f(x: int): ...\n    return f\nf = g()",
    "in a class that opts out": "import typing\n@typing.no_type_check\nclass A:\n"
    "    def f(self, x: int): ...\nf = A().f",
    "read by a compiler": "class numba:\n    jit = lambda **_: lambda f: f\n"
    "@numba.jit(cache=True)\ndef f(x: int): ...",
    "overloaded": "overload = lambda f: f\n@overload\ndef f(x: int): ...",
    "without annotations": "def f(x): ...",
}


@pytest.mark.parametrize("what", LEFT_ALONE)
def test_a_function_is_left_alone(what: str, package: Package) -> None:
    assert not refuses(package.load(LEFT_ALONE[what]).f, "no int")


def test_a_class_of_modules_that_opts_out_is_left_alone(package: Package) -> None:
    module = package.load(
        HEAD
        + """
import typing
@typing.no_type_check
class Free(nn.Module):
    def forward(self, x: Float[Tensor, "3"]): return x
"""
    )
    assert module.Free()(zeros(4)).shape == (4,)


def test_what_answers_for_an_object_does_not_ask_itself(package: Package) -> None:
    module = package.load(
        """
        class Proxy:
            @property
            def __class__(self) -> type:
                return int
            def __getattribute__(self, name: str) -> object:
                return object.__getattribute__(self, name)
            def f(self, x: int) -> int:
                return x
        """
    )
    assert module.Proxy().f(3) == 3
    assert isinstance(module.Proxy(), int)


def test_a_decorator_that_returns_no_class_is_let_be(package: Package) -> None:
    assert package.load("def make(cls): return 3\n@make\nclass A: ...").A == 3


def test_a_module_without_annotations_is_compiled_as_ever(package: Package) -> None:
    source = "'''Says.'''\nfrom __future__ import annotations\ndef f(x): ...\nclass A:\n    b = 1\n"
    module = package.load(source)
    code = module.__loader__.get_code(package.name)
    assert code == compile(source, module.__file__, "exec", dont_inherit=True)


# what a module looks like
def test_our_names_are_no_names_of_the_module(package: Package) -> None:
    package.write(
        "check_function = check_class = typed = typedwave = 1\n"
        "def f(x: int) -> int: return check_function\nclass A(dict): ...\n"
    )
    package.write("from . import *", "star.py")
    module, star = package.load(), package.load(module=".star")
    names = {"A", "check_class", "check_function", "f", "star", "typed", "typedwave"}
    assert {name for name in vars(module) if not name.startswith("_")} == names
    assert not [name for name in vars(star) if "@" in name]
    assert module.f(3) == 1


def test_docstring_and_future_stay_in_front(package: Package) -> None:
    module = package.load(
        '"""Says."""\nfrom __future__ import annotations\nfrom __future__ import division\n'
        "def f(x: int) -> Unheard | None: ...\n"
    )
    assert module.__doc__ == "Says."
    assert module.f.__annotations__ == {"x": "int", "return": "Unheard | None"}
    assert refuses(module.f, "")


DEFINED = '''\
"""Says."""

import functools

def same(x): return x

@functools.cache
@same
def above(
    x: int,
) -> int:
    """Says too."""
    return 1 // x

def below(x: int) -> int:
    return 1 // x

@functools.total_ordering
@same
class Ordered(dict):
    def __lt__(self, other: object) -> bool:
        return True
    async def later(self) -> int: ...

class Plain(dict):
    x = 1
'''


def lines(code: CodeType) -> set[int]:
    inner = [lines(part) for part in code.co_consts if isinstance(part, CodeType)]
    return {line for _, _, line in code.co_lines() if line}.union(*inner)


def first_lines(code: CodeType) -> list[tuple[str, int]]:
    inner = [first_lines(part) for part in code.co_consts if isinstance(part, CodeType)]
    return sorted([(code.co_qualname, code.co_firstlineno), *itertools.chain(*inner)])


def test_every_line_is_where_it_was(package: Package) -> None:
    module = package.load(DEFINED)
    code = module.__loader__.get_code(package.name)
    plain = compile(Path(module.__file__).read_text(encoding="utf-8"), module.__file__, "exec")
    assert lines(code) == lines(plain)
    assert first_lines(code) == first_lines(plain)
    assert inspect.getsource(module.below) == "def below(x: int) -> int:\n    return 1 // x\n"
    assert inspect.getsource(module.Ordered).startswith("@functools.total_ordering\n@same\n")
    assert inspect.getsource(module.above).startswith("@functools.cache\n@same\n")
    with pytest.raises(ZeroDivisionError) as raised:
        module.below(0)
    frames = traceback.extract_tb(raised.value.__traceback__)
    assert (frames[-1].filename, frames[-1].lineno) == (module.__file__, 16)


def test_what_is_no_python_is_refused_as_ever(package: Package) -> None:
    path = package.write("def f(x: int):\n    return x +\n")
    with pytest.raises(SyntaxError) as raised:
        package.load()
    assert (raised.value.filename, raised.value.lineno) == (str(path), 2)
    path.write_bytes("# coding: latin-1\ndef f(x: int): return 'ä'\n".encode("latin-1"))
    assert package.load().f(3) == "ä"


def test_an_expression_too_deep_for_a_recursion_is_no_crash(package: Package) -> None:
    deep = sys.getrecursionlimit() // 2
    module = package.load(f"def f(x: int): ...\nlong = {'+'.join(['1'] * deep)}\n")
    assert module.long == deep


def test_functions_and_instances_can_be_pickled(package: Package) -> None:
    module = package.load(
        f"import dataclasses\n{PLAIN}@dataclasses.dataclass\nclass A:\n    x: int\n"
    )
    assert pickle.loads(pickle.dumps(module.halve)) is module.halve
    assert pickle.loads(pickle.dumps(module.A(3))) == module.A(3)


# which modules
def test_a_package_stands_for_its_subpackages_and_not_for_its_namesakes(package: Package) -> None:
    package.write("")
    for file in ("sub/__init__.py", "sub/deep.py"):
        package.write(PLAIN, file)
    (package.folder / f"{package.name}2.py").write_text(PLAIN, encoding="utf-8")
    assert refuses(package.load(module=".sub.deep").halve, zeros(3))
    assert refuses(package.load(module=".sub").halve, zeros(3))
    assert not refuses(package.load(module="2").halve, zeros(2, 3))
    del sys.modules[f"{package.name}2"]


def test_a_subpackage_can_be_named_alone_and_several_can(package: Package) -> None:
    for file in ("__init__.py", "a.py", "b.py", "c.py"):
        package.write(PLAIN, file)
    with install_import_hook(f"{package.name}.a", f"{package.name}.b") as hook:
        modules = [importlib.import_module(package.name + name) for name in ("", ".a", ".b", ".c")]
    assert [refuses(module.halve, zeros(2, 3)) for module in modules] == [False, True, True, False]
    assert repr(hook) == f"ImportHook('{package.name}.a', '{package.name}.b')"
    assert hook.found == {f"{package.name}.a", f"{package.name}.b"}


def test_two_hooks_check_once(package: Package) -> None:
    with install_import_hook(package.name):
        f = package.load("def f(x: int): ...").f
    assert refuses(f, "")
    assert not hasattr(f.__wrapped__, "__contract__")


def test_the_hook_stays_until_it_is_removed(package: Package) -> None:
    for file in ("__init__.py", "a.py", "b.py"):
        package.write(PLAIN, file)
    hook = install_import_hook(package.name)
    assert refuses(importlib.import_module(f"{package.name}.a").halve, zeros(2, 3))
    hook.uninstall()
    hook.uninstall()
    assert not refuses(importlib.import_module(f"{package.name}.b").halve, zeros(2, 3))
    assert refuses(sys.modules[f"{package.name}.a"].halve, zeros(2, 3))


def test_a_module_alone_and_a_package_without_init_are_packages(package: Package) -> None:
    (package.folder / f"{package.name}.py").write_text(PLAIN, encoding="utf-8")
    assert refuses(package.load().halve, zeros(2, 3))
    package.forget()
    (package.folder / f"{package.name}.py").unlink()
    package.write(PLAIN, "inner.py")
    assert refuses(package.load(module=".inner").halve, zeros(2, 3))


def test_what_has_no_source_on_disk_is_imported_as_ever(package: Package) -> None:
    with zipfile.ZipFile(package.folder / "packed.zip", "w") as packed:
        packed.writestr(f"{package.name}/__init__.py", PLAIN)
    sys.path.insert(0, str(package.folder / "packed.zip"))
    assert not refuses(package.load().halve, zeros(2, 3))
    package.forget()
    del sys.path[0]
    path = package.write(PLAIN)
    py_compile.compile(str(path), str(path.with_suffix(".pyc")))
    path.unlink()
    assert not refuses(package.load().halve, zeros(2, 3))


def test_an_extension_module_is_imported_as_ever() -> None:
    folder = Path(sysconfig.get_path("stdlib")) / "lib-dynload"
    found = [path.name.partition(".")[0] for path in folder.glob("*.so")]
    name = next((name for name in sorted(found) if name.startswith("xx")), None)
    if name is None:
        pytest.skip("this Python has no extension module for tests")
    sys.modules.pop(name, None)
    with install_import_hook(name):
        assert importlib.import_module(name).__doc__


def test_a_reload_is_checked(package: Package) -> None:
    module = package.load("def f(x: int): return 1\n")
    package.write("def f(x: int): return 22\n")
    with install_import_hook(package.name):
        importlib.reload(module)
    assert module.f(3) == 22
    assert refuses(module.f, "")


def test_a_package_run_as_a_script_is_checked(package: Package) -> None:
    package.write("")
    package.write(PLAIN + "assert __name__ == '__main__'\n", "__main__.py")
    with install_import_hook(package.name):
        ran = runpy.run_module(package.name, run_name="__main__")
    assert refuses(ran["halve"], zeros(2, 3))


class OtherLoader(importlib.machinery.SourceFileLoader):
    """As of another import hook."""


class OtherFinder:
    """As of an editable install: it knows one module that is on no path."""

    def __init__(self, name: str, path: Path, kind: Callable[[str, str], Any]) -> None:
        self.name, self.loader = name, kind(name, str(path))

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name == self.name:
            return importlib.util.spec_from_loader(name, self.loader)
        return None


@pytest.mark.parametrize("maker", ["", "beartype.claw", "jaxtyping"])
def test_what_another_finder_finds_is_checked(
    maker: str, package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = package.folder / "elsewhere.txt"
    path.write_text(PLAIN, encoding="utf-8")
    kind: Any = importlib.machinery.SourceFileLoader
    if maker:
        kind = type("Loader", (OtherLoader,), {"__module__": maker})
    monkeypatch.setattr(
        sys, "meta_path", [*sys.meta_path, object(), OtherFinder(package.name, path, kind)]
    )
    assert refuses(package.load().halve, zeros(2, 3))
    monkeypatch.undo()


def test_a_loader_that_is_not_known_is_kept_and_said_to_be(
    package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = package.write(PLAIN)
    finder = OtherFinder(package.name, path, OtherLoader)
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    with pytest.warns(UserWarning, match="stays unchecked") as warned:
        module = package.load()
    assert [str(warning.message) for warning in warned] == [
        f"{package.name} stays unchecked: it is loaded by OtherLoader of test_importing, which "
        "typedwave does not know"
    ]
    assert not refuses(module.halve, zeros(2, 3))
    monkeypatch.undo()


# compiled code that is kept
def kept(package: Package) -> list[str]:
    return sorted(path.name for path in package.folder.rglob("*.pyc"))


def test_checked_and_unchecked_code_are_kept_apart(
    package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    package.write(PLAIN)
    for _ in range(2):
        assert not refuses(importlib.import_module(package.name).halve, zeros(2, 3))
        package.forget()
        module = package.load()
        assert refuses(module.halve, zeros(2, 3))
        assert Path(module.__cached__).name == kept(package)[0]
        package.forget()
    tag = sys.implementation.cache_tag
    assert len(kept(package)) == 2
    assert kept(package)[0].startswith(f"__init__.{tag}.opt-typedwave")
    assert kept(package)[1] == f"__init__.{tag}.pyc"
    with monkeypatch.context() as patch:
        patch.setattr(sys, "flags", SimpleNamespace(optimize=2))
        optimized = module.__loader__.cache
    assert Path(optimized).name not in kept(package)


def test_what_is_kept_is_used_while_the_source_is_the_same(
    package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    woven = []
    weave = importing.weave
    monkeypatch.setattr(importing, "weave", lambda tree: woven.append(weave(tree)))
    for source, count in [("def f(): ...", 1), ("def f(): ...", 1), ("def f(x: int): ...", 2)]:
        module = package.load(source)
        assert len(woven) == count
        package.forget()
    assert refuses(module.f, "")
    monkeypatch.setattr(importing, "_version", lambda: 1)
    package.load()
    assert len(woven) == 3
    assert len(kept(package)) == 2


def test_nothing_is_kept_where_python_keeps_nothing(
    package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    package.load(PLAIN)
    assert kept(package) == []
    package.forget()
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys.implementation, "cache_tag", None)
    assert refuses(package.load().halve, zeros(2, 3))
    assert kept(package) == []


# what is said
def test_modules_that_are_imported_already_are_named(package: Package) -> None:
    for file in ("__init__.py", "early.py", "late.py"):
        package.write(PLAIN, file)
    early = importlib.import_module(f"{package.name}.early")
    with pytest.warns(match="imported before") as warned, install_import_hook(package.name):
        late = importlib.import_module(f"{package.name}.late")
    assert [str(warning.message) for warning in warned] == [
        f"imported before the import hook of typedwave, and unchecked: {package.name}, "
        f"{package.name}.early; install the hook before anything imports them. What is imported "
        "from now on is checked"
    ]
    assert warned[0].filename == __file__
    assert not refuses(early.halve, zeros(2, 3))
    assert refuses(late.halve, zeros(2, 3))


def test_many_modules_are_counted(package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(30):
        module = ModuleType("x")
        module.__file__ = "x.py"
        monkeypatch.setitem(sys.modules, f"{package.name}.m{i:02}", module)
    with pytest.warns(UserWarning, match=r"m11 and 18 more; install"):
        install_import_hook(package.name).uninstall()


def test_a_warning_that_is_an_error_leaves_no_hook_behind(package: Package) -> None:
    package.write("")
    importlib.import_module(package.name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="imported before"):
            install_import_hook(package.name)


def test_nothing_is_said_of_what_is_checked_or_cannot_be(package: Package) -> None:
    package.write(PLAIN, "inner/a.py")
    package.load(module=".inner.a")
    sys.modules[f"{package.name}.blocked"] = None  # type: ignore[assignment]  # as Python allows
    assert install_import_hook(package.name).uninstall() is None


def test_a_package_may_install_the_hook_for_itself(package: Package) -> None:
    package.write(PLAIN, "inner.py")
    package.write(
        f"from typedwave.contract.importing import install_import_hook\n{PLAIN}"
        "with install_import_hook(__name__):\n    from . import inner\n"
    )
    module = importlib.import_module(package.name)
    assert refuses(module.inner.halve, zeros(2, 3))
    assert not refuses(module.halve, zeros(2, 3))


@pytest.mark.parametrize(
    ("names", "kind", "message"),
    [
        ([], TypeError, "install_import_hook takes the names of packages, but got none"),
        (
            [["a", "b"]],
            TypeError,
            "install_import_hook takes the names of packages, each a string of its own, but got "
            "['a', 'b']",
        ),
        *[
            (
                ["a", name],
                ValueError,
                f"{name!r} cannot be the name of a module; a package is named as in its import "
                "statement, such as 'mypackage' or 'mypackage.layers'",
            )
            for name in ["", ".a", "a..b", "a-b", "a/b", "a,b", " a"]
        ],
    ],
)
def test_what_cannot_be_a_package_is_refused(
    names: list[Any], kind: type[Exception], message: str
) -> None:
    before = list(sys.meta_path)
    with pytest.raises(kind) as raised:
        install_import_hook(*names)
    assert str(raised.value) == message
    assert sys.meta_path == before


def test_a_copy_of_the_hook_that_is_not_installed_finds_nothing(package: Package) -> None:
    package.write(PLAIN)
    hook = install_import_hook(package.name)
    hook.uninstall()
    with contextlib.suppress(ImportError):
        assert hook.find_spec(package.name) is None
