"""N-grams: probabilities of the next id by counting, against which networks are measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from typedwave.contract import Module, typed, where
from typedwave.errors import Mismatch, StateError
from typedwave.models.checks import check_choice, check_counts
from typedwave.nn.ids import out_of_range
from typedwave.nn.sizes import check_sizes

__all__ = ["NGram", "NGramConfig"]

# Of D1, D2 and D3+, where they cannot be estimated; those of KenLM's --discount_fallback.
_FALLBACK = (0.5, 1.0, 1.5)


@dataclass(frozen=True, kw_only=True)
class NGramConfig:
    """N-grams of a length, and all shorter ones.

    Args:
        network: ngram.
        order: The length of the longest n-grams, the next id included.

    Raises:
        ValueError: A number is out of range.
    """

    network: Literal["ngram"] = "ngram"
    order: int = 5

    def __post_init__(self) -> None:
        check_choice("network", self.network, "ngram")
        check_counts(self, order=2)

    @property
    def context(self) -> int:
        """Positions that it sees, T."""
        return self.order - 1


class NGram(Module):
    """Log-probabilities of the next id, counted after a window of ids and after its endings.

    Modified Kneser-Ney smoothing, interpolated. With h an ending of the window, h' the same
    without its first id, and w the next id:
    ``P(w | h) = (c(h w) - D(c(h w))) / c(h) + b(h) P(w | h')``, where b(h), the sum of the
    discounts over c(h), makes it sum to 1, and c(h) is the sum of c(h w) over w. A whole window
    counts as often as it came before w, a shorter h once for each different id that came before
    h w. Below the empty h all ids are equally likely, so none ever has probability 0. What is known
    of a window is said by its longest ending that was counted.

    The boundaries before a word are ids as others are. An ending that begins with one has that id
    before it and no other, so each w after it counts once there: there it is told which w occur,
    and only by the whole window how often.

    It has no parameters and learns nothing by gradients: `fit` counts.

    Args:
        config: Its order.
        vocab_size: Ids, V.
        device: Where the tables are.
        dtype: The floating dtype of the log-probabilities; they are computed in doubles.

    Shape:
        ids ``(B, context)``, int64, to log-probabilities ``(B, vocab_size)`` of the table's dtype:
        logits that are normalised.

    Attributes:
        edges: ``(num_contexts,)``, int64, ascending. Row i is context i, which has the ids of
            context ``edges[i] // V`` and before them the id ``edges[i] % V``; row 0, the empty
            one, is -1. Shorter contexts come first. Empty before `fit`.
        log_probs: ``(num_contexts, vocab_size)``, those of the ids after each. Empty before `fit`.
        num_ngrams: ``(order,)``, int64: how many different ones were counted, by length.

    Raises:
        ShapeError: The window is not ``context`` long, or the ids are not int64.
        StateError: It is not fitted.
        IdOutOfRangeError: An id is not below ``vocab_size``; where `typedwave.nn.Embedding` has it.

    Example:
        >>> network = NGram(NGramConfig(order=3), vocab_size=3)
        >>> network.fit(torch.tensor([[0, 0], [0, 1], [1, 2]]), torch.tensor([1, 2, 0]))
        >>> network(torch.zeros(32, 2, dtype=torch.int64)).shape
        torch.Size([32, 3])
        >>> network.num_counts, network.num_ngrams.tolist()
        (9, [3, 3, 3])

    Source:
        Chen and Goodman, "An Empirical Study of Smoothing Techniques for Language Modeling" (1998),
        section 3. Where counts of counts give no discount, or none above 0, as few data do, the
        three of that order are 0.5, 1 and 1.5, as in KenLM (Heafield et al., 2013).
    """

    edges: Int64[Tensor, "num_contexts"]
    log_probs: Float[Tensor, "num_contexts vocab_size"]
    num_ngrams: Int64[Tensor, "order"]

    def __init__(
        self,
        config: NGramConfig,
        *,
        vocab_size: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_sizes("NGram", 1, vocab_size=vocab_size)
        self.config = config
        self.context = config.context
        self.vocab_size = vocab_size
        self.register_buffer("edges", torch.empty(0, dtype=torch.int64, device=device))
        self.register_buffer("log_probs", torch.empty(0, vocab_size, dtype=dtype, device=device))
        num_ngrams = torch.zeros(config.order, dtype=torch.int64, device=device)
        self.register_buffer("num_ngrams", num_ngrams)

    @property
    def num_counts(self) -> int:
        """Different n-grams that were counted, of all lengths: its size, as parameters are."""
        return int(self.num_ngrams.sum())

    def forward(self, x: Int64[Tensor, "B {self.context}"]) -> Float[Tensor, "B {self.vocab_size}"]:
        if len(self.edges) == 0:
            needs = Mismatch("its table", "is empty, as it is not fitted", ())
            raise StateError(where(self), [needs], suggestion="fit(contexts, targets)")
        self._check_ids(x)
        found = torch.zeros_like(x[:, 0])  # the context found so far, at first the empty one
        is_known = torch.ones_like(found, dtype=torch.bool)
        for ids in reversed(x.unbind(1)):
            edge = found * self.vocab_size + ids
            longer = torch.searchsorted(self.edges, edge).clamp(max=len(self.edges) - 1)
            is_known = is_known & (self.edges[longer] == edge)
            found = torch.where(is_known, longer, found)
        return self.log_probs[found]

    def fit(self, contexts: Int64[Tensor, "N {self.context}"], targets: Int64[Tensor, "N"]) -> None:
        """Counts examples, as `typedwave.lab.examples` gives them, in place of those before.

        It is done on the CPU, wherever the tables are.

        Args:
            contexts: Windows of ids.
            targets: The id after each.

        Raises:
            ShapeError: They do not go together.
            IdOutOfRangeError: An id is not below ``vocab_size``.
            ValueError: There is none.
        """
        edges, log_probs, num_ngrams = self._tables(contexts, targets)
        # Only here, once nothing can fail any more.
        self.edges = edges.to(self.edges)
        self.log_probs = log_probs.to(self.log_probs)
        self.num_ngrams = num_ngrams.to(self.num_ngrams)

    def extra_repr(self) -> str:
        """Its order and the number of ids."""
        return f"order={self.config.order}, vocab_size={self.vocab_size}"

    # Not fit itself: by the contract of a method, the state has afterwards the sizes it had before.
    @typed
    def _tables(
        self, contexts: Int64[Tensor, "N {self.context}"], targets: Int64[Tensor, "N"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        if len(targets) == 0:
            raise ValueError(f"{where(self)}: there are 0 examples, but fit needs at least 1")
        for name, ids in (("contexts", contexts), ("targets", targets)):
            if ids.min() < 0 or ids.max() >= self.vocab_size:
                raise out_of_range(self, ids, self.vocab_size, "vocab_size", name=name)
        edges, last = _contexts(contexts.cpu(), self.vocab_size)
        counted = _counted(edges, last, targets.cpu(), self.config.order, self.vocab_size)
        rows = _smoothed(edges, counted, self.vocab_size)
        log_probs = torch.cat([row.log().to(self.log_probs.dtype) for row in rows])
        return edges, log_probs, torch.tensor([len(ngrams) for ngrams, _ in counted])

    def _check_ids(self, x: Tensor) -> None:
        # Looked up for nothing: the kernel refuses what min() and max() would make a GPU wait for.
        try:
            F.embedding(x, self.log_probs[:1].T)
        except IndexError:
            raise out_of_range(self, x, self.vocab_size, "vocab_size") from None

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *others: Any) -> None:
        # How many contexts there are is known from the data only, here from what was saved. Tables
        # that do not fit are left to torch, which tells all that is wrong with a state dict.
        edges, log_probs = (state_dict.get(prefix + name) for name in ("edges", "log_probs"))
        if (
            isinstance(edges, Tensor)
            and isinstance(log_probs, Tensor)
            and edges.ndim == 1
            and log_probs.shape == (len(edges), self.vocab_size)
        ):
            self.edges = self.edges.new_empty(edges.shape)
            self.log_probs = self.log_probs.new_empty(log_probs.shape)
        super()._load_from_state_dict(state_dict, prefix, *others)


def _contexts(contexts: Tensor, vocab_size: int) -> tuple[Tensor, Tensor]:
    """The edges to all contexts, and for each window the one that is the whole of it."""
    edges = [torch.tensor([-1])]
    first, found = 0, torch.zeros_like(contexts[:, 0])
    for ids in reversed(contexts.unbind(1)):
        first += len(edges[-1])
        # Edges of one length are sorted; all come after the shorter ones, as do their contexts.
        edge, place = torch.unique(found * vocab_size + ids, return_inverse=True)
        edges.append(edge)
        found = first + place
    return torch.cat(edges), found


def _counted(
    edges: Tensor, last: Tensor, targets: Tensor, order: int, vocab_size: int
) -> list[tuple[Tensor, Tensor]]:
    """The n-grams of each length, shortest first, as ``context * V + target``; and their counts."""
    counted = [torch.unique(last * vocab_size + targets, return_counts=True)]
    for _ in range(order - 1):
        longer, _ = counted[-1]
        shorter = edges[longer // vocab_size] // vocab_size * vocab_size + longer % vocab_size
        counted.append(torch.unique(shorter, return_counts=True))
    return counted[::-1]


def _smoothed(
    edges: Tensor, counted: Sequence[tuple[Tensor, Tensor]], vocab_size: int
) -> list[Tensor]:
    """The probabilities after each context, in a table for each length, shortest first."""
    shorter = torch.full((1, vocab_size), 1 / vocab_size, dtype=torch.float64)
    tables: list[Tensor] = []
    before, first = 0, 0  # the first context of the shorter ones, and of these
    for ngrams, counts in counted:
        context, target = ngrams // vocab_size - first, ngrams % vocab_size
        num_contexts = int(context[-1]) + 1
        discounts = _discounts(counts)[counts.clamp(max=3) - 1]
        zeros = torch.zeros(num_contexts, dtype=torch.float64)
        total = zeros.index_add(0, context, counts.double())
        backoff = zeros.index_add(0, context, discounts) / total
        parents = (
            edges[first : first + num_contexts] // vocab_size - before if tables else zeros.long()
        )
        table = backoff[:, None] * shorter[parents]
        table[context, target] += (counts - discounts) / total[context]
        tables.append(table)
        shorter, before, first = table, first, first + num_contexts
    return tables


def _discounts(counts: Tensor) -> Tensor:
    """D1, D2 and D3+ of one length."""
    _, n1, n2, n3, n4, _ = torch.bincount(counts.clamp(max=5), minlength=6).tolist()
    found = _FALLBACK
    if n1 and n2 and n3:
        y = n1 / (n1 + 2 * n2)
        estimated = 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3
        # Each is at most its count. One of 0 could leave nothing for the ids that were not seen.
        found = estimated if min(estimated) > 0 else _FALLBACK
    return torch.tensor(found, dtype=torch.float64)
