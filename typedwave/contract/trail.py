"""The trail of the last checked calls, from which an error tells the shapes until here.

A checked call leaves a mark that has been made before, so that keeping the trail costs an append
to a bounded deque. What holds other calls leaves a mark where it begins as well, so that what was
inside of it can be folded away once it has returned.
"""

import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from torch.nn import Module

from typedwave.contract.location import callers, clean, home_of
from typedwave.errors import Step

__all__ = ["forget", "note", "reference", "steps"]

_NOBODY: Final = 0

LONGEST: Final = 1024
"""Marks that are kept; of a longer call only the end is told."""


# (who,) where a call begins, (who, contract, facts, result) where it returned. Who is a weak
# reference to the object whose method it is, since the id of one that is gone is given to another,
# or else the contract of the function.
Mark = tuple[Any, ...]

_trail: deque[Mark] = deque(maxlen=LONGEST)
note: Final[Callable[[Mark], None]] = _trail.append
forget: Final[Callable[[], None]] = _trail.clear
"""Called where an exception passes: what it left behind is no part of a later call."""


def steps(owner: Module | str, inputs: str, outcome: str) -> tuple[Step, ...]:
    """The calls that returned within the outermost one, in order, and the one that fails.

    What was called inside of a call that returned is left out, and all of it if there is nothing
    but the failing call to be told. Calls of other threads are, unless on the same modules.

    Args:
        owner: The module that was called, or the name of the function.
        inputs: What went into it.
        outcome: What became of it.
    """
    if isinstance(owner, Module):
        root, path = home_of(owner)
        failing = (path, type(owner).__name__)
    else:
        root = next(reversed(list(callers())), None)
        failing = ("", owner)
    named = root.named_modules() if root is not None and "_modules" in vars(root) else ()
    names = {id(module): (clean(path), type(module).__name__) for path, module in named}
    marks = [(_id(mark[0]), *mark[1:]) for mark in list(_trail)]
    marks = [mark for mark in marks if not isinstance(mark[0], int) or mark[0] in names]
    forget()  # the failing call leaves marks that no other call would close
    if root is owner:
        return ()
    rows: list[tuple[Any, Step | None]] = []
    for mark in marks if root is None else _of(id(root), marks):
        who = mark[0]
        if len(mark) == 1:
            rows.append((who, None))
            continue
        begin = next((i for i in reversed(range(len(rows))) if rows[i] == (who, None)), len(rows))
        _, contract, facts, result = mark
        place = ("", contract.name) if who is contract else names[who]
        rows[begin:] = [(who, Step(*place, *contract.told(facts, result)))]
    if root is None:  # functions only: what has returned counts if one that called it has not
        opened = [i for i, (who, step) in enumerate(rows) if not step and who.name != owner]
        rows = rows[opened[0] :] if opened else []
    done = {(step.path, step.type): step for _, step in rows if step is not None}
    done.pop(failing, None)
    return (*done.values(), Step(*failing, inputs, outcome)) if done else ()


def reference(owner: Any) -> Any:
    """Who leaves the marks of the methods of an object."""
    try:
        return weakref.ref(owner)
    except TypeError:  # it has slots only, and is no module
        return _NOBODY


def _id(who: Any) -> Any:
    return id(who()) if isinstance(who, weakref.ref) else who


def _of(root: int, marks: Sequence[Mark]) -> Sequence[Mark]:
    """The marks of the call of a model that is running."""
    begins = [i for i, mark in enumerate(marks) if mark == (root,)]
    if begins:
        return marks[begins[-1] + 1 :]
    # It leaves no marks itself. Then only those of its modules are known to be its own, and it
    # began after a module returned that would return again.
    own = [mark for mark in marks if isinstance(mark[0], int)]
    returned: set[int] = set()
    for i in reversed(range(len(own))):
        if len(own[i]) > 1 and own[i][0] in returned:
            return own[i + 1 :]
        returned.add(own[i][0])
    return own
