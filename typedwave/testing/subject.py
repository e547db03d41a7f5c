"""The module under test: how it can be called, and fresh copies of it to call."""

import copy
import inspect
import itertools
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
    has_arrays,
    spell,
)
from typedwave.contract.judge import first_refused, in_scope
from typedwave.contract.state import StateContract
from typedwave.testing.calls import Call, Case, Leaf, seeded
from typedwave.testing.declared import CheckError, Declared
from typedwave.testing.drawing import Builder, can_be_drawn, choices_of, shapes_of
from typedwave.testing.sizes import divisors, named_shape, names_of

__all__ = ["Subject"]

_BATCHES: Final = ("B", "N", "batch")


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
        self.signature = inspect.signature(self.module.forward)
        self.hints = self._hints()
        self.result_hint = self.hints.pop("return", None)
        self.arguments = [*self._arguments()]
        self._refuse_unknown()

    # copies

    def fresh(self, *, training: bool = False) -> Module:
        """A copy in the state that it was given in."""
        try:
            return copy.deepcopy(self.module).train(training)
        except Exception as error:
            if self.makes:
                return self._made().train(training)
            raise CheckError(
                f"check: {self.name} cannot be copied ({error}); give a function that makes it"
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
                    f"check takes a module or a function that makes one, but got {self._source!r}"
                )
            return _Function(self._source)
        with seeded(seed):
            try:
                made = self._source()
            except TypeError as error:
                if isinstance(self._source, type):
                    raise CheckError(
                        f"check: {error}; give a function without arguments that makes it"
                    ) from None
                raise
        if not isinstance(made, Module):
            raise CheckError(f"check: {self._source!r} made no torch.nn.Module, but {made!r}")
        return made

    # annotations

    def _hints(self) -> dict[str, Any]:
        written = inspect.unwrap(self.module.forward)
        try:
            hints = function_hints(getattr(written, "__func__", written))
        except (AttributeError, TypeError):  # not written in Python
            hints = {}
        return hints | dict(self.declared.spec)

    def _arguments(self) -> Iterator[inspect.Parameter]:
        """The parameters that get a value; those that have a default and no tensors keep it."""
        missing = []
        for parameter in self.signature.parameters.values():
            hint = self.hints.get(parameter.name)
            optional = parameter.default is not parameter.empty or parameter.kind in (
                parameter.VAR_POSITIONAL,
                parameter.VAR_KEYWORD,
            )
            if parameter.name in self.declared.spec:
                if hint is None and optional:
                    continue
                if not (isinstance(hint, st.SearchStrategy) or can_be_drawn(hint, False)):
                    raise CheckError(
                        f"check: spec: nothing can be drawn for {parameter.name}: {spell(hint)}; "
                        "give an annotation with a shape, or a strategy of hypothesis"
                    )
                yield parameter
            elif can_be_drawn(hint, optional):
                yield parameter
            elif not optional:
                missing.append(f'"{parameter.name}": Float[Tensor, "B ..."]')
        if missing:
            raise CheckError(
                f"check: nothing says what {self.name} takes; annotate its forward with jaxtyping, "
                f"or declare spec={{{', '.join(missing)}}} with the shapes that it takes"
            )

    def _refuse_unknown(self) -> None:
        takes_any = any(p.kind == p.VAR_KEYWORD for p in self.signature.parameters.values())
        d = self.declared
        named = {
            "spec": [name for name in d.spec if name != "return"],
            "values": [*d.values],
            "ids": [*d.ids],
            "mask": [d.mask] if d.mask else [],
        }
        for kind, names in named.items():
            for name in names:
                if name not in self.signature.parameters and not takes_any:
                    has = ", ".join(self.signature.parameters) or "none"
                    raise CheckError(
                        f"check: {kind} names {name!r}, but the arguments of {self.name} are {has}"
                    )
        if d.mask and d.mask_keeps is None:
            raise CheckError(
                f"check: mask={d.mask!r} also needs mask_keeps: True if True in it stands for a "
                "position that counts, False if it stands for padding"
            )
        axes = {name.removeprefix("*") for name in self.names} | {*self.fixed}
        equivariant = (d.equivariant,) if isinstance(d.equivariant, str) else d.equivariant
        said = {"sizes": [*d.sizes], "equivariant": [*equivariant]}
        said["batch"] = [d.batch] if d.batch else []
        if d.receptive_field is not None or d.causal:
            said["time"] = [d.time]
        for kind, names in said.items():
            for name in names:
                if name.removeprefix("*") not in axes:
                    has = ", ".join(sorted(axes)) or "none"
                    raise CheckError(
                        f"check: {kind} speaks of an axis {name!r}, but the axes of {self.name} "
                        f"are {has}"
                    )

    def claims(self, call: Call, result: Any) -> list[Claim]:
        """What the annotations say of a call: of its arguments, and of its result last."""
        given = self.signature.bind(*call.args, **call.kwargs)
        given.apply_defaults()
        owner, found = self.owner, []
        if isinstance(owner, Module):
            found = StateContract(type(owner)).claims(owner)
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
        return in_scope(
            signature, (self.owner, *call.args), call.kwargs, lambda: first_refused(claims)
        )

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
        if not isinstance(self.owner, Module):
            return {}
        bindings = Bindings({"self": self.owner})
        for claim in StateContract(type(self.owner)).claims(self.owner):
            for array in array_hints(claim.hint):
                if isinstance(claim.value, Tensor):
                    bindings.misfits(read_axes(array.dim_str), claim.value.shape, "")
        return {
            name: found.size for name, found in bindings.names.items() if type(found.size) is int
        }

    @cached_property
    def divisors(self) -> dict[str, int]:
        """By what the size of a name has to be divisible."""
        shapes = [shape for _, shape in self.shapes]
        shapes += [array.dim_str for array in array_hints(self.result_hint)]
        try:
            return divisors(shapes, self._scope({}))
        except Exception as error:
            raise CheckError(f"check: a shape of {self.name} cannot be read: {error}") from None

    @cached_property
    def batch(self) -> str | None:
        """The name of the batch axis; None if there is none."""
        if self.declared.batch:
            starred = f"*{self.declared.batch}"
            return starred if starred in self.names else self.declared.batch
        spelled = (name for axis in _BATCHES for name in (axis, f"*{axis}"))
        return next((name for name in spelled if name in self.names), None)

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
        return Call(case, *self._placed(args, kwargs), tuple(found))

    def negative(self, case: Case) -> str | None:
        """Arithmetic in an annotation that has no size in a case, since it would be negative."""
        sizes = {**self.fixed, **case.sizes}
        hinted = [*self.shapes, *(("result", a.dim_str) for a in array_hints(self.result_hint))]
        for place, shape in hinted:
            try:
                axes = named_shape(shape, place, sizes, self._scope(case.choices))
            except Exception:  # a name that only the result has, say
                continue
            for text, size in axes:
                if size < 0:
                    return text
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
        return getattr(self.module.forward, "__self__", self.module)

    @cached_property
    def floating(self) -> torch.dtype:
        """The floating dtype of the module: that of its first parameter or buffer."""
        held = itertools.chain(self.module.parameters(), self.module.buffers())
        kinds = (tensor.dtype for tensor in held if tensor.is_floating_point())
        return next(kinds, torch.get_default_dtype())


def _name_of(source: Any, module: Module) -> str:
    name: str = getattr(source, "__qualname__", "<")
    return type(module).__name__ if "<" in name else name


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
