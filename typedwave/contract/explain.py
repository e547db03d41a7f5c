"""From refused claims to an error: every mismatch, the names involved and where they come from."""

import ast
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, get_args, get_origin

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.nn import Module
from torch.nn.utils.parametrize import is_parametrized

from typedwave.contract.axes import Axis, Bindings, read_axes
from typedwave.contract.hints import (
    GIVEN,
    Claim,
    alternatives,
    bears,
    describe,
    elements,
    fields,
    has_arrays,
    is_array,
    sizes,
    spell,
)
from typedwave.contract.location import path_of, where
from typedwave.contract.trail import steps
from typedwave.errors import ContractError, Mismatch, Origin, ShapeError, StateError

__all__ = ["argument_error", "drift_error", "refusal", "state_error"]

E = TypeVar("E", bound=ContractError)


class _Findings:
    """What does not fit, gathered claim by claim in one scope of axis names."""

    def __init__(self, arguments: Mapping[str, Any], labels: tuple[str, str]) -> None:
        self.bindings = Bindings(arguments)
        self.labels = labels
        self.mismatches: list[Mismatch] = []
        self.origins: dict[str, Origin] = {}
        self.suggestions: list[str] = []
        self.assumed: frozenset[str] = frozenset()
        self.sizes: dict[str, int] = {}

    def assume(self, claims: Iterable[Claim], prefix: str = "") -> None:
        """Takes claims that are known to hold, for the names that they bind."""
        for claim in claims:
            self._hold(claim, f"{prefix}{claim.subject} {describe(claim.value)}")
        self.assumed = frozenset(self.bindings.names)

    def examine(self, claims: Iterable[Claim]) -> None:
        """Notes the mismatch of every claim that does not hold."""
        for claim in claims:
            for part in elements(claim):
                mismatch = self._hold(part, f"{part.subject} {describe(part.value)}")
                if mismatch is not None:
                    self.mismatches.append(mismatch)
                inside = _Findings({}, self.labels)  # the names of a record are its own
                inside.examine(fields(part))
                self.mismatches += inside.mismatches
                self.origins |= inside.origins
                self.suggestions += inside.suggestions

    def error(
        self,
        kind: type[E],
        owner: Module | str,
        *,
        inputs: str,
        outcome: str = "refused",
        suggestions: Sequence[str] = (),
    ) -> E | None:
        """The error that says all of it, or None if there is nothing to say."""
        if not self.mismatches:
            return None
        return kind(
            where(owner) if isinstance(owner, Module) else owner,
            self.mismatches,
            origins=list(self.origins.values()),
            flow=steps(owner, inputs, outcome),
            suggestion=next(iter(suggestions), None),
        )

    def _hold(self, claim: Claim, source: str) -> Mismatch | None:
        members = alternatives(claim.hint)
        trials = []
        for array in filter(is_array, members):
            trial = self.bindings.copy()
            problem, misfits = _hold_array(array, claim.value, trial, source)
            if problem == 0:
                self.bindings = trial
                return None
            trials.append((problem, misfits, trial, array))
        problem, *nearest = min(trials, key=lambda t: t[0], default=(3,))
        if problem == 1:
            return self._wrong_shape(claim, *nearest)
        if problem == 2:
            return self._wrong_dtype(claim)
        return None if _bearable_apart(claim, members) else self.not_an_instance(claim)

    def not_an_instance(self, claim: Claim) -> Mismatch:
        """The mismatch of a value that is of another type altogether."""
        expected, got = self.labels
        arrays = [member for member in alternatives(claim.hint) if is_array(member)]
        kinds = {"Tensor": "a tensor"}
        names = dict.fromkeys(getattr(array.array_type, "__name__", "array") for array in arrays)
        what = " or ".join(kinds.get(name, f"a {name}") for name in names) or spell(claim.hint)
        rows = ((expected, spell(claim.hint), ""), (got, describe(claim.value), ""))
        return Mismatch(claim.subject, f"is not {what}", rows)

    def _wrong_dtype(self, claim: Claim) -> Mismatch:
        expected, got = self.labels
        value = claim.value
        may_cast = isinstance(value, Tensor) and not value.is_complex()
        if may_cast and not claim.subject.startswith(GIVEN):
            self.suggestions += _casts(claim)
        remark = f"its dtype is {str(value.dtype).removeprefix('torch.')}"
        rows = ((expected, spell(claim.hint), ""), (got, describe(value), remark))
        return Mismatch(claim.subject, "has the wrong dtype", rows)

    def _wrong_shape(
        self,
        claim: Claim,
        misfits: Sequence[tuple[int | None, Axis | None]],
        trial: Bindings,
        array: Any,
    ) -> Mismatch:
        expected, got = self.labels
        axes, shape = read_axes(array.dim_str), sizes(claim.value)
        needs, remarks = [], []
        for position, axis in misfits:
            if axis is None:
                remarks.append(f"it has {len(shape)} {'axis' if len(shape) == 1 else 'axes'}")
            elif position is None:
                star = axes.index(axis)
                rest = shape[star : len(shape) - (len(axes) - star - 1)]
                remarks.append(f"*{axis.name} is {_text(rest)}")
            else:
                remarks.append(f"axis {position} is {shape[position]}")
                if axis.name is not None and not claim.subject.startswith(GIVEN):
                    self.sizes[axis.name] = shape[position]
            # Of a wrong number of axes, all are named whose size is known.
            for named in axes if axis is None else [axis]:
                needs += self._need(named, trial)
        rows = (
            (expected, spell(claim.hint), ", ".join(needs)),
            (got, describe(claim.value), ", ".join(remarks)),
        )
        return Mismatch(claim.subject, "has the wrong shape", rows)

    def _need(self, axis: Axis, trial: Bindings) -> list[str]:
        """What an axis has to be, if that is known, and where its names come from."""
        for name in _names(axis):
            if name in trial.names:
                binding = trial.names[name]
                self.origins[name] = Origin(name, _text(binding.size), binding.source)
        if axis.expression is not None:
            text, size = trial.evaluate(axis)
            return [] if size is None else [f"{axis.text if text == str(size) else text} = {size}"]
        return [
            f"{name} = {_text(trial.names[name].size)}"
            for name in _names(axis)
            if name in trial.names
        ]


