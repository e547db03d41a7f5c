"""One trial of a law: runs a module on a case, compares results and finds where they part."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import torch
from hypothesis import reject
from torch import Tensor
from torch.nn import Module

from typedwave.testing.calls import Call, Case, leaves, said, seeded
from typedwave.testing.finding import Finding, Violation
from typedwave.testing.room import Room

__all__ = ["Difference", "Step", "Trial", "difference", "path_of"]

ROUNDING = 1e-4
"""Of the largest number: what another order of the same sums may change in float32."""


@dataclass(frozen=True)
class Difference:
    """The place where two tensors differ most."""

    place: str
    index: tuple[int, ...]
    text: str

    def __str__(self) -> str:
        """``result[0, 2]: 1.5 became 1.25``."""
        at = f"[{', '.join(map(str, self.index))}]" if self.index else ""
        return f"{self.place}{at} {self.text}"


@dataclass(frozen=True)
class Step:
    """One call of a submodule during a run."""

    path: str
    kind: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass
class Trial:
    """What a law gets to work with: the module, one case, and the call that was made from it."""

    law: str
    sentence: str
    room: Room
    case: Case
    meant: str = ""
    passed: list[str] = field(default_factory=list)
    call: Call = field(init=False)

    def __post_init__(self) -> None:
        self.subject = self.room.subject
        self.declared = self.subject.declared
        self.call = self.subject.call(self.case)

    def fresh(self, *, training: bool = False) -> Module:
        """A copy of the module."""
        return self.subject.fresh(training=training)

    def run(self, module: Module, call: Call | None = None, *, seed: int | None = None) -> Any:
        """The result of a call on copies of its tensors; what is refused is no example of a law.

        Equal seeds make equal random numbers.
        """
        try:
            return self.attempt(module, call, seed=seed)
        except (Violation, KeyboardInterrupt):
            raise
        except Exception as error:
            self.pass_over(said(error))

    def pass_over(self, why: str) -> NoReturn:
        """Leaves this case: it is no example of the law."""
        self.passed.append(why)
        reject()

    def attempt(
        self,
        module: Module,
        call: Call | None = None,
        *,
        seed: int | None = None,
        inside: bool = False,
    ) -> Any:
        """The same, but an exception comes out.

        Args:
            module: What is called.
            call: With what, if not with the call of this trial.
            seed: Of the random numbers, if not that of the case.
            inside: With arguments that have a gradient, as those of a layer inside of a network.
        """
        made = (call or self.call).copy()
        if inside:
            made = made.map(lambda leaf: _inner(leaf.tensor))
        with seeded(self.case.seed if seed is None else seed):
            return module(*made.args, **made.kwargs)

    def results(
        self, module: Module, call: Call | None = None, *, seed: int | None = None
    ) -> list[tuple[str, Tensor]]:
        """The tensors in the result, without a graph."""
        with torch.no_grad():
            result = self.run(module, call, seed=seed)
        found = [(place, tensor.detach()) for place, tensor in leaves(result)]
        return found or self.pass_over("its result holds no tensors")

    def recorded(self, module: Module, call: Call, *, seed: int | None = None) -> list[Step]:
        """The calls of all submodules during a run, in the order in which they ended."""
        with recording(module) as steps, torch.no_grad():
            self.run(module, call, seed=seed)
        return steps

    def is_random(self) -> bool:
        """Whether eval mode draws random numbers; purity says so, and other laws need not."""
        first, second = (self.results(self.fresh(), seed=seed) for seed in (1, 2))
        return difference(first, second) is not None

    def violation(
        self, differed: object, *, where: str = "", call: str = "", meant: str | None = None
    ) -> Violation:
        """The law is broken by this trial."""
        return Violation(
            Finding(
                law=self.law,
                sentence=self.sentence,
                subject=self.subject.name,
                case=self.case,
                call=call or str(self.call),
                differed=str(differed),
                declared=self.declared.spelled(),
                where=where,
                meant=self.meant if meant is None else meant,
            )
        )

    def parted(
        self,
        module: Callable[[], Module],
        one: Call,
        other: Call,
        contained: Callable[[Tensor, Tensor], bool],
        *,
        seeds: tuple[int | None, int | None] = (None, None),
    ) -> str:
        """Where two runs part: the first submodule whose inputs agree and outputs do not.

        Args:
            module: Makes the module for each run.
            one: The first call.
            other: The second.
            contained: Whether two tensors agree as far as the law asks for it.
            seeds: Of the random numbers of each.
        """
        first = self.recorded(module(), one, seed=seeds[0])
        second = self.recorded(module(), other, seed=seeds[1])
        for a, b in zip(first, second, strict=False):
            if a.path != b.path:
                return ""
            ins = all(map(contained, a.inputs, b.inputs))
            outs = all(map(contained, a.outputs, b.outputs))
            if ins and not outs:
                return f"{a.path} ({a.kind})" if a.path else ""
        return ""


def _inner(tensor: Tensor) -> Tensor:
    return tensor.requires_grad_().clone() if tensor.is_floating_point() else tensor


@contextmanager
def recording(module: Module) -> Iterator[list[Step]]:
    """Records the calls of all submodules."""
    steps: list[Step] = []
    handles = []
    waiting: dict[int, list[tuple[Tensor, ...]]] = {}
    for path, part in module.named_modules():

        def before(own: Module, args: Any, kwargs: Any) -> None:
            found = (*leaves(args), *leaves(kwargs))
            held = tuple(tensor.detach().clone() for _, tensor in found)
            waiting.setdefault(id(own), []).append(held)

        def after(own: Module, args: Any, kwargs: Any, result: Any, path: str = path) -> None:
            outputs = tuple(tensor.detach().clone() for _, tensor in leaves(result))
            steps.append(Step(path, type(own).__name__, waiting[id(own)].pop(), outputs))

        handles.append(part.register_forward_pre_hook(before, with_kwargs=True))
        handles.append(part.register_forward_hook(after, with_kwargs=True))
    try:
        yield steps
    finally:
        for handle in handles:
            handle.remove()


def path_of(module: Module, part: Module) -> str:
    """A submodule by its path and type."""
    path = next((path for path, other in module.named_modules() if other is part), "")
    return f"{path} ({type(part).__name__})" if path else type(part).__name__


def difference(
    one: Sequence[tuple[str, Tensor]],
    other: Sequence[tuple[str, Tensor]],
    *,
    rounding: float = ROUNDING,
    floor: float = 0.0,
) -> Difference | None:
    """Where two results differ by more than rounding; NaN agrees with NaN.

    Args:
        one: The tensors of the first result.
        other: Those of the second.
        rounding: Of the largest number in the tensors; 0 asks for the same bits.
        floor: What the largest number counts as at least: a result may be nothing but rounding.
    """
    if len(one) != len(other):
        return Difference("result", (), f"held {len(one)} tensors, then {len(other)}")
    for (place, a), (_, b) in zip(one, other, strict=True):
        if (found := _differ(place, a, b, rounding, floor)) is not None:
            return found
    return None


def _differ(place: str, a: Tensor, b: Tensor, rounding: float, floor: float) -> Difference | None:
    if a.shape != b.shape:
        return Difference(place, (), f"of shape {[*a.shape]} became {[*b.shape]}")
    if a.dtype != b.dtype:
        return Difference(place, (), f"of {a.dtype} became {b.dtype}")
    if a.numel() == 0 or a.device.type == "meta":
        return None
    a, b = a.detach(), b.detach()
    if a.is_complex():
        a, b = torch.view_as_real(a), torch.view_as_real(b)
    same = a == b
    if a.is_floating_point():
        same |= a.isnan() & b.isnan()
        a, b = a.double(), b.double()
        sizes = torch.cat([a.abs().flatten(), b.abs().flatten()])
        scale = sizes[sizes.isfinite()].max().item() if sizes.isfinite().any() else 0.0
        gap = (a - b).abs()
        same |= gap <= rounding * max(scale, floor)
        gap = torch.where(same, 0.0, gap.nan_to_num(nan=torch.inf))
    else:
        gap = (~same).double()
    if same.all():
        return None
    flat = int(gap.flatten().argmax())
    index = tuple(int(i) for i in torch.unravel_index(torch.tensor(flat), a.shape))
    was, became = a[index].item(), b[index].item()
    return Difference(place, index, f"was {was:.6g} and became {became:.6g}")
