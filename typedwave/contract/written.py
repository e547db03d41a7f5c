"""Code written out for one signature or class, since it runs at every call of a layer.

A loop over parameters or attributes costs more than what is done for each of them. What is
written here does what `FunctionContract.call` and `StateContract.read` do, and leaves to them
whatever is not as expected.

All of it has one dict of globals. Dynamo guards each name that traced code reads, so that names
of one dict are guarded once for all layers; what belongs to one function is in closure cells.
"""

import inspect
import itertools
import linecache
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from inspect import Parameter
from typing import Any, Final, Literal

__all__ = ["NAMES", "PREFIX", "Compared", "Kind", "write_call", "write_checked", "write_facts"]

PREFIX: Final = "_typedwave_"
"""What every name of ours begins with in written code; no parameter may."""
NAMES: Final[dict[str, Any]] = {}
"""The globals of written code, with their prefix."""

_CHECKED = """\
def checked({parameters}):
    if {_}is_dynamo_compiling():
        from torch._dynamo.comptime import comptime as {_}comptime
        {_}number = {number}
        {_}comptime({_}before)
        return {_}seen({_}number, ({values}), {_}function({passed}))
    if ({_}paused or {_}off) and {_}is_off({owner}):
        return {_}function({passed})
{state}    try:
        {_}key = ({before}, {asked}, {keys})
        {_}good = {_}remembered.get({_}key)
    except (AttributeError, TypeError):
        {_}good = None
    if {_}good is None:
        return {_}contract.call({passed})
    {_}note(({who},))
    try:
        {_}result = {_}function({passed})
    except BaseException:
        {_}forget()
        raise
{drift}    {_}known = {result}
    if not {_}contract.is_known({_}known, {_}good):
        {_}contract.judge_result({_}key, {_}result, {passed})
    {_}note(({who}, {_}contract, {_}key, {_}known))
    return {_}result
"""
_STATE = """\
    {_}state = getattr(self.__class__, "__state_contract__", None)
    {_}held = () if {_}state is None else {_}state.facts(self)
"""
_DRIFT = """\
    if {_}state is not None and {_}state.facts(self) != {_}held:
        {_}contract.judge_state(self, {_}held)
"""
# What torch's own call does with hooks, tracers and patched forwards is left to it, with the
# arguments as they came: it ends in the checked forward. So is a call with keywords. Under
# torch.jit.trace sizes are tensors, and comparing them would be traced: the first shape is looked
# up by its hash, which is another then, before any is compared.
_CALL = """\
def __call__(self, {parameters}/, *{star}, **{_}kwargs):
    if {_}is_dynamo_compiling():
        if {_}kwargs:
            return {_}traced_call(self, *{given}, **{_}kwargs)
        return {_}traced_call(self, {sure}*{unsure})
    {m} = self._typedwave
    if {_}kwargs{more} or {m}.__class__ is not {_}Layout:
        return {_}contract.other_call(self, *{given}, **{_}kwargs)
{defaults}{loads}    try:
        {_}same = (
            not (
                {m}.h1 or {m}.h2 or {m}.h3 or {m}.h4
                or {_}forward_hooks or {_}forward_pre_hooks
                or {_}backward_hooks or {_}backward_pre_hooks
                or {_}paused or "forward" in self.__dict__
            )
            and {_}cls.forward is {_}forward
            and {same}
        )
    except (AttributeError, KeyError, TypeError):
        {_}same = False
    if not {_}same:
        return {_}contract.renew(self, *{given})
    if {m}.opened:
        {_}note({m}.opened)
    {_}result = {_}function({passed})
    try:
        {_}same = {kept}
    except KeyError:
        {_}same = {_}contract.still_holds(self, ({found}))
    except (AttributeError, TypeError):
        {_}same = False
    if not {_}same:
        {_}contract.judge_after({m}.mark, ({found}), {_}result, self, *{given})
    {_}note({m}.mark)
    return {_}result
"""
# What is not at its place, as a None that is a plain attribute, is looked for.
_LOADS = """\
    try:
{reads}    except KeyError:
        {found}= {_}contract.held(self)
"""
_FACTS = "({x}.__class__, {x}.dtype, {x}.shape) if isinstance({x}, {_}Tensor) else {other}"
_FIRST = "{x}.__class__ is {c} and {x}.dtype is {d} and {x}.shape in {s}"
_TENSOR = "{x}.__class__ is {c} and {x}.dtype is {d} and {x}.shape == {s}"
_OPTIONAL = "{x}.__class__ is {c} and ({d} is None or {x}.dtype is {d} and {x}.shape == {s})"
_HELD = "{x}.dtype is {d} and {x}.shape == {s}"
_HELD_OR_NONE = "({d} is None if {x} is None else {x}.dtype is {d} and {x}.shape == {s})"
_STATE_FACTS = "None if {x} is None else ({x}.__class__, {x}.dtype, {x}.shape, {x}.device)"

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_MEMORY: Final = f"{PREFIX}memory"
_numbers = itertools.count()

