"""What a person says about a module that no test can know: the declarations of a check."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal

from typedwave.contract.hints import is_array

__all__ = ["CheckError", "Declared"]


class CheckError(ValueError):
    """A module cannot be checked as it was asked: something has to be said, or said otherwise."""


@dataclass(frozen=True, kw_only=True)
class Declared:
    """Declarations: how to call a module, and what is meant where a law would else complain.

    Attributes:
        spec: Annotations for arguments that have none, by name: ``{"x": Float[Tensor, "B C"]}``;
            a hypothesis strategy draws the value itself, None leaves the argument at its default.
            ``"return"`` is the result.
        sizes: The size of an axis, or the sizes it may have: ``{"C": 8, "T": (4, 8)}``.
        bounds: Bounds of the values of an argument, where not all numbers make sense:
            ``{"probability": (0, 1)}``.
        ids: One more than the largest id in an argument, or a pair of the least and that: a number,
            or arithmetic of axes, ``{"lengths": (1, "T+1")}``. What is not said is tried out; say
            it for an operation that reads beyond its table, as CTCLoss.
        batch: The name of the batch axis; one of B, N, b, n, bs, batch, batch_size if not said.
        time: The name of the axis that ``causal`` and ``receptive_field`` speak about; one of T, t,
            time, seq, seq_len, sequence, L, length if not said.
        causal: Position t depends on the positions up to t only.
        receptive_field: The number of positions that t depends on, ``5`` for t-4 to t; or a pair,
            how many before and how many after t: ``(2, 2)``.
        equivariant: Axes, or one, whose permutation permutes the result, or leaves it alone.
        mask: The argument that is a mask; its last axis says of which positions. If it holds
            integers, they are the lengths of rows on the time axis.
        mask_keeps: Whether True in a mask stands for a position that counts.
        padding: Positions that do not count come last in each row of the mask.
        couples: In training, examples of a batch influence one another by their statistics.
        stateful: A call changes the state also in eval mode, as a cache of a stream does.
        random: A call draws random numbers also in eval mode.
        inplace: A call writes to its inputs.
        surrogate: The gradient is not that of the function, as behind a rounding.
        unused: Names, or beginnings of names, of parameters that need no gradient.
        loss: The result is the ``"mean"`` or ``"sum"`` of the losses of the examples; or the mean
            over all ``"positions"`` of all examples that are not ignored, so that long examples
            weigh more.
        target: The argument of a loss that holds what was right.
        ignore: The value of a target that does not count.
        compiled: Also hold the compiled module against the eager one, which takes seconds.
    """

    spec: Mapping[str, Any] = field(default_factory=dict)
    sizes: Mapping[str, int | Sequence[int]] = field(default_factory=dict)
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    ids: Mapping[str, int | str | tuple[int, int | str]] = field(default_factory=dict)
    batch: str | None = None
    time: str | None = None
    causal: bool = False
    receptive_field: int | tuple[int, int] | None = None
    equivariant: str | tuple[str, ...] = ()
    mask: str | None = None
    mask_keeps: bool | None = None
    padding: bool = False
    couples: bool = False
    stateful: bool = False
    random: bool = False
    inplace: bool = False
    surrogate: bool = False
    unused: str | tuple[str, ...] = ()
    loss: Literal["mean", "sum", "positions"] | None = None
    target: str = "target"
    ignore: int | None = None
    compiled: bool = False

    def __post_init__(self) -> None:
        """Refuses what cannot be meant, whatever the module is."""
        for name, size in self.sizes.items():
            several = [size] if isinstance(size, int) else size
            if not _are_sizes(several):
                raise CheckError(
                    f"sizes: {name} is {size!r}; give a size, or several, of 0 or more"
                )
        for name, pair in self.bounds.items():
            if not _is_pair(pair) or pair[0] > pair[1]:
                raise CheckError(
                    f"bounds: {name} is {pair!r}; give the least and the largest number"
                )
        field: Any = self.receptive_field
        is_count = type(field) is int and field >= 1
        if field is not None and not is_count and not (_is_pair(field) and _are_sizes(field)):
            raise CheckError(
                f"receptive_field is {field!r}; give how many positions, 1 or more, or how many "
                "before and how many after: (2, 2)"
            )
        if self.loss not in (None, "mean", "sum", "positions"):
            raise CheckError(f"loss is {self.loss!r}; it is 'mean', 'sum' or 'positions'")
        if self.ignore is not None and self.loss is None:
            raise CheckError(
                "ignore speaks of a loss: say loss='mean', 'sum' or 'positions' as well"
            )

    @classmethod
    def of(cls, declarations: Mapping[str, Any]) -> "Declared":
        """From arguments by name.

        Raises:
            CheckError: One of them is no declaration, or cannot be meant.
        """
        known = {each.name for each in fields(cls)}
        for name in declarations:
            if name not in known:
                raise CheckError(
                    f"{name!r} is no declaration; there are {', '.join(sorted(known))}"
                )
        return cls(**declarations)

    @property
    def equivariant_axes(self) -> tuple[str, ...]:
        """The axes whose order does not matter."""
        return (self.equivariant,) if isinstance(self.equivariant, str) else self.equivariant

    @property
    def unused_names(self) -> tuple[str, ...]:
        """The beginnings of names of parameters that need no gradient."""
        return (self.unused,) if isinstance(self.unused, str) else tuple(self.unused)

    def spelled(self) -> str:
        """The declarations that were made, as arguments: ``causal=True, sizes={'C': 8}``."""
        parts = []
        for each in fields(self):
            value = getattr(self, each.name)
            default = {} if each.default is MISSING else each.default
            if value != default:
                parts.append(f"{each.name}={_spelled(value)}")
        return ", ".join(parts)

    @property
    def reach(self) -> tuple[int | None, int | None]:
        """How many positions before and after t it may depend on; None for any number."""
        if self.receptive_field is None:
            return None, 0 if self.causal else None
        if isinstance(self.receptive_field, int):
            return self.receptive_field - 1, 0
        return self.receptive_field


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2


def _are_sizes(sizes: Any) -> bool:
    try:
        several = [*sizes]
    except TypeError:
        return False
    flat = [n for size in several for n in (size if isinstance(size, tuple) else (size,))]
    return bool(several) and all(type(n) is int and n >= 0 for n in flat)


def _spelled(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key!r}: {_spelled(part)}' for key, part in value.items())}}}"
    if is_array(value):
        kind = getattr(value.array_type, "__name__", "Any")
        return f"{value.dtype.__name__}[{kind}, {value.dim_str!r}]"
    return repr(value)
