"""Comparisons of runs that admit noise: runs that differ only in the seed are one group."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from typedwave.lab.comparison.significance import (
    ComparisonError,
    Difference,
    Summary,
    difference,
    holm,
    summary,
)
from typedwave.lab.runs.record import Record
from typedwave.lab.training.recipe import fields_of

__all__ = [
    "Comparison",
    "Group",
    "Losses",
    "Row",
    "compare",
    "groups_of",
    "is_finished",
    "losses_of_groups",
]


@dataclass(frozen=True)
class Group:
    """Runs that differ only in the seed.

    Attributes:
        label: What tells them from other groups: ``n_embd=24 n_hidden=128``.
        records: The runs, by their seeds.
    """

    label: str
    records: tuple[Record, ...]


@dataclass(frozen=True)
class Losses:
    """One loss of the runs of a group.

    Attributes:
        label: Of the group.
        by_seed: The loss of each seed.
    """

    label: str
    by_seed: Mapping[int, float]


@dataclass(frozen=True)
class Row:
    """A group beside the one that all are compared with.

    Attributes:
        label: Of the group.
        summary: Of its losses.
        apart: Its mean less the other's; None of that one itself.
        difference: The same with its tests; None also where one run is all there is.
        p_holm: p of the t-test by Holm's correction for all rows.
        permutation_p_holm: And that of the permutation test.
    """

    label: str
    summary: Summary
    apart: float | None = None
    difference: Difference | None = None
    p_holm: float | None = None
    permutation_p_holm: float | None = None


@dataclass(frozen=True)
class Comparison:
    """Groups of runs, and each compared with one of them; `tables` and `verdict` put it in words.

    Attributes:
        loss: Which loss: validation, test, train or unseen.
        rows: The groups.
        reference: The label of the group that the others are compared with.
        chosen: Whether that is merely the one with the lowest mean.
    """

    loss: str
    rows: tuple[Row, ...]
    reference: str
    chosen: bool

    @property
    def others(self) -> tuple[Row, ...]:
        """The rows of the groups that are compared with the reference."""
        return tuple(row for row in self.rows if row.label != self.reference)


def groups_of(records: Iterable[Record]) -> list[Group]:
    """The groups of runs that differ only in the seed, in the order of their first runs.

    A label is made of the fields of network and recipe in which groups differ; of a single group it
    is the kind of network. Runs on different words are in different groups.
    """
    found: dict[Any, list[Record]] = {}
    fields: list[dict[str, Any]] = []
    for record in records:
        those = _fields(record)
        key = tuple(those.items())
        if key not in found:
            fields.append(those)
        found.setdefault(key, []).append(record)
    return [
        Group(label, tuple(sorted(group, key=lambda record: (record.recipe.seed, record.folder))))
        for label, group in zip(_labels(fields), found.values(), strict=True)
    ]


def losses_of_groups(groups: Sequence[Group], loss: str = "validation") -> list[Losses]:
    """The loss of each run of each group.

    Raises:
        ComparisonError: A run is not finished, or was not asked for this loss; runs are on
            different words; two runs of a group have one seed, and so are one experiment.
    """
    records = [record for group in groups for record in group.records]
    unfinished = [record for record in records if not is_finished(record)]
    if unfinished:
        raise ComparisonError(
            f"not finished: {_folders(unfinished)}; leave them out, or resume them"
        )
    for record in records:
        if loss not in record.losses:
            known = ", ".join(record.losses)
            raise ComparisonError(f"{record.folder} has no {loss} loss; it has {known}")
        first = records[0]
        if record.facts.get("words_sha256") != first.facts.get("words_sha256"):
            raise ComparisonError(
                f"{first.folder} and {record.folder} are on different words, of "
                f"{first.facts.get('corpus')} and of {record.facts.get('corpus')}, and words "
                "differ more than networks"
            )
    return [Losses(group.label, _by_seed(group, loss)) for group in groups]


def is_finished(record: Record) -> bool:
    """Whether all steps of a run are done."""
    return bool(record.losses) and not record.facts.get("interrupted", False)


def compare(
    groups: Sequence[Losses], *, against: Losses | None = None, loss: str = "validation"
) -> Comparison:
    """Each group compared with one of them.

    Args:
        groups: At least one; labels differ.
        against: What they are compared with; if None, the group among them with the lowest mean.
        loss: Which it is, for the headings.

    Raises:
        ComparisonError: There is no group, or none in it, two have one label, or a loss is not
            finite.

    Example:
        >>> small = Losses("small", {1: 2.04, 2: 2.03, 3: 2.05, 4: 2.04})
        >>> large = Losses("large", {1: 2.02, 2: 2.02, 3: 2.01, 4: 2.03})
        >>> row, _ = compare([large], against=small).rows
        >>> f"{row.apart:+.3f}, p = {row.difference.p:.3f}"
        '-0.020, p = 0.066'
    """
    every = [*groups, *([] if against is None else [against])]
    if not every:
        raise ComparisonError("there is no group to compare")
    twice = [label for label, count in Counter(group.label for group in every).items() if count > 1]
    if twice:
        raise ComparisonError(f"two groups are called {twice[0]}")
    summaries = {group.label: summary([*group.by_seed.values()]) for group in every}
    best = min(every, key=lambda group: summaries[group.label].mean)
    reference = best if against is None else against
    rows = []
    for group in every:
        row = Row(group.label, summaries[group.label])
        if group is not reference:
            tested = min(len(group.by_seed), len(reference.by_seed)) > 1
            found = difference(group.by_seed, reference.by_seed) if tested else None
            apart = row.summary.mean - summaries[reference.label].mean
            row = replace(row, apart=apart if found is None else found.mean, difference=found)
        rows.append(row)
    return Comparison(loss, tuple(_corrected(rows)), reference.label, against is None)


def _corrected(rows: Sequence[Row]) -> list[Row]:
    """With Holm's correction for all the tests there are."""
    tested = [row.difference for row in rows if row.difference is not None]
    ps = iter(holm([found.p for found in tested if found.p is not None]))
    permuted = iter(holm([found.permutation_p for found in tested]))
    return [
        row
        if row.difference is None
        else replace(
            row,
            p_holm=None if row.difference.p is None else next(ps),
            permutation_p_holm=next(permuted),
        )
        for row in rows
    ]