Kind = Literal["tensor", "optional", "class", "fact"]


@dataclass(frozen=True)
class Compared:
    """What the call of a module compares with its last one.

    Attributes:
        arguments: Of each judged parameter, whether it is a tensor, a tensor or None, is told by
            its class, or by its fact.
        result: The same of the result; None if it is not judged.
        asked: What ``{...}`` in shapes asks of self, as expressions.
        places: Where each attribute of the state is: ``"parameters"`` or ``"buffers"``; None if
            only the contract can read it.
        optional: The attributes that may be None.
    """

    arguments: Mapping[str, Kind]
    result: Kind | None
    asked: tuple[str, ...]
    places: Mapping[str, str] | None
    optional: Collection[str]

    @property
    def first(self) -> int | None:
        """Which argument is compared first: one that is a tensor always."""
        return next((i for i, k in enumerate(self.arguments.values()) if k == "tensor"), None)


def write_checked(
    signature: inspect.Signature,
    *,
    number: int,
    judged: Iterable[str],
    is_method: bool,
    has_result: bool,
    asks: bool,
    names: Mapping[str, Any],
) -> Callable[..., Any]:
    """Writes the checked form of a function.

    Args:
        signature: Of the function; its annotations are left out.
        number: Of the contract, by which what runs at trace time finds it.
        judged: The parameters whose facts are part of a call's key, in order.
        is_method: Whether the first parameter is a ``self`` that may have state.
        has_result: Whether facts about the result are remembered.
        asks: Whether a shape may have ``{...}`` in it.
        names: The values of the names that belong to this function, without prefix.
    """
    owner = "self" if is_method else "None"
    contract = f"{PREFIX}contract"
    source = _CHECKED.format(
        _=PREFIX,
        number=number,
        parameters=_declared(signature),
        passed=_passed(signature),
        values="".join(f"{name}, " for name in signature.parameters),
        owner=owner,
        who=f"{PREFIX}reference(self)" if is_method else contract,
        state=_STATE.format(_=PREFIX) if is_method else "",
        drift=_DRIFT.format(_=PREFIX) if is_method else "",
        before=f"{PREFIX}held" if is_method else "()",
        asked=f"{contract}.asked({owner})" if asks else "()",
        keys="".join(
            _FACTS.format(x=name, _=PREFIX, other=f"{contract}.fact({name!r}, {name})") + ", "
            for name in judged
        ),
        result=_FACTS.format(
            x=f"{PREFIX}result", _=PREFIX, other=f"{contract}.result_fact({PREFIX}result)"
        )
        if has_result
        else "None",
    )
    return _define("checked", source, dict(names) | _defaults(signature))


