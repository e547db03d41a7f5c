"""Which sizes a module takes: tried out, since an annotation rarely says all that it demands."""

import dataclasses
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import torch
from hypothesis import Phase, find, settings
from hypothesis import strategies as st
from torch.nn.parameter import is_lazy

from typedwave.errors import ContractError, StateError
from typedwave.testing.calls import Call, Case, quietly, said, seeded
from typedwave.testing.declared import CheckError
from typedwave.testing.sizes import FIRST_SIZES, Size, Sizes, apart, at_edge, total
from typedwave.testing.subject import Subject

__all__ = ["Room"]

_SMALL: Final = (*range(10), 11, 12, 13, 16)
_STARS: Final = ((2,), (2, 3), (), (3, 5), (1,), (2, 2), (0,), (2, 3, 5))
_TRIES: Final = 600
_PATIENCE: Final = 10
"""Seconds after which no more sizes are tried than one of each name."""
_MOST_IDS: Final = 1 << 14
"""Where the search for the largest id that a module takes ends."""


class Room:
    """The sizes that a module takes, and the ids.

    Args:
        subject: The module and what is declared about it.

    Raises:
        CheckError: Nothing that was tried could be called.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self._module = subject.fresh()
        self._known: dict[Any, str | None] = {}
        self.base = self._first()
        self._until = time.monotonic() + _PATIENCE
        subject.build(subject.call(self.base))

    def refusal(self, case: Case) -> str | None:
        """Why a call in eval mode is refused, None if it is not.

        A result or state that breaks its contract was computed, so that the call was taken.
        """
        key = (tuple(case.sizes.items()), tuple(map(repr, case.choices.items())))
        if key not in self._known:
            self._known[key] = self._refusal(case)
        return self._known[key]

    def _refusal(self, case: Case) -> str | None:
        if (why := self.subject.impossible(case)) is not None:
            return why
        return self._answer(self.subject.call(case))

    def _answer(self, call: Call) -> str | None:
        """Why a call is refused, None if it is not."""
        try:
            with torch.no_grad(), seeded(0), quietly():
                self._module(*call.args, **call.kwargs)
        except StateError:
            self._module = self.subject.fresh()
        except ContractError as error:
            if all(mismatch.subject in self.subject.hints for mismatch in error.mismatches):
                return said(error)
        except Exception as error:
            return said(error)
        return None

    # sizes

    def candidates(self, name: str) -> Sequence[Size]:
        """The sizes of a name that are tried, the likely ones first."""
        declared = self.subject.declared.sizes.get(name.removeprefix("*"))
        if declared is not None:
            return [declared] if isinstance(declared, int) else [*declared]
        if name.startswith("*"):
            return _STARS
        by = self.subject.divisors.get(name, 1)
        usual = [size * by for size in FIRST_SIZES[:6]]
        small = [size for size in _SMALL if size % by == 0]
        return [*dict.fromkeys([*usual, *small, *(by * size for size in (1, 4, 8, 16))])]

    def _spoken(self, name: str) -> Sequence[Size]:
        """Numbers that the module speaks of: sizes of its state, and plain attributes."""
        if name.startswith("*") or name in self.subject.declared.sizes:
            return []
        found: dict[int, None] = {}
        for module in self.subject.module.modules():
            for value in vars(module).values():
                if type(value) is int and 0 < value <= 4096:
                    found[value] = None
            for tensor in (*module._parameters.values(), *module._buffers.values()):
                if tensor is not None and not is_lazy(tensor):
                    found.update(dict.fromkeys(size for size in tensor.shape if size <= 4096))
        return [*found]

    def _first(self) -> Case:
        """A first case that the module takes."""
        subject, why = self.subject, ""
        names = subject.names
        choices = {place: _simplest(found) for place, found in subject.choices.items()}
        for sizes in itertools.islice(self._guesses(names), _TRIES):
            case = Case(sizes, choices)
            case = self.with_ids(case)
            refused = self.refusal(case)
            if refused is None:
                return case
            if not why:
                made = subject.impossible(case) is None
                why = f"{subject.call(case)}: {refused}" if made else refused
        raise CheckError(
            f"{subject.name} takes no call that was tried; the first one was {why}. Declare "
            "what it needs: sizes={'C': 8}, bounds={'x': (0, 1)} for its numbers, ids={'x': 10}"
        )

    def _guesses(self, names: Sequence[str]) -> Iterator[dict[str, Size]]:
        """Sizes for all names: distinct primes; then one, two or all from what is likely."""
        pools = {
            name: sorted(
                (size for size in (*self.candidates(name), *self._spoken(name)) if total(size)),
                key=at_edge,
            )
            for name in names
        }
        if not all(pools.values()):
            return
        first = _distinct(pools, self.subject.fixed)
        yield first
        singles = [n for n in names if not n.startswith("*")]
        free = [name for name in singles if name not in self.subject.declared.sizes]
        for shift in range(1, len(FIRST_SIZES) - len(free) + 1):  # all of them may be too small
            yield {**first, **dict(zip(free, FIRST_SIZES[shift:], strict=False))}
        for name in names:
            for size in pools[name]:
                yield {**first, name: size}
        for size in _SMALL[1:]:
            yield {**first, **dict.fromkeys(free, size)}
        for one, two in itertools.combinations(singles, 2):
            for sizes in itertools.product(pools[one], pools[two]):
                yield {**first, one: sizes[0], two: sizes[1]}
        for every in itertools.product(*pools.values()):
            yield dict(zip(names, every, strict=True))

    @cached_property
    def taken(self) -> Mapping[str, Sequence[Size]]:
        """The sizes of each name that the module takes beside the first sizes of the others.

        Those that it speaks of, which may be large, count only where it takes hardly another.
        """
        found = {}
        for name in self.subject.names:
            taken = self._accepted(name, self.candidates(name))
            more = self._accepted(name, self._spoken(name)) if len(taken) < 2 else []
            taken = [*dict.fromkeys([*taken, *more, self.base.sizes[name]])]
            many = [size for size in taken if size not in (0, 1)]
            # Beside one size alone, 1 is taken since it broadcasts, and no other is meant.
            found[name] = many if len(many) == 1 and len(taken) > 1 else taken
        return found

    def may_be(self, name: str, size: int) -> bool:
        """Whether nothing is declared that keeps a name from a size."""
        is_free = name.removeprefix("*") not in self.subject.declared.sizes
        return is_free or size in self.candidates(name)

    def accepted(self, name: str, sizes: Sequence[Size]) -> list[Size]:
        """Those of some sizes of a name that the module takes; only declared ones, if any are."""
        if name not in self.subject.names:
            return []
        if name.removeprefix("*") in self.subject.declared.sizes:
            sizes = [size for size in self.candidates(name) if size in sizes]
        return self._accepted(name, sizes)

    def _accepted(self, name: str, sizes: Sequence[Size]) -> list[Size]:
        found: list[Size] = []
        for size in sizes:
            if time.monotonic() > self._until and found:
                break
            if self.refusal(self.with_ids(self.resized(self.base, name, size))) is None:
                found.append(size)
        return found

    def neighbours(self, case: Case) -> list[Case]:
        """Cases beside this one: other numbers, and a smaller and a larger size of each name."""
        found = [dataclasses.replace(case, seed=case.seed + 500)]
        for name, size in case.sizes.items():
            sizes = [other for other in self.taken[name] if other != size and total(other)]
            smaller = [other for other in sizes if total(other) < total(size)]
            larger = [other for other in sizes if total(other) > total(size)]
            for other in (*smaller[-1:], *larger[:1]):
                resized = self.with_ids(self.resized(case, name, other))
                if self.refusal(resized) is None:
                    found.append(dataclasses.replace(resized, seed=case.seed + 500))
        return found

    def refused(self, name: str) -> dict[Size, str]:
        """The sizes of a name that were tried and are refused, and why."""
        found = {}
        for size in self.candidates(name):
            why = self.refusal(self.with_ids(self.resized(self.base, name, size)))
            if why is not None:
                found[size] = why
        return found

    def resized(self, case: Case, name: str, size: Size) -> Case:
        """A case with another size of a name."""
        return Case({**case.sizes, name: size}, case.choices)

    # ids

    def with_ids(self, case: Case) -> Case:
        """The case with the number of ids that each integer argument takes, as far as tried."""
        if self.subject.impossible(case) is not None:
            return case
        wanted = [
            leaf.argument
            for leaf in self.subject.call(case).leaves
            if not (leaf.tensor.is_floating_point() or leaf.tensor.is_complex())
            and leaf.tensor.dtype != torch.bool
            and leaf.argument not in {*self.subject.declared.ids, self.subject.declared.mask}
        ]
        choices = dict(case.choices)
        for argument in dict.fromkeys(wanted):
            key = f"ids:{argument}"
            known = {f"ids:{other}": choices.get(f"ids:{other}", 1) for other in wanted}
            base = getattr(self, "base", None)

            def takes(
                count: int, choices: Any = choices, known: Any = known, key: str = key
            ) -> bool:
                made = {**choices, **known, key: count}
                return self._takes_ids(case, made, key.removeprefix("ids:"), count - 1)

            guess = base.choices.get(key) if base is not None else None
            if guess is not None and takes(guess) and (guess >= _MOST_IDS or not takes(guess + 1)):
                choices[key] = guess
            else:
                choices[key] = _largest(takes)
        return dataclasses.replace(case, choices=choices)

    def _takes_ids(self, case: Case, choices: Mapping[str, Any], argument: str, id_: int) -> bool:
        call = self.subject.call(Case(case.sizes, choices))
        filled = call.map(
            lambda leaf: (
                leaf.tensor.new_full(leaf.tensor.shape, id_)
                if leaf.argument == argument
                else leaf.tensor
            )
        )
        return self._answer(filled) is None

    # cases

    @cached_property
    def tied(self) -> list[tuple[str, str]]:
        """Pairs of names that are taken only if their sizes are equal."""
        names = [n for n in self.subject.names if not n.startswith("*")]
        sizes = self.base.sizes
        return [
            (one, other)
            for one, other in itertools.combinations(names, 2)
            if sizes[one] == sizes[other]
            and all({*self.taken[name]} <= {sizes[one]} for name in (one, other))
            and self._grow_together(one, other)
        ]

    def _grow_together(self, one: str, other: str) -> bool:
        """Whether another size is taken if both have it."""
        sizes = [n for n in self.candidates(one) if n != self.base.sizes[one] and n not in (0, 1)]
        cases = (Case({**self.base.sizes, one: n, other: n}, self.base.choices) for n in sizes)
        return any(self.refusal(self.with_ids(case)) is None for case in cases)


def _largest(takes: Any) -> int:
    """The largest count that is taken, if all smaller ones are; 1 if none is."""
    low, high = 1, 2
    while high < _MOST_IDS and takes(high):
        low, high = high, high * 2
    if high >= _MOST_IDS and takes(high):
        return _MOST_IDS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if takes(middle) else (low, middle)
    return low


def _simplest(found: st.SearchStrategy[Any]) -> Any:
    """The value that a strategy shrinks to."""
    quiet = settings(max_examples=1, database=None, phases=[Phase.generate])
    return find(found, lambda _: True, settings=quiet)


def _distinct(pools: Mapping[str, Sequence[Size]], fixed: Sizes) -> dict[str, Size]:
    chosen: dict[str, Size] = {}
    for name in sorted(pools, key=lambda name: len(pools[name]) > 1):  # those that are given first
        taken = {**fixed, **chosen}
        usual = [size for size in pools[name] if not at_edge(size)] or [*pools[name]]
        chosen[name] = (apart(usual, taken) or usual)[0]
    return {name: chosen[name] for name in pools}
