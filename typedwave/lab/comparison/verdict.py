"""A comparison in words: its tables, the tests by name, and what can be said."""

from collections.abc import Iterator, Sequence
from typing import Final

from typedwave.lab.comparison.by_word import WordDifference, together
from typedwave.lab.comparison.groups import Comparison, Row
from typedwave.lab.comparison.significance import Difference, Interval

__all__ = ["tables", "verdict", "verdict_of_words"]

_BOUND: Final = 0.05
_ROUNDING: Final = 1e-9
_ONE_RUN: Final = "one run has no spread"


def tables(comparison: Comparison) -> str:
    """The losses of the groups, and each group against the one they are compared with."""
    parts = [f"{comparison.loss} loss, nats a character", "", *_summaries(comparison.rows)]
    others = comparison.others
    if others:
        why = ", which has the lowest mean" if comparison.chosen else ""
        parts += ["", f"against {comparison.reference}{why}", "", *_differences(others)]
        notes = [*_notes(others, chosen=comparison.chosen)]
        parts += ["", *notes] if notes else []
    return "\n".join(parts)


def verdict(comparison: Comparison) -> str:
    """What can be said of the differences, and no more.

    Example:
        >>> import textwrap
        >>> from typedwave.lab.comparison.groups import Losses, compare
        >>> flat = Losses("flat", {1: 2.031, 2: 2.034, 3: 2.029, 4: 2.035})
        >>> tree = Losses("tree", {1: 2.022, 2: 2.024, 3: 2.023, 4: 2.027})
        >>> print(textwrap.fill(verdict(compare([tree], against=flat)), 86))
        The validation loss of tree is lower than that of flat by 0.0082 nats a character (95
        % interval 0.0055 to 0.0110): p = 0.0024 by a paired t-test, p = 0.12 by a sign-flip
        permutation test, exact (so few seeds cannot bring it below 0.12); 4 of 4 seeds agree
        in the direction.
    """
    others = comparison.others
    if not others:
        return "There is one group, and nothing to compare it with."
    if len(others) == 1:
        return _of_two(others[0], comparison.reference, comparison.loss)
    return _of_many(others, comparison.reference)


def verdict_of_words(row: Row, reference: str, found: WordDifference) -> str:
    """What the words say of the difference of a row, beside what its seeds do."""
    direction = "lower" if found.mean < 0 else "higher"
    agreeing = found.lower if found.mean < 0 else found.higher
    said = (
        f"With the same networks and other words like these, {row.label} is {direction} than "
        f"{reference} by {abs(found.mean):.4f} ({_interval(found.interval, found.mean)}, by a BCa "
        f"bootstrap of the words); {agreeing:,} of {found.words:,} words agree in the direction."
    )
    if row.difference is None or row.difference.interval is None:
        return said
    both = together(row.difference.mean, row.difference.interval, found.interval)
    return f"{said} With other seeds and other words, about: {_interval(both, found.mean)}."


def _of_two(row: Row, reference: str, loss: str) -> str:
    found = row.difference
    direction = "lower" if row.apart is not None and row.apart < 0 else "higher"
    apart = (
        f"The {loss} loss of {row.label} is {direction} than that of {reference} by "
        f"{abs(row.apart or 0):.4f} nats a character"
    )
    if found is None:
        return (
            f"{apart}, but {_ONE_RUN}: to tell it from chance takes at least two runs of each, "
            "with other seeds."
        )
    if found.p is None or found.interval is None:
        return _without_spread(row, reference, found, apart)
    said = (
        f"{apart} ({_interval(found.interval, found.mean)}): {_p(found.p)} by {_a(found.test)}, "
        f"{_p(found.permutation_p)} by {_a(found.permutation_test)}"
    )
    if found.least_p >= _BOUND:
        said += f" (so few seeds cannot bring it below {found.least_p:.2g})"
    if found.pairs:
        said += f"; {found.agreeing} of {found.pairs} seeds agree in the direction"
    if found.p < _BOUND:
        return f"{said}."
    return (
        f"No difference is shown. {said}. One of {found.detectable:.4f} would be shown by four "
        "such experiments in five."
    )