def write_call(
    signature: inspect.Signature, compared: Compared, memory: type, names: Mapping[str, Any]
) -> tuple[Callable[..., Any], type]:
    """Writes ``__call__`` for a class of modules with one forward.

    Args:
        signature: Of the forward; its annotations are left out.
        compared: What is compared.
        memory: What the memory of a module is derived from.
        names: The values of the names that belong to this class, without prefix.

    Returns:
        The function, and the class of memory that it reads. Its slots: the marks that a call
        leaves where it returns and where it begins (``mark``, ``opened``), four dicts of hooks
        (``h1`` to ``h4``), what was ``asked``; of argument i class or fact (``c0``), dtype
        (``d0``) and shape (``s0``, or, as the only element of a set, ``first``); of the state all
        facts (``held``) or mode (``training``) and of attribute i dtype (``e0``) and shape
        (``t0``); of the result ``c``, ``d`` and ``s``.
    """
    loads = found = ""
    same: list[str] = []
    kept: list[str] = []
    first = compared.first
    positional = [p for p in signature.parameters.values() if p.kind in _POSITIONAL][1:]
    stars = [p.name for p in signature.parameters.values() if p.kind is Parameter.VAR_POSITIONAL]
    star = stars[0] if stars else f"{PREFIX}args"
    required = [p.name for p in positional if p.default is Parameter.empty]
    # The values of those with defaults, which may be missing; what is missing is not passed on.
    values = {p.name: f"{PREFIX}a_{p.name}" for p in positional if p.name not in required}
    missing = ""  # a tensor is noticed by what it has not, if it is missing
    if required and compared.arguments.get(required[-1]) != "tensor":
        missing = f" or {required[-1]} is {PREFIX}missing"
    slots = ["mark", "opened", "h1", "h2", "h3", "h4"]

    def last(name: str) -> str:
        slots.append(name)
        return f"{_MEMORY}.{name}"

    def like_last(x: str, kind: Kind, i: int | str, fact: str) -> str:
        c = last(f"c{i}")
        if kind in ("class", "fact"):
            return f"{x}.__class__ is {c}" if kind == "class" else f"{fact} == {c}"
        form = _OPTIONAL if kind == "optional" else _FIRST if i == first else _TENSOR
        shape = "first" if i == first else f"s{i}"
        return form.format(x=x, c=c, d=last(f"d{i}"), s=last(shape))

    if first is None:
        same.append(f"not {PREFIX}is_tracing()")
    if compared.asked:
        same.append(f"({', '.join(compared.asked)},) == {last('asked')}")
    arguments = list(enumerate(compared.arguments.items()))
    for i, (name, kind) in sorted(arguments, key=lambda argument: argument[0] != first):
        x = values.get(name, name)
        same.append(like_last(x, kind, i, f"{PREFIX}contract.fact({name!r}, {x})"))
    if compared.places is None:
        held = last("held")
        same.append(f"{PREFIX}facts(self) == {held}")
        kept.append(f"{PREFIX}facts(self) == {held}")
    elif compared.places:
        same.append(f"self.training is {last('training')}")  # it may drift in one mode only
        reads = [
            f"{PREFIX}{place} = self._{place}" for place in sorted({*compared.places.values()})
        ]
        for i, (name, place) in enumerate(compared.places.items()):
            w, there = f"{PREFIX}w{i}", f"{PREFIX}{place}[{name!r}]"
            form = _HELD_OR_NONE if name in compared.optional else _HELD
            same.append(form.format(x=w, d=last(f"e{i}"), s=last(f"t{i}")))
            reads.append(f"{w} = {there}")
            kept.append(f"{there} is {w}")
            found += f"{w}, "
        lines = "".join(f"        {line}\n" for line in reads)
        loads = _LOADS.format(_=PREFIX, reads=lines, found=found)
    if compared.result is not None:
        result = f"{PREFIX}result"
        fact = f"{PREFIX}contract.result_fact({result})"
        kept.insert(0, like_last(result, compared.result, "", fact))
    source = _CALL.format(
        _=PREFIX,
        m=_MEMORY,
        parameters="".join(f"{p.name}={PREFIX}missing, " for p in positional),
        star=star,
        more=("" if stars else f" or {star}") + missing,
        sure="".join(f"{name}, " for name in required),
        unsure=f"{PREFIX}given(({''.join(f'{name}, ' for name in values)}), {star})"
        if values
        else star,
        given=f"{PREFIX}given(({''.join(f'{p.name}, ' for p in positional)}), {star})",
        defaults="".join(
            f"    {x} = {PREFIX}default_{name} if {name} is {PREFIX}missing else {name}\n"
            for name, x in values.items()
        ),
        passed=", ".join(
            ["self", *(values.get(p.name, p.name) for p in positional), *(f"*{s}" for s in stars)]
        ),
        loads=loads,
        same=" and ".join(same) or "True",
        kept=" and ".join(kept) or "True",
        found=found,
    )
    layout = type("Memory", (memory,), {"__slots__": tuple(slots)})
    own = {**names, "Layout": layout, **_defaults(signature)}
    return _define("__call__", source, own), layout


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
    entries = "".join(f"{_STATE_FACTS.format(x=f'v{i}')}, " for i in range(len(places)))
    lines += [
        f"        return ({PREFIX}cls, {entries})",
        "    except (KeyError, AttributeError, RuntimeError):",
        f"        return {PREFIX}read(module)",
    ]
    return _define("facts", "\n".join(lines) + "\n", {"read": read, "cls": cls})


def _declared(signature: inspect.Signature) -> str:
    """The parameters as they are declared, without annotations, defaults by name."""
    parameters = []
    for parameter in signature.parameters.values():
        if parameter.name.startswith(PREFIX):
            raise TypeError(f"a parameter may not be called {parameter.name}: it is our prefix")
        has_default = parameter.default is not Parameter.empty
        default = _Name(f"{PREFIX}default_{parameter.name}") if has_default else Parameter.empty
        parameters.append(parameter.replace(annotation=Parameter.empty, default=default))
    return str(inspect.Signature(parameters))[1:-1]


def _defaults(signature: inspect.Signature) -> dict[str, Any]:
    return {f"default_{name}": p.default for name, p in signature.parameters.items()}


def _passed(signature: inspect.Signature) -> str:
    """The parameters as they are passed on."""
    forms: dict[Any, str] = {
        Parameter.VAR_POSITIONAL: "*{0}",
        Parameter.VAR_KEYWORD: "**{0}",
        Parameter.KEYWORD_ONLY: "{0}={0}",
    }
    return ", ".join(forms.get(p.kind, "{0}").format(p.name) for p in signature.parameters.values())


class _Name(str):
    """A default that is shown as the name that holds it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _define(name: str, source: str, own: Mapping[str, Any]) -> Callable[..., Any]:
    """Runs the source of one function; debuggers and tracebacks can show its lines."""
    cells = ", ".join(f"{PREFIX}{key}" for key in own)
    body = "".join(f"    {line}\n" for line in source.splitlines())
    source = f"def {PREFIX}make({cells}):\n{body}    return {name}\n"
    file = f"<typedwave {next(_numbers)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    made: dict[str, Any] = {}
    exec(compile(source, file, "exec"), NAMES, made)
    function: Callable[..., Any] = made[f"{PREFIX}make"](*own.values())
    weakref.finalize(function, linecache.cache.pop, file, None)
    return function
