"""Strategies for the cases that a module takes."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from hypothesis import assume
from hypothesis import strategies as st

from typedwave.testing.calls import Case
from typedwave.testing.room import Room
from typedwave.testing.sizes import Size, apart, at_edge, total
from typedwave.testing.values import Layout, Values

__all__ = ["cases", "edge_cases"]


def edge_cases(
    room: Room,
    *,
    sizes: Mapping[str, Sequence[Size]] | None = None,
    least_edge: int | None = 1,
    values: Sequence[Values] = ("normal",),
    layouts: Sequence[Layout] = ("contiguous",),
    chosen: Mapping[str, Any] | None = None,
    **_: Any,
) -> Iterator[Case]:
    """The first case in all kinds; the smallest sizes of each name; all names of one size.

    Args:
        room: What the module takes.
        sizes: The only sizes of some names.
        least_edge: The smallest of all; None for the first case only.
        values: The kinds of numbers; sizes at the edge have the first.
        layouts: The layouts, likewise.
        chosen: What to choose at some places.
        **_: The other arguments of `cases`.
    """
    sizes = sizes or {}
    choices = {**room.base.choices, **(chosen or {})}
    first = room.base.sizes
    first = {n: first[n] if first[n] in sizes.get(n, [first[n]]) else sizes[n][0] for n in first}
    drawn: list[dict[str, Size]] = []
    for name in first if least_edge is not None else ():
        pool = sizes.get(name, room.taken[name])
        small = [size for size in pool if (least_edge or 0) <= total(size) <= 1]
        drawn += [{**first, name: size} for size in small]
    singles = [name for name in first if not name.startswith("*")]
    if len(singles) > 1 and least_edge is not None:
        common = {*sizes.get(singles[0], room.taken[singles[0]])}
        for name in singles[1:]:
            common &= {*sizes.get(name, room.taken[name])}
        drawn += [{**first, **dict.fromkeys(singles, n)} for n in sorted(common - {0, 1})[:1]]
    made_of = [(first, kind, layout) for kind in values for layout in layouts]
    made_of += [(made, values[0], layouts[0]) for made in drawn]
    for made, kind, layout in made_of:
        case = room.with_ids(Case(made, choices))
        if room.refusal(case) is None:
            yield dataclasses.replace(case, values=kind, layout=layout)


def cases(
    room: Room,
    *,
    least: Mapping[str, int] | None = None,
    sizes: Mapping[str, Sequence[Size]] | None = None,
    values: Sequence[Values] = ("normal",),
    layouts: Sequence[Layout] = ("contiguous",),
    dtypes: Sequence[torch.dtype | None] = (None,),
    least_edge: int | None = 1,
    chosen: Mapping[str, Any] | None = None,
) -> st.SearchStrategy[Case]:
    """Cases that the module takes.

    Args:
        room: What the module takes.
        least: The least size of a name.
        sizes: The sizes of a name in place of those that were found.
        values: The kinds of numbers.
        layouts: The layouts.
        dtypes: The floating dtypes; None for that of the module.
        least_edge: The least size to try besides ordinary ones, equal ones among them; None
            for ordinary ones only.
        chosen: What to choose at some places.
    """
    pools: dict[str, Sequence[Size]] = {}
    for name, found in {**room.taken, **(sizes or {})}.items():
        floor = (least or {}).get(name, 0)
        pools[name] = [size for size in found if total(size) >= max(floor, least_edge or 0)]

    @st.composite
    def draw_case(draw: st.DrawFn) -> Case:
        assume(all(pools.values()))
        is_edge = least_edge is not None and draw(st.sampled_from([False, False, False, True]))
        drawn: dict[str, Size] = {}
        for name in sorted(pools, key=lambda name: len(pools[name]) > 1):  # what is given first
            pool, taken = pools[name], {**room.subject.fixed, **drawn}
            usual = [size for size in pool if not at_edge(size)] or [*pool]
            # Each name takes two choices whatever the others took: fewer would be smaller for
            # hypothesis, and the sizes that it shrinks to larger.
            at, is_other = draw(st.integers(0, 59)), draw(st.booleans())
            if is_edge and is_other:
                fitting = [size for size in pool if at_edge(size) or size in drawn.values()]
            elif is_edge:
                fitting = usual
            else:
                fitting = apart(usual, taken)
            fitting = fitting or usual
            drawn[name] = fitting[at % len(fitting)]
        drawn = {name: drawn[name] for name in pools}
        choices = {place: draw(found) for place, found in room.subject.choices.items()}
        choices |= chosen or {}
        kind, layout = draw(st.sampled_from(values)), draw(st.sampled_from(layouts))
        dtype, seed = draw(st.sampled_from(dtypes)), draw(st.integers(0, 255))
        case = room.with_ids(Case(drawn, choices))
        assume(room.refusal(case) is None)
        return Case(drawn, case.choices, kind, layout, dtype, seed)

    return draw_case()
