"""The contract of one function: the claims of a call, their verdicts, and the memory of those."""

import contextlib
import functools
import inspect
import itertools
import weakref
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType
from typing import Any, Final, NoReturn

import torch
from torch.compiler import is_compiling
from torch.fx import Proxy
from torch.nn import Module

from typedwave.contract.annotations import function_hints
from typedwave.contract.explain import argument_error, drift_error, refusal, state_error
from typedwave.contract.facts import (
    Reader,
    asked_of_self,
    binds_inside,
    fact_reader,
    names_asked,
)
from typedwave.contract.hints import RESULT, Claim, describe_array, has_arrays
from typedwave.contract.judge import first_refused, in_scope
from typedwave.contract.state import Facts, StateContract
from typedwave.contract.switch import is_off
from typedwave.contract.trail import forget, note, reference
from typedwave.errors import ContractError

__all__ = ["CONTRACTS", "REMEMBERED", "FunctionContract"]

REMEMBERED: Final = 4096
"""Verdicts a function remembers; past that it forgets all of them and starts again."""
CONTRACTS: Final = weakref.WeakValueDictionary[int, "FunctionContract"]()
"""The contracts by number, for what has to find one from a number in traced code."""

_OF_SELF: Final = inspect.Signature([inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)])
_PENDING: Final = object()
_LATER: Final = (
    inspect.isgeneratorfunction,
    inspect.iscoroutinefunction,
    inspect.isasyncgenfunction,
)
_is_tracing: Final[Callable[[], bool]] = torch.jit.is_tracing  # type: ignore[attr-defined]  # by torch
_STARS: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_numbers = itertools.count()