def _without_spread(row: Row, reference: str, found: Difference, apart: str) -> str:
    if abs(found.mean) < _ROUNDING:
        return f"{row.label} and {reference} have the same loss in every run."
    where = "with every seed" if found.pairs else "in every run"
    return (
        f"{apart}, the same {where}: there is no spread for a t-test to go by; "
        f"{_p(found.permutation_p)} by {_a(found.permutation_test)}."
    )


def _of_many(rows: Sequence[Row], reference: str) -> str:
    said: dict[str, list[str]] = {
        f"Higher than {reference}:": [],
        f"Lower than {reference}:": [],
        "No difference is shown for:": [],
        "No t-test, since there is no spread:": [],
        f"No test, since {_ONE_RUN}:": [],
    }
    higher, lower, unknown, level, single = said.values()
    for row in rows:
        if row.difference is None:
            single.append(row.label)
        elif row.p_holm is None:
            level.append(row.label)
        elif row.p_holm < _BOUND:
            (higher if row.difference.mean > 0 else lower).append(row.label)
        else:
            unknown.append(row.label)
    return "\n".join(f"{what} {'; '.join(labels)}." for what, labels in said.items() if labels)


def _summaries(rows: Sequence[Row]) -> Iterator[str]:
    cells = [("", "n", "mean", "s", "95 % of the mean", "min", "max")]
    for row in rows:
        found = row.summary
        spread = ("-", "-") if found.std is None else (f"{found.std:.4f}", _range(found.interval))
        ends = (f"{found.min:.4f}", f"{found.max:.4f}")
        cells.append((row.label, str(found.n), f"{found.mean:.4f}", *spread, *ends))
    return _aligned(cells)


def _differences(rows: Sequence[Row]) -> Iterator[str]:
    holm = ", Holm" if len(rows) > 1 else ""
    cells = [("", "difference", "95 %", f"t-test p{holm}", f"permutation p{holm}", "test", "r")]
    for row in rows:
        found = row.difference
        apart = f"{row.apart:+.4f}"
        if found is None:
            cells.append((row.label, apart, _ONE_RUN, "-", "-", "-", "-"))
            continue
        ps = (_number(row.p_holm), _number(row.permutation_p_holm))
        test = "paired" if found.pairs else "Welch"
        r = "-" if found.correlation is None else f"{found.correlation:+.2f}"
        cells.append((row.label, apart, _range(found.interval, sign="+"), *ps, test, r))
    return _aligned(cells)


def _notes(rows: Sequence[Row], *, chosen: bool) -> Iterator[str]:
    found = [row.difference for row in rows if row.difference is not None]
    if any(each.pairs for each in found):
        yield "paired: by paired t-test, since the seeds are the same; r is what they share"
    if any(not each.pairs for each in found):
        yield "Welch: by Welch's t-test, since the seeds are not the same"
    for name in dict.fromkeys(each.permutation_test for each in found):
        yield f"permutation: {name}"
    if len(found) > 1:
        yield f"Holm: Holm's correction of p for {len(found)} tests; each interval is by itself"
    if chosen and len(found) > 1:
        yield "the lowest of several means owes some to luck: better name a group beforehand"


def _interval(interval: Interval, mean: float) -> str:
    """Of the absolute difference."""
    low, high = interval if mean >= 0 else (-interval.high, -interval.low)
    return f"95 % interval {low:.4f} to {high:.4f}"


def _range(interval: Interval | None, *, sign: str = "") -> str:
    return "no spread" if interval is None else " to ".join(f"{end:{sign}.4f}" for end in interval)


def _p(p: float) -> str:
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.2g}"


def _number(p: float | None) -> str:
    if p is None:
        return "-"
    return "< 0.0001" if p < 0.0001 else f"{p:.2g}"


def _a(test: str) -> str:
    """With its article, unless it is named after someone."""
    return test if test.startswith("Welch") else f"a {test}"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The first column to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *cells = (
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join([first, *cells]).rstrip()
