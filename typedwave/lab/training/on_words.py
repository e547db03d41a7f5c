"""Training on whole words: every position of a batch of words at once."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Module

from typedwave.lab.training.gradients import Gradients
from typedwave.lab.training.optimizers import MuonAndAdam, clipped
from typedwave.lab.training.processes import ALONE, Processes
from typedwave.lab.training.recipe import WordsRecipe
from typedwave.lab.training.stepped import Stepped
from typedwave.lab.words.sequences import Sequences
from typedwave.models import MLP, SequenceModel
from typedwave.models.seeding import global_generator
from typedwave.models.sequence import windows

__all__ = ["WordTraining"]


class WordTraining(Stepped):
    """The steps of a recipe for whole words.

    A batch is of words of nearly one length, in a new order each epoch; for a network of windows,
    of any words. What a step descends is the sum over the positions of its words, divided by how
    many a batch has on average: a batch of long words weighs more, as it does in the loss of all
    words. The loss of a step is the mean of its positions.

    Args:
        network: Is trained in place: a model of sequences, or a network for windows, of which
            those that end at a position of a word are one batch.
        words: To train on; towards the teacher's chances where there are some.
        recipe: How.
        generator: Of the order of the words, and of what dropout leaves out.
        processes: That train together, each of which computes its share of each batch. What dropout
            leaves out is drawn by each for itself.
    """

    _network: SequenceModel | MLP
    _optimizer: MuonAndAdam

    def __init__(
        self,
        network: SequenceModel | MLP,
        words: Sequences,
        recipe: WordsRecipe,
        *,
        generator: torch.Generator,
        processes: Processes = ALONE,
    ) -> None:
        self._seed = int(torch.randint(2**62, (), generator=generator))
        optimizer = MuonAndAdam(
            network,
            muon_rate=recipe.muon_rate,
            adam_rate=recipe.adam_rate,
            weight_decay=recipe.weight_decay,
        )
        super().__init__(network, recipe.steps(len(words)), optimizer, generator, processes)
        self._words = words
        self._recipe = recipe
        self._gradients = Gradients(
            network,
            optimizer.parameters,
            processes=processes,
            precision=recipe.precision,
        )
        self._lengths = words.lengths.cpu()  # where the numbers of words are drawn
        batch = min(recipe.batch_size, len(words))
        self._positions = batch * self._lengths.float().mean().item()
        self._batches: list[Tensor] = []  # that are left of this epoch, the next one last

    def rate(self, step: int) -> float:
        """The learning rate of Muon in a step; the first is step 0."""
        return self._recipe.muon_rate * self._recipe.factor(step, self.steps)

    def run(self, until: int) -> None:
        """As `Stepped.run`; the global generator is as before."""
        with global_generator(self._words.ids.device) as self._dropout:
            super().run(until)

    def _descend(self) -> Tensor:
        number = self.step * self._processes.count + self._processes.rank
        self._dropout.manual_seed(self._seed + number)
        loss = self._update(self._next())
        self._batches.pop()  # a step that is cut off is done again
        return loss

    def _drawn_state(self) -> dict[str, Tensor]:
        return {"left": torch.tensor(len(self._batches))}

    def _draw_again(self, state: Mapping[str, Tensor]) -> None:
        left = int(state["left"])
        # Before the first step nothing was drawn; after the last one of an epoch, none is left.
        self._batches = self._drawn()[:left] if self.step or left else []

    def _next(self) -> Tensor:
        """The numbers of the words of the next batch."""
        if not self._batches:
            state = self._generator.get_state()
            try:
                self._batches = self._drawn()
                self._drawn_by = state
            except BaseException:  # a Ctrl-C in here must not skip what was drawn
                self._generator.set_state(state)
                raise
        return self._batches[-1]

    def _drawn(self) -> list[Tensor]:
        """The numbers of the words of each batch of an epoch."""
        order = torch.randperm(len(self._words), generator=self._generator)
        # By length, so that nothing is computed for padding. Windows have none, and batch norm must
        # not see the words of one length only.
        if isinstance(self._network, SequenceModel):
            order = order[self._lengths[order].argsort(stable=True)]
        batches = torch.split(order, self._recipe.batch_size)
        shuffled = torch.randperm(len(batches), generator=self._generator)
        return [batches[i] for i in shuffled.tolist()]

    def _update(self, numbers: Tensor) -> Tensor:
        """Descends the loss of the words of these numbers; returns it, or the share of it."""
        loss, gradients = self._gradients(self._parts(numbers), self._loss, divisor=self._positions)
        self._optimizer.step(
            clipped(gradients, self._recipe.clip),
            factor=self._recipe.factor(self.step, self.steps),
        )
        return loss / int(self._lengths[numbers].sum())

    def _parts(self, numbers: Tensor) -> list[tuple[Tensor, float]]:
        """The words of each part, and what their loss counts: 0 for one that stands in for none."""
        parts = self._processes.share(numbers).tensor_split(self._recipe.accumulate)
        if self._processes.count == 1:
            return [(part, 1.0) for part in parts if len(part)]
        if isinstance(self._network, SequenceModel):  # which need a position at least
            return [(part, 1.0) if len(part) else (numbers[:1], 0.0) for part in parts]
        return [(part, 1.0) for part in parts]

    def _loss(self, network: Module, part: tuple[Tensor, float]) -> Tensor:
        """The sum of the losses of all positions that are no padding."""
        numbers, weight = part
        words = self._words.rows(numbers)
        counted = words.counted
        logits = self._logits(network, words.ids, counted)
        if words.chances is None:
            total = F.cross_entropy(logits, words.targets[counted], reduction="sum")
        else:
            chances = words.chances[counted].to(logits.dtype)
            total = F.cross_entropy(logits, chances, reduction="sum")
        return total if weight == 1.0 else total * weight

    def _logits(self, network: Module, ids: Tensor, counted: Tensor) -> Tensor:
        """Logits ``(N, V)`` for the positions that are no padding."""
        if isinstance(self._network, SequenceModel):
            logits: Tensor = network(ids)[counted]
        else:
            logits = network(windows(ids, self._network.context)[counted])
        return logits