class FunctionContract:
    """What the annotations of a function say, and which calls are known to keep it.

    A call is remembered by a key of all that the verdict depends on: the state of the module,
    the values that ``{...}`` in shapes asks of it, and the facts about each annotated argument.
    Remembered under it are the facts about the results that were judged good.

    Attributes:
        function: What is called.
        name: What an error calls it.
        number: By which `CONTRACTS` knows this contract.
        signature: Its parameters.
        is_method: Whether the first of them is ``self``.
        judged: The names of the annotated parameters.
        gives_later: Whether a call returns a generator or coroutine.
        has_result: Whether the result is annotated and can be judged when the call returns.
        remembered: Facts about good results, by key.
    """

    def __init__(self, function: FunctionType) -> None:
        self.function = function
        self.name = function.__qualname__
        self.number = next(_numbers)
        self.signature = inspect.signature(function)
        self.is_method = next(iter(self.signature.parameters), None) == "self"
        annotations = function.__annotations__
        self.judged = [name for name in self.signature.parameters if name in annotations]
        self.gives_later = any(kind(function) for kind in _LATER)
        self.has_result = "return" in annotations and not self.gives_later
        self.remembered: dict[Any, set[Any]] = {}
        self._count = 0
        CONTRACTS[self.number] = self

    @functools.cached_property
    def hints(self) -> dict[str, Any]:
        """The annotations, resolved at the first call, when names defined later exist."""
        return function_hints(self.function)

    @functools.cached_property
    def asked(self) -> Reader:
        """Reads what ``{...}`` asks of self; a TypeError if calls must not be remembered."""
        if binds_inside(self.function):
            return _not_to_be_remembered
        return asked_of_self(self.hints.values(), self.judged) or _not_to_be_remembered

    @functools.cached_property
    def is_remembered(self) -> bool:
        """Whether calls are remembered at all, as far as the annotations and the body tell."""
        return self.asked is not _not_to_be_remembered

    def is_plain(self, name: str) -> bool:
        """Whether the facts about an argument (or ``"return"``) are those its hint asks for."""
        parameter = self.signature.parameters.get(name)
        star = parameter is not None and parameter.kind in _STARS
        return not star and name not in names_asked(self.hints.values())

    def fact(self, name: str, value: Any) -> tuple[Any, ...]:
        """The facts about an argument; a TypeError if they cannot be told."""
        return self._readers[name](value)

    def result_fact(self, result: Any) -> tuple[Any, ...] | None:
        """The facts about a result; None if they cannot be told."""
        try:
            facts = self._readers["return"](result)
            hash(facts)
        except TypeError:
            return None
        return facts

    def is_known(self, known: Any, good: set[Any]) -> bool:
        """Whether the facts about a result are among the good ones."""
        try:
            return known in good
        except TypeError:  # sizes that are symbols
            return False

    def told(self, key: Any, known: Any) -> tuple[str, str]:
        """What went into a call and came out, in words, from the facts about them."""
        return ", ".join(filter(None, map(_tell, key[2:]))), _tell(known) or "no tensor"

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the function, judging what has not been judged before."""
        try:
            arguments = self.bind(args, kwargs)
        except TypeError:
            return self.function(*args, **kwargs)  # Python words this error best
        traced_by_fx = any(isinstance(value, Proxy) for value in arguments.values())
        if traced_by_fx or is_off(arguments.get("self")):  # what torch.fx traces has no shape
            return self.function(*args, **kwargs)
        if is_compiling() or _is_tracing():  # by a non-strict torch.export, by torch.jit.trace
            with _untraced():
                self.examine(arguments)
            result = self.function(*args, **kwargs)
            with _untraced():
                self.examine(arguments, result)
            return result
        owner, state = self.owner(arguments)
        before = () if state is None else state.facts(owner)
        key = self._key(owner, before, arguments)
        good = None if key is None else self.remembered.get(key)
        if good is None:
            return self._judged_call(key, before, arguments, args, kwargs)
        result = self.run(owner, args, kwargs)
        if state is not None:
            self.judge_state(owner, before, arguments)
        known = self.result_fact(result) if self.has_result else None
        if not self.is_known(known, good):
            self.judge_result(key, result, *args, **kwargs)
        note((self.who(owner), self, key, known))
        return result

    def run(self, owner: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Calls the function itself, and leaves on the trail that it began."""
        note((self.who(owner),))
        try:
            return self.function(*args, **kwargs)
        except BaseException:
            forget()
            raise

    def examine(self, arguments: Mapping[str, Any], result: Any = _PENDING) -> None:
        """Raises the error of a call that is traced, which the judge must not be asked about.

        Arguments that are no arrays are passed over: a compiler does not show all of them.
        """
        owner, state = self.owner(arguments)
        claims = list(self.argument_claims(arguments))
        held = [] if state is None else state.claims(owner)
        error: ContractError | None = state_error(owner, held, claims) if held else None
        if result is not _PENDING:
            claims += self.result_claims(result)
        seen = [claim for claim in claims if has_arrays(claim.hint)]
        name = self.name_of(owner)
        error = error or argument_error(name, state=held, claims=seen, arguments=arguments)
        if error is not None:
            raise error from None

    def judge_result(self, key: Any, result: Any, *args: Any, **kwargs: Any) -> None:
        """Judges a result that calls of this key have not given before."""
        arguments = self.bind(args, kwargs)
        owner, state = self.owner(arguments)
        held = [] if state is None else state.claims(owner)
        claims = [*self.argument_claims(arguments), *self.result_claims(result)]
        refused = in_scope(self.signature, args, kwargs, lambda: first_refused([*held, *claims]))
        if refused is not None:
            self.refuse(owner, held, claims, refused, arguments)
        self._remember(key, result)

    def judge_state(
        self, owner: Module, before: Facts, arguments: Mapping[str, Any] | None = None
    ) -> None:
        """Judges the state that a call leaves behind; names keep the sizes they had before."""
        state: StateContract = type(owner).__state_contract__  # type: ignore[attr-defined]  # ours
        after = state.facts(owner)
        if after == before:
            return
        held, claims = state.past_claims(before, owner), state.claims(owner)
        moved = state.moved(before, after)
        keeps = self.function.__name__ == "forward"  # others may be there to change the state
        if not keeps:
            held, moved = [], {}
        refused = in_scope(_OF_SELF, (owner,), {}, lambda: first_refused([*held, *claims]))
        if refused is None and not moved:
            return
        call = list(self.argument_claims(arguments or {}))
        error: ContractError | None = (
            drift_error(owner, held, claims, moved, call)
            if keeps
            else state_error(owner, claims, call)
        )
        if error is None and refused is not None:
            error = refusal(owner, refused, call)
        assert error is not None
        raise error from None

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call by name, defaults included."""
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments

    def owner(self, arguments: Mapping[str, Any]) -> tuple[Any, StateContract | None]:
        """Whose method was called and the contract on its state, where it has one."""
        owner = arguments["self"] if self.is_method else None
        return owner, getattr(owner.__class__, "__state_contract__", None)

    def who(self, owner: Any) -> Any:
        """Who leaves marks on the trail: the object whose method it is, or the function."""
        return reference(owner) if self.is_method else self

    def name_of(self, owner: Any) -> Module | str:
        """What an error names: the module whose method this is, or else the function."""
        return owner if isinstance(owner, Module) else self.name

    def key(self, arguments: Mapping[str, Any]) -> Any:
        """The key of a call, or None if it must not be remembered."""
        owner, state = self.owner(arguments)
        return self._key(owner, () if state is None else state.facts(owner), arguments)

    def argument_claims(self, arguments: Mapping[str, Any]) -> Iterator[Claim]:
        """What the annotations say of the arguments of a call, in their order.

        A default is the author's own affair: ``mask: Float[Tensor, "T T"] = None`` is common.
        """
        for name in self.judged:
            if name not in self.hints or name not in arguments:
                continue
            parameter, value = self.signature.parameters[name], arguments[name]
            if value is parameter.default:
                continue
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                for i, part in enumerate(value):
                    yield Claim(f"{name}[{i}]", part, self.hints[name])
            elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
                for key, part in value.items():
                    yield Claim(key, part, self.hints[name])
            else:
                yield Claim(name, value, self.hints[name])

    def result_claims(self, result: Any) -> list[Claim]:
        """What the annotation says of a result, if there is one."""
        judged = self.has_result and "return" in self.hints
        judged = judged and result is not NotImplemented  # __eq__ and its like are not asked
        return [Claim(RESULT, result, self.hints["return"])] if judged else []

    def refuse(
        self,
        owner: Any,
        held: list[Claim],
        claims: list[Claim],
        refused: Claim,
        arguments: Mapping[str, Any],
    ) -> NoReturn:
        """Raises the error of a call of which one claim was refused."""
        name = self.name_of(owner)
        error = argument_error(name, state=held, claims=claims, arguments=arguments)
        raise error or refusal(name, refused, claims) from None

    @functools.cached_property
    def _readers(self) -> dict[str, Reader]:
        asked = names_asked(self.hints.values())
        readers = {}
        for name in (*self.judged, "return"):
            hint = self.hints.get(name, Any)
            parameter = self.signature.parameters.get(name)
            if parameter is not None and parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                hint = tuple[hint, ...]  # type: ignore[valid-type]  # made at run time
            elif parameter is not None and parameter.kind is inspect.Parameter.VAR_KEYWORD:
                hint = dict[str, hint]  # type: ignore[valid-type]  # likewise
            readers[name] = fact_reader(hint, by_value=name in asked)
        return readers

    def _judged_call(
        self,
        key: Any,
        before: Any,
        arguments: Mapping[str, Any],
        args: tuple[Any, ...],
        kwargs: Any,
    ) -> Any:
        owner, state = self.owner(arguments)
        held = [] if state is None else state.claims(owner)
        claims = list(self.argument_claims(arguments))
        if held:
            wrong = in_scope(_OF_SELF, (owner,), {}, lambda: first_refused(held))
            if wrong is not None:
                raise state_error(owner, held, claims) or refusal(owner, wrong, claims) from None

        def run() -> tuple[Claim | None, Any]:
            refused = first_refused([*held, *claims])
            if refused is not None:
                return refused, None
            result = self.run(owner, args, kwargs)
            if state is not None:
                self.judge_state(owner, before, arguments)
            given = self.result_claims(result)
            claims.extend(given)
            return first_refused(given), result

        refused, result = in_scope(self.signature, args, kwargs, run)
        if refused is not None:
            self.refuse(owner, held, claims, refused, arguments)
        known = None if key is None else self._remember(key, result)
        note((self.who(owner), self, key or ((), ()), known))
        return result

    def _key(self, owner: Any, before: Any, arguments: Mapping[str, Any]) -> Any:
        """The key of a call, or None if it must not be remembered."""
        try:
            facts = [self.fact(name, arguments[name]) for name in self.judged]
            key = (before, self.asked(owner), *facts)
            hash(key)
        except TypeError:  # what cannot be told, or sizes that are symbols
            return None
        return key

    def _remember(self, key: Any, result: Any) -> Any:
        """Remembers a call and the facts about its result, which it returns."""
        known = self.result_fact(result) if self.has_result else None
        if self.has_result and known is None:
            return known
        if self._count >= REMEMBERED:
            self.remembered.clear()
            self._count = 0
        self.remembered.setdefault(key, set()).add(known)
        self._count += 1
        return known


@contextlib.contextmanager
def _untraced() -> Iterator[None]:
    """Lets torch.jit.trace look away: to it sizes are tensors, and comparing them is traced."""
    state = torch._C._get_tracing_state()
    torch._C._set_tracing_state(None)  # type: ignore[attr-defined]  # by torch
    try:
        yield
    finally:
        torch._C._set_tracing_state(state)  # type: ignore[attr-defined]  # likewise


def _tell(fact: Any) -> str:
    """The tensors in a fact, in words; empty if there are none."""
    if isinstance(fact, tuple) and len(fact) == 3 and isinstance(fact[1], torch.dtype):
        return describe_array(fact[1], fact[2])
    if isinstance(fact, tuple) and any(parts := [_tell(part) for part in fact]):
        return f"({', '.join(filter(None, parts))})"
    return ""


def _not_to_be_remembered(owner: Any) -> tuple[Any, ...]:
    raise TypeError("these calls are judged every time")