def argument_error(
    owner: Module | str,
    *,
    state: Sequence[Claim],
    claims: Sequence[Claim],
    arguments: Mapping[str, Any],
) -> ShapeError | None:
    """The error for a call whose arguments or result do not fit; None if all of them do.

    Args:
        owner: The module that was called, or the name of the function.
        state: What is known to hold of the module's state, for the names it binds.
        claims: What the annotations say of the call.
        arguments: The arguments of the call by name, for ``{...}`` in annotations.
    """
    findings = _Findings(arguments, ("expected", "got"))
    findings.assume(state, _prefix(owner))
    findings.examine(claims)
    suggestions = findings.suggestions
    if isinstance(owner, Module):
        suggestions = suggestions + _rebuilt(owner, findings)
    return findings.error(
        ShapeError,
        owner,
        inputs=_inputs(claims),
        outcome=_outcome(claims),
        suggestions=suggestions,
    )


def state_error(
    owner: Module, claims: Sequence[Claim], call: Sequence[Claim] = ()
) -> StateError | None:
    """The error for state that does not keep its annotations when it is used.

    Args:
        owner: The module whose state it is.
        claims: What the annotations say of the state.
        call: What they say of the call that uses it, if there is one.
    """
    findings = _Findings({"self": owner}, ("declared", "got"))
    findings.examine(claims)
    return findings.error(StateError, owner, inputs=_inputs(call))


def drift_error(
    owner: Module,
    before: Sequence[Claim],
    after: Sequence[Claim],
    moved: Mapping[str, tuple[str, str]],
    call: Sequence[Claim] = (),
) -> StateError | None:
    """The error for state that a forward has turned into something else.

    Args:
        owner: The module that was called.
        before: What held of the state before the call.
        after: What has to hold of the state now.
        moved: The attributes that are on another device: from which and to which.
        call: What the annotations say of the call.
    """
    findings = _Findings({"self": owner}, ("declared", "became"))
    findings.assume(before, _prefix(owner))
    findings.examine(after)
    was = {claim.subject: describe(claim.value) for claim in before}
    findings.mismatches = [
        _with_past(mismatch, was.get(mismatch.subject, "absent"))
        for mismatch in findings.mismatches
    ]
    for name, (source, target) in moved.items():
        rows = (("was", was[name], f"on {source}"), ("became", was[name], f"on {target}"))
        findings.mismatches.append(Mismatch(name, "is on another device after forward", rows))
    return findings.error(StateError, owner, inputs=_inputs(call), outcome="its state changed")


