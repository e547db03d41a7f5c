"""``install_import_hook``: checks all of a package, as if each definition in it was decorated.

The source of its modules is compiled with `check_function` below the decorators of each annotated
function, and `check_class` above those of each class that may be a module or a dataclass.
"""

import ast
import contextlib
import functools
import inspect
import sys
import typing
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import cache_from_source
from types import CodeType, FunctionType, ModuleType, SimpleNamespace, TracebackType
from typing import Any, Final, Self, TypeVar

from torch.compiler import is_dynamo_compiling

from typedwave.contract.decorator import typed
from typedwave.contract.module import typed_class

__all__ = ["ImportHook", "check_class", "check_function", "install_import_hook", "weave"]

# What is under a decorator of these names is left alone: it opts out, is never called, or is read
# by a compiler that knows no wrapper (torch.jit, numba, triton).
_OPTED_OUT: Final = frozenset({"no_type_check"})
_NOT_CALLED: Final = frozenset({"overload"})
_COMPILED: Final = frozenset(
    {"cfunc", "guvectorize", "jit", "jitclass", "njit", "script", "script_method", "vectorize"}
)
# A check asks an object for its class, which these answer: checked, they would call themselves.
_ASKED_BY_CHECKS: Final = frozenset({"__class__", "__getattribute__"})
# Loaders that only add checks of their own; ours takes their place.
_CHECKERS: Final = frozenset({"beartype", "jaxtyping", "typeguard"})
# No source text can have these names. The underscore hides them from `import *` and `%who`.
_FUNCTION: Final = "_@typedwave_function"
_CLASS: Final = "_@typedwave_class"
_NAMED: Final = 12
"""Modules that a warning names; the rest are counted."""

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_BLOCKS: Final = (ast.stmt, ast.excepthandler, ast.match_case)
C = TypeVar("C")


def install_import_hook(*packages: str) -> "ImportHook":
    """Checks what is imported of packages from now on, as if all of it was decorated.

    Every annotated function and method is `typed`, every class of modules is checked as if it
    was derived from `Module`, and a dataclass is checked when it is made. Left alone is what is
    under ``typing.no_type_check``.

    Args:
        packages: Names of packages or modules, as in an import statement. A package stands for
            its subpackages too.

    Returns:
        The hook. It stays until its ``uninstall()``, or the end of a ``with`` block.

    Raises:
        TypeError: No package is named, or by something else than a string.
        ValueError: A string cannot be the name of a module.

    Warns:
        UserWarning: Modules are imported already: they stay unchecked, others will be checked.

    Example:
        >>> import typedwave
        >>> with typedwave.install_import_hook("mypackage"):
        ...     pass  # import mypackage
    """
    if not packages:
        raise TypeError("install_import_hook takes the names of packages, but got none")
    for name in packages:
        if not isinstance(name, str):
            raise TypeError(
                "install_import_hook takes the names of packages, each a string of its own, but "
                f"got {name!r}"
            )
        if not all(map(str.isidentifier, name.split("."))):
            raise ValueError(
                f"{name!r} cannot be the name of a module; a package is named as in its import "
                "statement, such as 'mypackage' or 'mypackage.layers'"
            )
    hook = ImportHook(packages)
    unchecked = hook.unchecked(besides=sys._getframe(1).f_globals.get("__name__"))
    if unchecked:
        names = ", ".join(unchecked[:_NAMED])
        more = f" and {len(unchecked) - _NAMED} more" if len(unchecked) > _NAMED else ""
        warnings.warn(
            f"imported before the import hook of typedwave, and unchecked: {names}{more}; install "
            "the hook before anything imports them. What is imported from now on is checked",
            stacklevel=2,
        )
    sys.meta_path.insert(0, hook)
    return hook


