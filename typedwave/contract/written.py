"""Code written out for one signature or class, since it runs at every call of a layer.

A loop over parameters or attributes costs more than what is done for each of them. What is
written here does what `FunctionContract.call` and `StateContract.read` do, and leaves to them
whatever is not as expected.
"""

import inspect
import itertools
import linecache
from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter
from typing import Any

__all__ = ["is_fixed", "write_checked", "write_facts"]

_CHECKED = """\
def checked({parameters}):
    if {_}is_compiling():
        return {_}traced({passed})
    {_}state = {_}getattr({owner}.__class__, "__state_contract__", None)
    {_}before = () if {_}state is None else {_}state.facts({owner})
    try:
        {_}key = ({_}before, {asked}, {keys})
        {_}good = {_}remembered.get({_}key)
    except ({_}AttributeError, {_}TypeError):
        {_}good = None
    if {_}good is None:
        return {_}contract.call({passed})
    {_}result = {_}function({passed})
    if {_}state is not None and {_}state.facts({owner}) != {_}before:
        {_}contract.judge_state({owner}, {_}before)
    if ({result}) not in {_}good:
        {_}contract.judge_result({_}key, {_}result, {passed})
    return {_}result
"""
_FACTS = "({x}.__class__, {x}.dtype, {x}.shape) if {_}isinstance({x}, {_}Tensor) else {other}"
_STATE = "None if {x} is None else ({x}.__class__, {x}.dtype, {x}.shape, {x}.device)"

_FIXED = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
_numbers = itertools.count()


def is_fixed(signature: inspect.Signature) -> bool:
    """Whether a signature has neither ``*args`` nor ``**kwargs``, so that it can be written out."""
    return all(parameter.kind in _FIXED for parameter in signature.parameters.values())


def write_checked(
    signature: inspect.Signature,
    *,
    judged: Iterable[str],
    is_method: bool,
    has_result: bool,
    asks: bool,
    names: Mapping[str, Any],
) -> Callable[..., Any]:
    """Writes the checked form of a function with a fixed signature.

    Args:
        signature: Of the function; its annotations are left out.
        judged: The parameters whose facts are part of a call's key, in order.
        is_method: Whether the first parameter is a ``self`` that may have state.
        has_result: Whether facts about the result are remembered.
        asks: Whether a shape may have ``{...}`` in it.
        names: The values of the names that the code uses.
    """
    parameters = list(signature.parameters.values())
    prefix = "_"
    while any(parameter.name.startswith(prefix) for parameter in parameters):
        prefix += "_"
    defaults = {f"{prefix}default_{p.name}": p.default for p in parameters}
    owner = "self" if is_method else "None"
    source = _CHECKED.format(
        _=prefix,
        parameters=", ".join(_declared(parameters, prefix)),
        passed=", ".join(
            f"{p.name}={p.name}" if p.kind is Parameter.KEYWORD_ONLY else p.name for p in parameters
        ),
        owner=owner,
        asked=f"{prefix}contract.asked({owner})" if asks else "()",
        keys="".join(
            _FACTS.format(x=name, _=prefix, other=f"{prefix}contract.fact({name!r}, {name})") + ", "
            for name in judged
        ),
        result=_FACTS.format(
            x=f"{prefix}result", _=prefix, other=f"{prefix}contract.result_fact({prefix}result)"
        )
        if has_result
        else "None",
    )
    prefixed = {f"{prefix}{name}": value for name, value in names.items()}
    return _define("checked", source, prefixed | defaults)


def write_facts(
    places: Mapping[str, str], read: Callable[[Any], tuple[Any, ...]], cls: type
) -> Callable[[Any], tuple[Any, ...]]:
    """Writes the reader of the facts about a module's state.

    Args:
        places: Where each attribute is expected: ``"parameters"`` or ``"buffers"``.
        read: Reads what is not where it is expected.
        cls: The class of the module, which leads the facts.
    """
    lines = ["def facts(module):", "    try:"]
    lines += [f"        {place} = module._{place}" for place in sorted(set(places.values()))]
    lines += [f"        v{i} = {place}[{name!r}]" for i, (name, place) in enumerate(places.items())]
    entries = "".join(f"{_STATE.format(x=f'v{i}')}, " for i in range(len(places)))
    lines += [
        f"        return (cls, {entries})",
        "    except (KeyError, AttributeError, RuntimeError):",
        "        return read(module)",
    ]
    return _define("facts", "\n".join(lines) + "\n", {"read": read, "cls": cls})


def _declared(parameters: list[Parameter], prefix: str) -> Iterable[str]:
    for i, parameter in enumerate(parameters):
        before = parameters[i - 1].kind if i else None
        if parameter.kind is not before:
            if before is Parameter.POSITIONAL_ONLY:
                yield "/"
            if parameter.kind is Parameter.KEYWORD_ONLY:
                yield "*"
        has_default = parameter.default is not Parameter.empty
        yield (
            f"{parameter.name}={prefix}default_{parameter.name}" if has_default else parameter.name
        )
    if parameters and parameters[-1].kind is Parameter.POSITIONAL_ONLY:
        yield "/"


def _define(name: str, source: str, namespace: dict[str, Any]) -> Callable[..., Any]:
    """Runs the source of one function; debuggers and tracebacks can show its lines."""
    file = f"<typedwave {next(_numbers)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec"), namespace)
    function: Callable[..., Any] = namespace[name]
    return function