def _by_seed(group: Group, loss: str) -> dict[int, float]:
    found: dict[int, Record] = {}
    for record in group.records:
        twin = found.setdefault(record.recipe.seed, record)
        if twin is not record:
            raise ComparisonError(
                f"{twin.folder} and {record.folder} have the same seed, {record.recipe.seed}, and "
                "so are one experiment, not two; name one of them"
            )
    return {seed: record.losses[loss] for seed, record in found.items()}


def _folders(records: Sequence[Record]) -> str:
    return ", ".join(str(record.folder) for record in records)


def _fields(record: Record) -> dict[str, Any]:
    """What decides a run, but for its seed; values have a hash."""
    recipe = fields_of(record.recipe)
    fields = {
        **asdict(record.config),
        "recipe": recipe.pop("kind"),
        **recipe,
        "words": str(record.facts.get("words_sha256", ""))[:8],
    }
    return {name: _seedless(value) for name, value in fields.items() if name != "seed"}


def _seedless(value: Any) -> Any:
    """As tuples, and without the seeds of the members of a pool."""
    if isinstance(value, Mapping):
        return tuple((name, _seedless(inner)) for name, inner in value.items() if name != "seed")
    if isinstance(value, list | tuple):
        return tuple(map(_seedless, value))
    return value


def _labels(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    if len(groups) == 1:
        return [str(groups[0]["network"])]
    names = dict.fromkeys(name for fields in groups for name in fields)
    differing = [name for name in names if len({f[name] for f in groups if name in f}) > 1]
    labels: list[str] = []
    for fields in groups:
        label = " ".join(f"{name}={_short(fields[name])}" for name in differing if name in fields)
        same = sum(other.partition(" (")[0] == label for other in labels)  # two pools, say
        labels.append(f"{label} ({same + 1})" if same else label)
    return labels


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        kind = next((inner[1] for inner in value if _is_kind(inner)), None)
        return ",".join(map(_short, value)) if kind is None else str(kind)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _is_kind(value: Any) -> bool:
    """Whether it says what a member of a pool is."""
    return isinstance(value, tuple) and value[:1] in (("network",), ("kind",))