class ImportHook(MetaPathFinder):
    """Finds the modules of some packages as the finders behind it do, and has them checked.

    Attributes:
        packages: The names of the packages.
        found: Those of which something has been found.
    """

    def __init__(self, packages: Sequence[str]) -> None:
        self.packages = tuple(packages)
        self.found: set[str] = set()

    def __repr__(self) -> str:
        return f"ImportHook({', '.join(map(repr, self.packages))})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.uninstall()

    def uninstall(self) -> None:
        """Removes the hook; what has been imported stays checked. May be called again."""
        sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not self]

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The specification of a module, with a loader that has it checked."""
        covering = self._covering(name)
        if not covering:
            return None
        spec = next(filter(None, self._found_behind(name, path, target)), None)
        if spec is not None:
            self.found.update(covering)
            _let_check(spec)
        return spec

    def unchecked(self, *, besides: str | None) -> list[str]:
        """The modules that are imported already, and not through a hook."""
        unchecked = []
        for name in sorted(filter(self._covering, list(sys.modules))):
            self.found.update(self._covering(name))
            module = sys.modules[name]
            is_source = (getattr(module, "__file__", None) or "").endswith(".py")
            is_checked = isinstance(getattr(module, "__loader__", None), _CheckingLoader)
            if is_source and not is_checked and name != besides:
                unchecked.append(name)
        return unchecked

    def _covering(self, name: str) -> list[str]:
        return [p for p in self.packages if name == p or name.startswith(f"{p}.")]

    def _found_behind(self, *request: Any) -> Iterator[ModuleSpec | None]:
        finders = iter(list(sys.meta_path))
        for finder in finders:
            if finder is self:
                break
        for finder in finders:
            if hasattr(finder, "find_spec"):
                yield finder.find_spec(*request)


def _let_check(spec: ModuleSpec) -> None:
    """Replaces the loader of Python source; extension modules, zip files and such keep theirs."""
    loader, rewriter = spec.loader, sys.modules.get("_pytest.assertion.rewrite")
    if rewriter is not None and isinstance(loader, rewriter.AssertionRewritingHook):
        rewrite = functools.partial(rewriter.rewrite_asserts, config=loader.config)
        spec.loader = _CheckingLoader(spec.name, spec.origin or "", rewrite)
    elif isinstance(loader, SourceFileLoader) and not isinstance(loader, _CheckingLoader):
        made_by = type(loader).__module__.partition(".")[0]
        if type(loader) is not SourceFileLoader and made_by not in _CHECKERS:
            warnings.warn(
                f"{spec.name} stays unchecked: it is loaded by {type(loader).__qualname__} of "
                f"{made_by}, which typedwave does not know",
                stacklevel=3,
            )
            return
        spec.loader = _CheckingLoader(loader.name, loader.path)
    if isinstance(spec.loader, _CheckingLoader) and sys.implementation.cache_tag:
        spec.cached = spec.loader.cache


class _CheckingLoader(SourceFileLoader):
    """Compiles with checks, and keeps the result apart from what is compiled without them.

    Args:
        name: Of the module.
        path: Of its source.
        rewrite: What pytest does with the assertions in it, if it wants to.
    """

    def __init__(
        self, name: str, path: str, rewrite: Callable[[ast.Module, bytes, str], None] | None = None
    ) -> None:
        super().__init__(name, path)
        self._rewrite = rewrite

    @property
    def cache(self) -> str:
        """Where its compiled code is kept: under another name for another version of us."""
        tag = f"typedwave{_version():08x}o{sys.flags.optimize}"
        if self._rewrite is not None:
            made = sys.modules["pytest"].__version__
            tag += "pytest" + "".join(filter(str.isalnum, made))
        return cache_from_source(self.path, optimization=tag)

    def source_to_code(  # type: ignore[override]  # typeshed has no `_optimize`
        self, data: bytes, path: str, *, _optimize: int = -1
    ) -> CodeType:
        """Compiles source with checks woven in."""
        options: dict[str, Any] = {"dont_inherit": True, "optimize": _optimize}
        tree = compile(data, path, "exec", flags=ast.PyCF_ONLY_AST, **options)
        weave(tree)
        if self._rewrite is not None:
            self._rewrite(tree, data, path)
        code: CodeType = compile(tree, path, "exec", **options)
        return code

    def get_data(self, path: str) -> bytes:
        """Reads a file; the compiled code from a place of its own."""
        return super().get_data(self._own(path))

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Writes the compiled code to a place of its own."""
        super().set_data(self._own(path), data, _mode=_mode)

    def _own(self, path: str) -> str:
        is_cache = path.endswith(".pyc") and path == cache_from_source(self.path)
        return self.cache if is_cache else path


@functools.cache
def _version() -> int:
    """A number that is another one whenever this file is."""
    return zlib.crc32(typing.cast(SourceFileLoader, __loader__).get_data(__file__))  # type: ignore[name-defined]  # of every module


