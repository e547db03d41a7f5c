"""Every way in which `check` refuses what it is asked, word by word."""

from typing import Any

import pytest
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from typedwave.testing import LAWS, Case, CheckError, arguments, axis_sizes, check, tensors


class Scales(nn.Module):
    """Holds a parameter, and a mean over the batch that is no law's business here."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x: Float[Tensor, "*B 4"]) -> Float[Tensor, "*B 4"]:
        return self.scale * x


class Refuses(nn.Module):
    def forward(self, x: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        raise ValueError("never\nand no other day")


class NeedsAnArgument(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()

    def forward(self, x: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        return x


class CannotBeCopied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.numbers = (i for i in range(3))

    def forward(self, x: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        return x


class Unannotated(nn.Module):
    def forward(self, x, mask, *, k=3):
        return x


class Misspelled(nn.Module):
    def forward(self, x: "Flout[Tensor, 'B T']") -> Tensor:
        return x


class TakesText(nn.Module):
    def forward(self, x: str, y: Float[Tensor, "B"]) -> Tensor:
        return y


class Looks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(7, 3)

    def forward(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T 3"]:
        return self.table(ids)


class Lengths(nn.Module):
    def forward(self, x: Float[Tensor, "B S C"], lengths: Int[Tensor, "B"]) -> Float[Tensor, "B C"]:
        return x.sum(1) / lengths[:, None]


def no_module() -> int:
    return 3


WHAT_IT_NEEDS = (
    "Declare what it needs: sizes={'C': 8}, bounds={'x': (0, 1)} for its numbers, ids={'x': 10}"
)
SIZES = "give a size, or several, of 0 or more"
PAIR = "give the least and the largest number"
FIELD = "give how many positions, 1 or more, or how many before and how many after: (2, 2)"

REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    # what is checked
    (
        3,
        {},
        "this takes a module, a function that makes one or a function of tensors, but got int 3",
    ),
    (no_module, {}, "no_module made no torch.nn.Module, but int 3"),
    (
        NeedsAnArgument,
        {},
        "NeedsAnArgument raised TypeError: NeedsAnArgument.__init__() missing 1 required "
        "positional argument: 'size'; give a function without arguments that makes one",
    ),
    (
        CannotBeCopied(),
        {},
        "CannotBeCopied cannot be copied (cannot pickle 'generator' object); give a function that "
        "makes it",
    ),
    (torch.add, {}, "add has no signature; write a function around it, and annotate that"),
    # how it is called
    (
        Unannotated,
        {},
        "nothing says what Unannotated takes; annotate its forward with jaxtyping, or declare "
        'spec={"x": Float[Tensor, "B ..."], "mask": Float[Tensor, "B ..."]} with the shapes that '
        "it takes",
    ),
    (
        Misspelled,
        {},
        "Misspelled: the annotation of x, Flout[Tensor, 'B T'], cannot be resolved where it stands",
    ),
    (
        TakesText,
        {},
        "TakesText: x is annotated str, of which nothing can be drawn; declare "
        'spec={"x": ...} with a shape, or with a strategy of hypothesis',
    ),
    (
        Refuses,
        {},
        "Refuses takes no call that was tried; the first one was x f32[B=2, T=3]: ValueError: "
        f"never. {WHAT_IT_NEEDS}",
    ),
    (
        Looks,
        {"spec": {"ids": int}},
        "Looks takes no call that was tried; the first one was ids int 1: TypeError: embedding(): "
        "argument 'indices' (position 2) must be Tensor, not int. "
        f"{WHAT_IT_NEEDS}",
    ),
    (
        Scales,
        {"spec": {"x": Float[Tensor, "B 5"]}},
        "Scales takes no call that was tried; the first one was x f32[B=2, 5]: RuntimeError: The "
        "size of tensor a (4) must match the size of tensor b (5) at non-singleton dimension 1. "
        f"{WHAT_IT_NEEDS}",
    ),
    (
        Scales,
        {"spec": {"x": Tensor}},
        "Scales: x is annotated Tensor, of which nothing can be drawn; declare "
        'spec={"x": ...} with a shape, or with a strategy of hypothesis',
    ),
    # names
    (Scales, {"laws": "nope"}, f"no law is called 'nope'; there are {', '.join(LAWS)}"),
    (Scales, {"laws": ["purity", ""]}, f"no law is called ''; there are {', '.join(LAWS)}"),
    (
        Scales,
        {"size": {"B": 3}},
        "'size' is no declaration; there are batch, bounds, causal, compiled, couples, "
        "equivariant, ids, ignore, inplace, loss, mask, mask_keeps, padding, random, "
        "receptive_field, sizes, spec, stateful, surrogate, target, time, unused",
    ),
    (Scales, {"spec": {"y": int}}, "spec names 'y', but the arguments of Scales are x"),
    (Scales, {"bounds": {"y": (0, 1)}}, "bounds names 'y', but the arguments of Scales are x"),
    (Scales, {"ids": {"y": 3}}, "ids names 'y', but the arguments of Scales are x"),
    (Scales, {"mask": "m"}, "mask names 'm', but the arguments of Scales are x"),
    (
        Scales,
        {"loss": "mean", "ignore": -100},
        "target names 'target', but the arguments of Scales are x",
    ),
    (Scales, {"unused": "shift"}, "unused names 'shift', but no parameter begins with that"),
    (Looks, {"ids": {"ids": "V"}}, "ids speaks of 'V', but the axes of Looks are B, T"),
    (Looks, {"sizes": {"C": 8}}, "sizes speaks of an axis 'C', but the axes of Looks are B, T"),
    (Looks, {"batch": "N"}, "batch speaks of an axis 'N', but the axes of Looks are B, T"),
    (Looks, {"time": "S"}, "time speaks of an axis 'S', but the axes of Looks are B, T"),
    (
        Looks,
        {"equivariant": ("T", "S")},
        "equivariant speaks of an axis 'S', but the axes of Looks are B, T",
    ),
    (
        Scales,
        {"causal": True},
        "causal and receptive_field need an axis of time, and none is called T or time: say "
        "time='...'; the axes of Scales are B",
    ),
    (Scales, {"time": "B"}, "time is 'B', which stands for any number of axes"),
    # values
    (Looks, {"sizes": {"B": -1}}, f"sizes: B is -1; {SIZES}"),
    (Looks, {"sizes": {"B": ()}}, f"sizes: B is (); {SIZES}"),
    (Scales, {"bounds": {"x": (1, 0)}}, f"bounds: x is (1, 0); {PAIR}"),
    (Looks, {"receptive_field": -3}, f"receptive_field is -3; {FIELD}"),
    (Looks, {"receptive_field": (1, 2, 3)}, f"receptive_field is (1, 2, 3); {FIELD}"),
    (Scales, {"loss": "median"}, "loss is 'median'; it is 'mean', 'sum' or 'positions'"),
    (
        Scales,
        {"ignore": -100},
        "ignore speaks of a loss: say loss='mean', 'sum' or 'positions' as well",
    ),
    (
        Scales,
        {"mask": "x"},
        "mask='x' also needs mask_keeps: True if True in it stands for a position that counts, "
        "False if it stands for padding",
    ),
    (
        Lengths,
        {"mask": "lengths"},
        "mask='lengths' holds lengths, and no axis is called T or time: say time='...'",
    ),
    (
        Looks,
        {"spec": {"ids": Int[Tensor, "B T//0"]}},
        'ids: Int "B T//0" cannot be read: integer division or modulo by zero',
    ),
    (Scales, {"seconds": 0}, "seconds is 0, but has to be more than 0"),
    (Scales, {"examples": 0}, "examples is 0, but has to be at least 1"),
    (Scales, {"case": 3}, "case is int 3, but has to be a Case"),
    (Scales, {"case": Case({"B": 2})}, "case gives no size to *B; the axes of Scales are *B"),
    (
        Scales,
        {"case": Case({"*B": (2,)}, values="big")},
        "case has values 'big' and layout 'contiguous'; there are normal, counting, constant, "
        "zero, large, huge, tiny, inf, nan, and contiguous, transposed, strided, expanded",
    ),
]


@pytest.mark.parametrize(
    ("source", "options", "message"), REFUSED, ids=[message[:40] for *_, message in REFUSED]
)
def test_check_says(source, options, message):
    with pytest.raises(CheckError) as caught:
        check(source, **options)
    assert str(caught.value) == message


def test_an_attribute_in_a_shape_that_is_not_there():
    class Shortens(nn.Module):
        def forward(self, x: Float[Tensor, "B T"]) -> Float[Tensor, "B T//{self.missing}"]:
            return x

    with pytest.raises(CheckError) as caught:
        check(Shortens)
    assert str(caught.value) == (
        f"an annotation of {Shortens.__name__} cannot be read: 'Shortens' object has no attribute "
        "'missing'"
    )


def test_what_takes_empty_tensors_only():
    def draws(p: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        assert not p.numel(), "too many"
        return p

    with pytest.raises(CheckError) as caught:
        check(draws, laws="annotation")
    assert str(caught.value) == (
        "draws takes no call that was tried; the first one was p f32[B=2]: AssertionError: too "
        f"many. {WHAT_IT_NEEDS}"
    )


def test_what_a_factory_raises_is_said_and_kept():
    def reads() -> nn.Module:
        raise FileNotFoundError("weights.pt\nis not there")

    with pytest.raises(CheckError) as caught:
        check(reads)
    assert str(caught.value) == "reads raised FileNotFoundError: weights.pt"
    assert type(caught.value.__cause__) is FileNotFoundError


def test_a_dtype_that_torch_has_not():
    class Sixteen(Float):
        dtypes = ("float13",)

    for call in (tensors, lambda hint: check(lambda x: x, spec={"x": hint})):
        with pytest.raises(CheckError) as caught:
            call(Sixteen[Tensor, "B"])
        assert str(caught.value) == 'torch has no dtype for Sixteen "B"'


def test_what_arguments_refuses_reads_the_same():
    with pytest.raises(CheckError) as caught:
        arguments(Scales)
    assert str(caught.value) == "Scales is a class; give a module of it"
    with pytest.raises(CheckError) as caught:
        arguments(Scales(), sizes={"C": 8})
    assert str(caught.value) == "sizes speaks of an axis 'C', but the axes of Scales are B"


def test_an_axis_twice_has_no_two_sizes():
    with pytest.raises(ValueError) as caught:  # noqa: PT011 # the whole message is compared
        axis_sizes("B", "T", "B")
    assert str(caught.value) == "axis_sizes: B, T, B: a name stands twice"
