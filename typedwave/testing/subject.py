"""The module under test: how it can be called, and fresh copies of it to call."""

import copy
import inspect
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, Final

import torch
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import Module
from torch.nn.parameter import is_lazy

from typedwave.contract.annotations import function_hints
from typedwave.contract.axes import Bindings, read_axes
from typedwave.contract.hints import (
    RESULT,
    Claim,
    array_hints,
    describe,
    has_arrays,
    spell,
)
from typedwave.contract.judge import first_refused, in_scope
from typedwave.contract.state import StateContract
from typedwave.testing.agreement import refuse_unknown
from typedwave.testing.calls import Call, Case, Leaf, leaves, said, seeded
from typedwave.testing.declared import CheckError, Declared
from typedwave.testing.drawing import Builder, can_be_drawn, choices_of, shapes_of
from typedwave.testing.sizes import divisors, named_shape, names_of

__all__ = ["Subject"]

_BATCHES: Final = ("B", "N", "b", "n", "bs", "batch", "batch_size")
_TIMES: Final = ("T", "t", "time", "seq", "seq_len", "sequence", "L", "length")
_MOST_NUMBERS: Final = 1 << 22


class _Function(Module):
    """A function in the place of a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.forward = function


class Subject:
    """A module, the declarations about it, and how its arguments are made.

    Args:
        source: A module; something that makes one when called without arguments; or a function
            of tensors, which is checked as if it was the forward of a module.
        declared: What is said about it.
        makes: Whether the source makes a module; None to find out by what it is.

    Raises:
        CheckError: It is none of these, an argument has no annotation, or a declaration names
            what is not there.
    """

    def __init__(self, source: Any, declared: Declared, *, makes: bool | None = None) -> None:
        self.declared = declared
        is_module = isinstance(source, Module)
        self.makes = (not is_module and _is_factory(source)) if makes is None else makes
        self._source = source
        self.module = self._made()
        self.name = _name_of(source, self.module)
        self._forward = _annotated(self.module)
        try:
            self.signature = inspect.signature(self._forward)
        except ValueError:
            raise CheckError(
                f"{self.name} has no signature; write a function around it, and annotate that"
            ) from None
        self.hints = self._hints()
        self.result_hint = self.hints.pop("return", None)
        self.arguments = [*self._arguments()]
        refuse_unknown(self)

    # copies

    def fresh(self, *, training: bool = False) -> Module:
        """A copy in the state that it was given in."""
        try:
            return copy.deepcopy(self.module).train(training)
        except Exception as error:
            if self.makes:
                return self._made().train(training)
            raise CheckError(
                f"{self.name} cannot be copied ({error}); give a function that makes it"
            ) from None

    def build(self, call: Call) -> None:
        """Makes what a lazy module makes at its first call, if it is one."""
        if any(map(is_lazy, (*self.module.parameters(), *self.module.buffers()))):
            self.module = self.fresh()
            with torch.no_grad():
                self.module(*call.args, **call.kwargs)

    def another(self, seed: int) -> Module | None:
        """A second one made by the factory, with other random numbers; None without a factory."""
        return self._made(seed) if self.makes else None

    def _made(self, seed: int = 0) -> Module:
        if isinstance(self._source, Module):
            return self._source
        if not self.makes:
            if not callable(self._source):
                raise CheckError(
                    "this takes a module, a function that makes one or a function of tensors, but "
                    f"got {describe(self._source)}"
                )
            return _Function(self._source)
        with seeded(seed):
            name = getattr(self._source, "__name__", "the factory")
            try:
                made = self._source()
            except Exception as error:
                hint = "; give a function without arguments that makes one"
                hint = hint if isinstance(self._source, type) else ""
                raise CheckError(f"{name} raised {said(error)}{hint}") from error
        if not isinstance(made, Module):
            raise CheckError(f"{name} made no torch.nn.Module, but {describe(made)}")
        return made

    # annotations

    def _hints(self) -> dict[str, Any]:
        written = inspect.unwrap(self._forward)
        try:
            hints = function_hints(getattr(written, "__func__", written))
        except (AttributeError, TypeError):  # not written in Python
            hints = {}
        return hints | dict(self.declared.spec)

    def _arguments(self) -> Iterator[inspect.Parameter]:
        """The parameters that get a value; those that have a default and no tensors keep it."""
        missing = []
        for parameter in self.signature.parameters.values():
            name, hint = parameter.name, self.hints.get(parameter.name)
            optional = parameter.default is not parameter.empty or parameter.kind in (
                parameter.VAR_POSITIONAL,
                parameter.VAR_KEYWORD,
            )
            if name in self.declared.spec and hint is None and optional:
                continue
            if isinstance(hint, st.SearchStrategy) or can_be_drawn(hint, optional):
                yield parameter
            elif name in self.declared.spec or (hint is not None and not optional):
                raise CheckError(
                    f"{self.name}: {name} is annotated {spell(hint)}, of which nothing can be "
                    f'drawn; declare spec={{"{name}": ...}} with a shape, or with a strategy of '
                    "hypothesis"
                )
            elif not optional and isinstance(parameter.annotation, str):
                raise CheckError(
                    f"{self.name}: the annotation of {name}, {parameter.annotation}, cannot be "
                    "resolved where it stands"
                )
            elif not optional:
                missing.append(f'"{name}": Float[Tensor, "B ..."]')
        if missing:
            raise CheckError(
                f"nothing says what {self.name} takes; annotate its forward with jaxtyping, or "
                f"declare spec={{{', '.join(missing)}}} with the shapes that it takes"
            )

    def claims(self, call: Call, result: Any) -> list[Claim]:
        """What the annotations say of a call: of its arguments, and of its result last."""
        given = self.signature.bind(*call.args, **call.kwargs)
        given.apply_defaults()
        found = self._state_claims()
        for parameter in self.arguments:
            name, hint = parameter.name, self.hints[parameter.name]
            value: Any = given.arguments.get(name)
            if parameter.kind == parameter.VAR_POSITIONAL:
                several = [*value]
            elif parameter.kind == parameter.VAR_KEYWORD:
                several = [*value.values()]
            else:
                several = [value]
            if has_arrays(hint):
                found += [Claim(name, each, hint) for each in several]
        return [*found, Claim(RESULT, result, self.result_hint)]

    def _state_claims(self) -> list[Claim]:
        owner = self.owner
        if not isinstance(owner, Module) or isinstance(owner, torch.jit.ScriptModule):
            return []
        return StateContract(type(owner)).claims(owner)

    def first_refused(self, call: Call, result: Any) -> Claim | None:
        """The first of the claims that the judge does not accept."""
        own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        others = [
            p.replace(annotation=p.empty)  # the judge is given the hints as claims
            for p in self.signature.parameters.values()
        ]
        if others and others[0].name == "self":
            others = others[1:]
        signature = inspect.Signature([own, *others])
        claims = self.claims(call, result)
        try:
            return in_scope(
                signature, (self.owner, *call.args), call.kwargs, lambda: first_refused(claims)
            )
        except (AttributeError, NameError) as error:
            raise CheckError(f"an annotation of {self.name} cannot be read: {error}") from None

    # axes

    @cached_property
    def shapes(self) -> list[tuple[str, str]]:
        """The place and the shape of every array annotation of the arguments."""
        return [
            found
            for parameter in self.arguments
            for found in shapes_of(self.hints[parameter.name], parameter.name)
        ]

    @cached_property
    def names(self) -> list[str]:
        """The axis names of the arguments, without those whose size the state gives."""
        found = [name for place, shape in self.shapes for name in names_of(shape, place)]
        return [*dict.fromkeys(name for name in found if name not in self.fixed)]

    @cached_property
    def fixed(self) -> dict[str, int]:
        """The sizes that names have in the annotated state of the module."""
        bindings = Bindings({"self": self.owner})
        for claim in self._state_claims():
            for array in array_hints(claim.hint):
                if isinstance(claim.value, Tensor):
                    bindings.misfits(read_axes(array.dim_str), claim.value.shape, "")
        return {
            name: found.size for name, found in bindings.names.items() if type(found.size) is int
        }

    @cached_property
    def _hinted(self) -> list[str]:
        result = (array.dim_str for array in array_hints(self.result_hint))
        return [*(shape for _, shape in self.shapes), *result]

    @cached_property
    def divisors(self) -> dict[str, int]:
        """By what the size of a name has to be divisible."""
        return divisors(self._hinted, self._scope({}))

    @cached_property
    def batch(self) -> str | None:
        """The name of the batch axis; None if there is none."""
        if self.declared.batch:
            starred = f"*{self.declared.batch}"
            return starred if starred in self.names else self.declared.batch
        spelled = (name for axis in _BATCHES for name in (axis, f"*{axis}"))
        return next((name for name in spelled if name in self.names), None)

    @cached_property
    def time(self) -> str | None:
        """The name of the axis of positions; None if there is none."""
        return self.declared.time or next((t for t in _TIMES if t in self.names), None)

    @cached_property
    def star(self) -> str | None:
        """The name that stands for any number of leading axes."""
        stars = [name for name in self.names if name.startswith("*")]
        leading = all(
            next(iter(names_of(shape, place)), None) == stars[0]
            for place, shape in self.shapes
            if stars and stars[0] in names_of(shape, place)
        )
        return stars[0] if len(stars) == 1 and leading else None

    # arguments

    @cached_property
    def choices(self) -> dict[str, st.SearchStrategy[Any]]:
        """What an annotation leaves open besides sizes and numbers, by place."""
        found: dict[str, st.SearchStrategy[Any]] = {}
        for parameter in self.arguments:
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                found[f"{parameter.name}[]"] = st.sampled_from([2, 1, 0])
            found.update(choices_of(self.hints[parameter.name], parameter.name))
        return found

    def call(self, case: Case) -> Call:
        """The call of a case; equal cases make equal calls.

        Raises:
            LookupError: The case lacks the size of a name.
        """
        found: list[Leaf] = []
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        scope = self._scope(case.choices)
        for parameter in self.arguments:
            name, hint = parameter.name, self.hints[parameter.name]
            count = case.choices.get(f"{name}[]", 2)

            def draw(place: str, hint: Any = hint, name: str = name, scope: Any = scope) -> Any:
                builder = Builder(self, case, name, scope, found)
                return builder.value(hint, place)

            if parameter.kind == parameter.VAR_POSITIONAL:
                args += [draw(f"{name}[{i}]") for i in range(count)]
            elif parameter.kind == parameter.VAR_KEYWORD:
                kwargs |= {f"{name}_{i}": draw(f"{name}[{i}]") for i in range(count)}
            elif parameter.kind == parameter.POSITIONAL_ONLY:
                args.append(draw(name))
            else:
                kwargs[name] = draw(name)
        held = {leaf.argument for leaf in found}
        plain = {name: value for name, value in kwargs.items() if name not in held}
        plain = {name: value for name, value in plain.items() if not any(leaves(value))}
        return Call(case, *self._placed(args, kwargs), tuple(found), plain)

    def impossible(self, case: Case) -> str | None:
        """Why no call can be made of a case: a size would be negative, or the tensors too large."""
        sizes = {**self.fixed, **case.sizes}
        scope = self._scope(case.choices)
        for name, by in divisors(self._hinted, scope).items():
            size = sizes.get(name, 0)
            if not isinstance(size, tuple) and size % by:
                return f"{name} = {size} is not divisible by {by}"
        hinted = [*self.shapes, *(("result", a.dim_str) for a in array_hints(self.result_hint))]
        for place, shape in hinted:
            try:
                axes = named_shape(shape, place, sizes, scope)
            except Exception:  # a name that only the result has, say
                continue
            for text, size in axes:
                if size < 0:
                    return f"{text} would be negative"
            if math.prod(size for _, size in axes) > _MOST_NUMBERS:
                return f"{place} would have more than {_MOST_NUMBERS:,} numbers"
        return None

    def _placed(
        self, args: list[Any], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional what can be, as people call modules, up to the first that is left out."""
        placed: list[Any] = []
        for parameter in self.signature.parameters.values():
            if parameter.kind == parameter.POSITIONAL_ONLY and args:
                placed.append(args.pop(0))
            elif parameter.kind == parameter.POSITIONAL_OR_KEYWORD and parameter.name in kwargs:
                placed.append(kwargs.pop(parameter.name))
            else:
                break
        return (*placed, *args), kwargs

    def _scope(self, choices: Mapping[str, Any]) -> dict[str, Any]:
        defaults = {
            p.name: p.default
            for p in self.signature.parameters.values()
            if p.default is not p.empty
        }
        return {"self": self.owner, **defaults, **choices}

    @cached_property
    def owner(self) -> Any:
        """What ``self`` is in a shape."""
        return getattr(self._forward, "__self__", self.module)

    @cached_property
    def floating(self) -> torch.dtype:
        """The floating dtype of the module: that of its first parameter or buffer."""
        held = itertools.chain(self.module.parameters(), self.module.buffers())
        kinds = (tensor.dtype for tensor in held if tensor.is_floating_point())
        return next(kinds, torch.get_default_dtype())


def _name_of(source: Any, module: Module) -> str:
    name: str = getattr(source, "__name__", "<")
    if "<" not in name:
        return name
    return "a lambda" if isinstance(module, _Function) else type(module).__name__


def _annotated(module: Module) -> Callable[..., Any]:
    """The forward with the annotations: that inside of what torch.compile or DataParallel made."""
    inner = getattr(module, "_orig_mod", None) or getattr(module, "module", None)
    if isinstance(inner, Module):
        kinds = [p.kind for p in inspect.signature(module.forward).parameters.values()]
        if all(
            kind in (inspect._ParameterKind.VAR_POSITIONAL, inspect._ParameterKind.VAR_KEYWORD)
            for kind in kinds
        ):
            return _annotated(inner)
    return module.forward


def _is_factory(source: Any) -> bool:
    if isinstance(source, type):
        return issubclass(source, Module)
    try:
        parameters = inspect.signature(source).parameters.values()
    except (TypeError, ValueError):
        return False
    return not any(
        p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters
    )