def weave(tree: ast.Module) -> None:
    """Puts `check_function` and `check_class` on the definitions in a module, in place.

    Theirs is a line where Python looks for the first line of the definition, so that tracebacks
    and ``inspect.getsource`` show what they would have shown.
    """
    left_alone = {*_OPTED_OUT, *_NOT_CALLED, *_COMPILED, *_aliases(tree)}
    found = False
    blocks: list[ast.AST] = [tree]
    while blocks:  # expressions hold no definitions, and may be too deep for a recursion
        block = blocks.pop()
        if isinstance(block, _Function | ast.ClassDef):
            if not left_alone.isdisjoint(map(_name_of, block.decorator_list)):
                continue
            found |= _decorate(block)
        blocks += [part for part in ast.iter_child_nodes(block) if isinstance(part, _BLOCKS)]
    if found:
        at = 1 if ast.get_docstring(tree, clean=False) is not None else 0
        while isinstance(first := tree.body[at], ast.ImportFrom) and first.module == "__future__":
            at += 1
        names = [ast.alias("check_function", _FUNCTION), ast.alias("check_class", _CLASS)]
        ours = ast.ImportFrom(__name__, names, level=0)
        tree.body.insert(at, ast.copy_location(ours, tree.body[at]))
        ast.fix_missing_locations(ours)


def _decorate(node: _Function | ast.ClassDef) -> bool:
    """Puts our decorator on a definition that can use one, and returns whether it did."""
    first = [*node.decorator_list, node][0]
    line, column = first.lineno, first.col_offset
    end = {"end_lineno": line, "end_col_offset": column + 1}
    if isinstance(node, ast.ClassDef):
        if not (node.bases or node.keywords or node.decorator_list):
            return False
        ours = ast.Name(_CLASS, ast.Load(), lineno=line, col_offset=column, **end)
        node.decorator_list.insert(0, ours)
        return True
    if node.name in _ASKED_BY_CHECKS or not _is_annotated(node):
        return False
    ours = ast.Name(_FUNCTION, ast.Load(), lineno=line, col_offset=column, **end)
    node.decorator_list.append(ours)
    return True


def _is_annotated(node: _Function) -> bool:
    every = node.args
    plain = [*every.posonlyargs, *every.args, *every.kwonlyargs, every.vararg, every.kwarg]
    return node.returns is not None or any(arg and arg.annotation for arg in plain)


def _name_of(decorator: ast.expr) -> str | None:
    """The last name in a decorator: ``jit`` in ``@numba.jit(cache=True)``."""
    if isinstance(decorator, ast.Call):
        return _name_of(decorator.func)
    return getattr(decorator, "attr", None) or getattr(decorator, "id", None)


def _aliases(tree: ast.Module) -> Iterable[str]:
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    names = [alias for node in imports for alias in node.names]
    return [alias.asname for alias in names if alias.asname and alias.name in _OPTED_OUT]


def check_function(function: Any) -> Any:
    """What is woven under the decorators of a function: `typed`, where nothing is compiled."""
    return function if is_dynamo_compiling() else typed(function)  # one made inside of another


def check_class(cls: C) -> C:
    """What is woven above the decorators of a class: checks modules, and making a dataclass."""
    if not isinstance(cls, type):
        return cls
    init = vars(cls).get("__init__")
    is_made = "__dataclass_fields__" in vars(cls) and isinstance(init, FunctionType)
    if is_made and init.__annotations__ and not hasattr(init, "__no_type_check__"):
        init.__annotations__ = _hints_of_fields(cls, init.__annotations__)
        cls.__init__ = check_function(init)  # type: ignore[misc]  # on the class
    return typed_class(cls)


def _hints_of_fields(cls: type, annotations: dict[str, Any]) -> dict[str, Any]:
    """The annotations of ``__init__``; a field of another module means what it means there."""
    owners: dict[str, type] = {}
    for base in reversed(cls.__mro__):
        owners |= dict.fromkeys(inspect.get_annotations(base), base)
    hints = dict(annotations)
    for name, hint in annotations.items():
        owner = owners.get(name, cls)
        if isinstance(hint, str) and owner.__module__ != cls.__module__:
            holder: Any = SimpleNamespace(__annotations__={name: hint})
            namespace = vars(sys.modules[owner.__module__])
            with contextlib.suppress(Exception):  # whatever is in it; the first call says it
                hints |= typing.get_type_hints(holder, namespace, include_extras=True)
    return hints
