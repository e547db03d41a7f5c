"""The errors of typedwave and how they are worded.

An error says where in the model, what was expected with names and numbers, what came instead,
which name got its size from where and, when it is likely right, the fix as code. It never prints
the values of a tensor, and it carries its facts as attributes for programs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = [
    "AnnotationError",
    "BroadcastError",
    "ContractError",
    "IdOutOfRangeError",
    "Mismatch",
    "Origin",
    "ShapeError",
    "StateError",
    "Step",
]


SHOWN: Final = 12
"""Steps of a flow that are printed; the earlier ones are counted."""


@dataclass(frozen=True)
class Mismatch:
    """One thing that does not keep its contract.

    Attributes:
        subject: The argument, attribute or ``"the result"``.
        problem: What is wrong, as the predicate of a sentence: ``"has the wrong shape"``.
        facts: Rows of label, text and remark, such as
            ``("got", "f32[32, 8, 21]", "axis -1 is 21")``.
    """

    subject: str
    problem: str
    facts: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Origin:
    """Where an axis name got its size: ``in_features = 20 comes from layers.2.weight f32[27, 20]``.

    Attributes:
        name: The axis name; a name for several axes keeps its star.
        size: The size as text.
        source: The tensor that gave it.
    """

    name: str
    size: str
    source: str


@dataclass(frozen=True)
class Step:
    """One call on the way to an error.

    Attributes:
        path: Of the module in the outermost one; ``""`` for a function.
        type: The name of its class, or of the function.
        inputs: The annotated arguments: ``"f32[32, 8, 21]"``.
        outcome: The result, or what became of the call: ``"refused"``.
    """

    path: str
    type: str
    inputs: str
    outcome: str


class ContractError(TypeError):
    """Something does not keep its annotated contract.

    Attributes:
        where: Path and type of the module, or the function: ``"layers.2 (Linear)"``.
        mismatches: Everything that is wrong with this call.
        origins: Where the names involved got their sizes.
        flow: The checked calls within the outermost one until here, this one last.
        suggestion: A fix as code, or None.
    """

    def __init__(
        self,
        where: str,
        mismatches: Sequence[Mismatch],
        *,
        origins: Sequence[Origin] = (),
        flow: Sequence[Step] = (),
        suggestion: str | None = None,
    ) -> None:
        self.where = where
        self.mismatches = tuple(mismatches)
        self.origins = tuple(origins)
        self.flow = tuple(flow)
        self.suggestion = suggestion
        super().__init__("\n".join(self._lines()))

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by facts, so that an error survives the way back from a worker process."""
        facts = {"origins": self.origins, "flow": self.flow, "suggestion": self.suggestion}
        return _rebuild, (type(self), self.where, self.mismatches, facts)

    def _lines(self) -> Iterator[str]:
        problems = "; ".join(f"{m.subject} {m.problem}" for m in self.mismatches)
        yield f"{self.where}: {problems}"
        several = len(self.mismatches) > 1
        for mismatch in self.mismatches:
            if several:
                yield f"  {mismatch.subject}"
            yield from _table(mismatch.facts, indent="    " if several else "  ")
        for origin in self.origins:
            yield f"  {origin.name} = {origin.size} comes from {origin.source}"
        if self.flow:
            yield "  shapes until here"
            yield from _flow(self.flow)
        if self.suggestion is not None:
            yield f"  perhaps   {self.suggestion}"


class ShapeError(ContractError):
    """An argument or a result is not what its annotation says."""


class StateError(ContractError):
    """A parameter or buffer is not, or is no longer, what its annotation says."""


class AnnotationError(TypeError):
    """An annotation cannot be read."""


class IdOutOfRangeError(ValueError, IndexError):
    """An id is not a row of the table; IndexError too, since that is what torch raises."""


def _table(rows: Sequence[tuple[str, str, str]], *, indent: str) -> Iterator[str]:
    width = max((len(text) for _, text, remark in rows if remark), default=0)
    for label, text, remark in rows:
        yield f"{indent}{label:<8}  {text:<{width}}   {remark}".rstrip()


def _flow(steps: Sequence[Step]) -> Iterator[str]:
    left_out = len(steps) - SHOWN
    if left_out > 0:
        yield f"    ({left_out} calls before)"
        steps = steps[-SHOWN:]
    rows = [(step.path, step.type, step.inputs) for step in steps]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row, step in zip(rows, steps, strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True) if width]
        yield f"    {'  '.join(cells)}  -> {step.outcome}"


def _rebuild(
    kind: type[ContractError],
    where: str,
    mismatches: tuple[Mismatch, ...],
    facts: dict[str, object],
) -> ContractError:
    return kind(where, mismatches, **facts)  # type: ignore[arg-type]  # as __reduce__ packed them


class BroadcastError(RuntimeError):
    """Two tensors broadcast against each other within `typedwave.no_broadcast`.

    Not a `ShapeError`, which is a TypeError: the operators of Python take a TypeError for an
    operand that they cannot use, and their own words take the place of ours.

    Attributes:
        where: The file and line.
        operation: The name of the operation.
        shapes: Those of its tensors.
        together: That of the result.
    """

    def __init__(
        self,
        where: str,
        operation: str,
        shapes: Sequence[tuple[int, ...]],
        together: tuple[int, ...],
    ) -> None:
        self.where = where
        self.operation = operation
        self.shapes = tuple(shapes)
        self.together = together
        got = " and ".join(str([*shape]) for shape in shapes)
        is_mutual = together not in self.shapes
        what = "against each other" if is_mutual else "one to the shape of the other"
        remark = ", a shape that none of them has" if is_mutual else ""
        super().__init__(
            f"{where}: {operation} broadcasts its arguments {what}: {got} give "
            f"{[*together]}{remark}; reshape them first"
        )

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by facts, so that an error survives the way back from a worker process."""
        return type(self), (self.where, self.operation, self.shapes, self.together)
