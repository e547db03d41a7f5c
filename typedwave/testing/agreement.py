"""Whether declarations speak of what a module has."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from typedwave.testing.declared import CheckError
from typedwave.testing.drawing import is_counted

if TYPE_CHECKING:
    from typedwave.testing.subject import Subject

__all__ = ["refuse_unknown"]


def refuse_unknown(subject: "Subject") -> None:
    """Refuses declarations about arguments, axes and parameters that are not there.

    Raises:
        CheckError: It says which, and what there is.
    """
    declared = subject.declared
    parameters = subject.signature.parameters.values()
    takes_any = any(p.kind == p.VAR_KEYWORD for p in parameters)
    arguments = [p.name for p in parameters]
    spoken = {
        "spec": [name for name in declared.spec if name != "return"],
        "bounds": declared.bounds,
        "ids": declared.ids,
        "mask": [declared.mask] if declared.mask else [],
        "target": [declared.target] if declared.ignore is not None else [],
    }
    for kind, names in spoken.items():
        for name in names:
            if name not in arguments and not takes_any:
                has = ", ".join(arguments) or "none"
                raise CheckError(
                    f"{kind} names {name!r}, but the arguments of {subject.name} are {has}"
                )
    _refuse_axes(subject)
    _refuse_mask(subject)
    names = [name for name, _ in subject.module.named_parameters()]
    for start in declared.unused_names:
        if not any(name.startswith(start) for name in names):
            raise CheckError(f"unused names {start!r}, but no parameter begins with that")


def _refuse_axes(subject: "Subject") -> None:
    declared = subject.declared
    axes = sorted({name.removeprefix("*") for name in subject.names} | {*subject.fixed})
    spoken: dict[str, Iterable[str]] = {
        "sizes": declared.sizes,
        "equivariant": declared.equivariant_axes,
        "batch": [declared.batch] if declared.batch else [],
        "time": [declared.time] if declared.time else [],
    }
    has = ", ".join(axes) or "none"
    for kind, names in spoken.items():
        for name in names:
            if name.removeprefix("*") not in axes:
                raise CheckError(
                    f"{kind} speaks of an axis {name!r}, but the axes of {subject.name} are {has}"
                )
    if subject.time is not None and subject.time not in (*subject.names, *subject.fixed):
        raise CheckError(f"time is {subject.time!r}, which stands for any number of axes")
    if (declared.causal or declared.receptive_field is not None) and subject.time is None:
        raise CheckError(
            "causal and receptive_field need an axis of time, and none is called T or time: say "
            f"time='...'; the axes of {subject.name} are {has}"
        )


def _refuse_mask(subject: "Subject") -> None:
    declared = subject.declared
    if declared.mask is None or declared.mask_keeps is not None:
        return
    if not is_counted(subject.hints.get(declared.mask)):
        raise CheckError(
            f"mask={declared.mask!r} also needs mask_keeps: True if True in it stands for a "
            "position that counts, False if it stands for padding"
        )
    if subject.time is None:
        raise CheckError(
            f"mask={declared.mask!r} holds lengths, and no axis is called T or time: say time='...'"
        )