def refusal(owner: Module | str, refused: Claim, call: Sequence[Claim] = ()) -> ShapeError:
    """The error for what the judge refused for a reason that is not seen here."""
    findings = _Findings({}, ("expected", "got"))
    findings.mismatches.append(findings.not_an_instance(refused))
    error = findings.error(ShapeError, owner, inputs=_inputs(call), outcome=_outcome(call))
    assert error is not None
    return error


def _hold_array(
    hint: Any, value: Any, bindings: Bindings, source: str
) -> tuple[int, list[tuple[int | None, Axis | None]]]:
    """How far a value is from a hint: 0 it holds, 1 shape, 2 dtype, 3 class."""
    if not isinstance(value, hint.dtype[hint.array_type, "..."]):
        wrong_dtype = isinstance(value, Shaped[hint.array_type, "..."])  # type: ignore[arg-type]
        return (2 if wrong_dtype else 3), []
    misfits = bindings.misfits(read_axes(hint.dim_str), sizes(value), source)
    return int(bool(misfits)), misfits


def _bearable_apart(claim: Claim, members: Sequence[Any]) -> bool:
    """Whether a value that is no array is an instance, the shapes inside a container aside."""
    if not has_arrays(claim.hint):
        return bears(claim.hint, claim.value)
    for member in members:
        if is_array(member):
            continue
        if not has_arrays(member):
            if bears(member, claim.value):
                return True
            continue
        origin, inner = get_origin(member) or member, get_args(member)
        if isinstance(origin, type) and not isinstance(claim.value, origin):
            continue
        if (
            origin is tuple
            and inner
            and inner[-1] is not Ellipsis
            and len(inner) != len(claim.value)
        ):
            continue
        return True
    return False


def _inputs(claims: Iterable[Claim]) -> str:
    """The tensors that went into a call."""
    tensors = [c.value for c in claims if isinstance(c.value, Tensor) and c.subject not in GIVEN]
    return ", ".join(map(describe, tensors))


def _outcome(claims: Iterable[Claim]) -> str:
    results = [describe(claim.value) for claim in claims if claim.subject in GIVEN]
    return ", ".join([*results, "refused"])


def _casts(claim: Claim) -> list[str]:
    """``x.float()`` or ``x.long()``, where that is a dtype the hint takes."""
    wanted = [array.dtype[Tensor, "..."] for array in filter(is_array, alternatives(claim.hint))]
    return [
        f"{claim.subject}.{cast}()"
        for cast, dtype in (("float", torch.float32), ("long", torch.int64))
        if any(isinstance(torch.empty((), dtype=dtype, device="meta"), kind) for kind in wanted)
    ]


def _rebuilt(owner: Module, findings: _Findings) -> list[str]:
    """``Linear(in_features=21)`` where state gave the size and the constructor has the name."""
    cls = type(owner).__mro__[1] if is_parametrized(owner) else type(owner)
    parameters = inspect.signature(cls).parameters
    return [
        f"{cls.__name__}({name}={size})"
        for name, size in findings.sizes.items()
        if name in parameters and name in findings.assumed
    ]


def _with_past(mismatch: Mismatch, was: str) -> Mismatch:
    declared, *others = mismatch.facts
    rows = (declared, ("was", was, ""), *others)
    return Mismatch(mismatch.subject, f"{mismatch.problem} after forward", rows)


def _prefix(owner: Module | str) -> str:
    path = path_of(owner) if isinstance(owner, Module) else ""
    return f"{path}." if path else ""


def _names(axis: Axis) -> list[str]:
    """The axis names that the size of an axis depends on."""
    if axis.name is not None:
        return [f"*{axis.name}" if axis.variadic else axis.name]
    tree = ast.parse((axis.expression or "0").replace("{", "(").replace("}", ")"), mode="eval")
    return [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]


def _text(size: int | tuple[int, ...]) -> str:
    return str(size) if isinstance(size, int) else f"[{', '.join(map(str, size))}]"
