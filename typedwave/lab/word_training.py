"""Training on whole words: every position of a batch of words at once."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from typedwave.lab.optimizers import MuonAndAdam, clipped
from typedwave.lab.recipe import WordsRecipe
from typedwave.lab.sequences import Sequences
from typedwave.lab.training import check_finite
from typedwave.models import MLP, SequenceModel
from typedwave.models.seeding import global_generator
from typedwave.models.sequence import windows

__all__ = ["WordTraining"]


class WordTraining:
    """The steps of a recipe for whole words, run in as many pieces as one likes.

    A batch is of words of nearly one length, in a new order each epoch; for a network of windows,
    of any words. What a step descends is the sum over the positions of its words, divided by how
    many a batch has on average: a batch of long words weighs more, as it does in the loss of all
    words.

    Args:
        network: Is trained in place: a model of sequences, or a network for windows, of which
            those that end at a position of a word are one batch.
        words: To train on; towards the teacher's chances where there are some.
        recipe: How.
        generator: Of the order of the words, and of what dropout leaves out.

    Attributes:
        step: How many steps are done.
        steps: How many there are.
    """

    def __init__(
        self,
        network: SequenceModel | MLP,
        words: Sequences,
        recipe: WordsRecipe,
        *,
        generator: torch.Generator,
    ) -> None:
        self.step = 0
        self.steps = recipe.steps(len(words))
        self._network = network
        self._words = words
        self._recipe = recipe
        self._generator = generator
        self._seed = int(torch.randint(2**62, (), generator=generator))
        self._losses = torch.zeros(self.steps)
        self._optimizer = MuonAndAdam(
            network,
            muon_rate=recipe.muon_rate,
            adam_rate=recipe.adam_rate,
            weight_decay=recipe.weight_decay,
        )
        self._lengths = words.lengths
        batch = min(recipe.batch_size, len(words))
        self._positions = batch * self._lengths.float().mean().item()
        self._batches: list[Tensor] = []  # that are left of this epoch, the next one last

    @property
    def losses(self) -> Float[Tensor, "N"]:
        """The mean loss of the positions of each step that is done."""
        return self._losses[: self.step]

    def run(self, until: int) -> None:
        """Does the steps up to step ``until``, or to the last one.

        Raises:
            DivergedError: A loss in these steps, or a weight after them, is not finite.
        """
        began, until = self.step, min(until, self.steps)
        self._network.train()
        with global_generator(self._words.ids.device) as dropout:
            while self.step < until:
                dropout.manual_seed(self._seed + self.step)
                self._losses[self.step] = self._update(self._words.rows(self._next()))
                self._batches.pop()  # a step that is cut off is done again
                self.step += 1
        check_finite(self._losses[began : self.step], self._network, began, self._rate)

    def _rate(self, step: int) -> float:
        return self._recipe.muon_rate * self._recipe.factor(step, self.steps)

    def _next(self) -> Tensor:
        """The numbers of the words of the next batch."""
        if not self._batches:
            state = self._generator.get_state()
            try:
                self._batches = self._drawn()
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

    def _update(self, words: Sequences) -> Tensor:
        counted = words.counted
        logits = self._logits(words.ids, counted)
        if words.chances is None:
            total = F.cross_entropy(logits, words.targets[counted], reduction="sum")
        else:
            chances = words.chances[counted].to(logits.dtype)
            total = F.cross_entropy(logits, chances, reduction="sum")
        parameters = self._optimizer.parameters
        gradients = torch.autograd.grad(total / self._positions, parameters)
        self._optimizer.step(
            clipped(gradients, self._recipe.clip),
            factor=self._recipe.factor(self.step, self.steps),
        )
        return total.detach() / len(logits)

    def _logits(self, ids: Tensor, counted: Tensor) -> Tensor:
        """Logits ``(N, V)`` for the positions that are no padding."""
        if isinstance(self._network, SequenceModel):
            logits: Tensor = self._network(ids)[counted]
        else:
            logits = self._network(windows(ids, self._network.context)[counted])
        return logits
