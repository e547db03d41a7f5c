"""Training on examples: the steps of a recipe on a network, and the loss of each."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor
from torch.nn import Module

from typedwave.lab.training.compiled import compiled_step
from typedwave.lab.training.gradients import Gradients
from typedwave.lab.training.optimizers import SGD, clipped
from typedwave.lab.training.processes import ALONE, Processes
from typedwave.lab.training.recipe import Recipe
from typedwave.lab.training.stepped import Stepped
from typedwave.lab.words.corpus import Examples

__all__ = ["Training"]

NO_PARTS = "a compiled step takes a batch whole, in one process; leave accumulate at 1"

_DRAWN_AT_ONCE = 2**15  # examples; a draw and a gather for each step would be 3 % of it


class Training(Stepped):
    """The steps of a recipe on examples.

    Args:
        network: Maps contexts to logits; it is trained in place.
        examples: To draw the batches from.
        recipe: How many steps, and of which kind.
        generator: Of the batches: the ids of each are drawn by one `torch.randint`.
        compile: Whether a step is compiled to one graph, which the first step waits for, and which
            is a `CompilerError` where it cannot be.
        processes: That train together, each of which computes its share of each batch.

    Raises:
        ValueError: A step is to be compiled, and to be computed in parts.
    """

    _optimizer: SGD

    def __init__(
        self,
        network: Module,
        examples: Examples,
        recipe: Recipe,
        *,
        generator: torch.Generator,
        compile: bool = False,  # noqa: A002  # as it is called in torch
        processes: Processes = ALONE,
    ) -> None:
        if compile and (recipe.accumulate > 1 or processes.count > 1):
            raise ValueError(NO_PARTS)
        optimizer = SGD(network.parameters(), momentum=recipe.momentum)
        super().__init__(network, recipe.steps, optimizer, generator, processes)
        self._examples = examples
        self._recipe = recipe
        if compile:
            self._step = compiled_step(
                network, optimizer, clip=recipe.clip, precision=recipe.precision
            )
        else:
            self._gradients = Gradients(
                network,
                optimizer.parameters,
                processes=processes,
                precision=recipe.precision,
            )
            self._step = self._eager_step
        self._drawn: list[Examples] = []  # of the steps from self._drawn_from on
        self._drawn_from, self._drawn_until = 0, 0

    def rate(self, step: int) -> float:
        """The learning rate of a step; the first is step 0."""
        return self._recipe.rate(step)

    def _descend(self) -> Tensor:
        if self.step == self._drawn_until:
            self._draw(self.step)
        contexts, targets = self._drawn[self.step - self._drawn_from]
        return self._step(contexts, targets, self._recipe.rate(self.step))

    def _drawn_state(self) -> dict[str, Tensor]:
        return {"drawn_from": torch.tensor(self._drawn_from)}

    def _draw_again(self, state: Mapping[str, Tensor]) -> None:
        self._drawn_from = self._drawn_until = int(state["drawn_from"])
        if self._drawn_from < self.step:  # else the next batch is the first of those drawn next
            self._draw(self._drawn_from)

    def _eager_step(self, contexts: Tensor, targets: Tensor, rate: float) -> Tensor:
        parts: list[Examples] = [Examples(contexts, targets)]
        if self._recipe.accumulate > 1 or self._processes.count > 1:
            cut = [
                self._processes.share(x).tensor_split(self._recipe.accumulate)
                for x in (contexts, targets)
            ]
            parts = [Examples(*part) for part in zip(*cut, strict=True)]
        loss, gradients = self._gradients(parts, self._loss)
        self._optimizer.step(clipped(gradients, self._recipe.clip), rate)
        return loss

    def _loss(self, network: Module, part: Examples) -> Tensor:
        """What a part adds to the mean loss of the batch."""
        logits, whole = network(part.contexts), self._recipe.batch_size
        if len(part.targets) == whole:
            return F.cross_entropy(logits, part.targets)
        return F.cross_entropy(logits, part.targets, reduction="sum") / whole

    def _draw(self, first: int) -> None:
        """Draws the batches of many steps at once; the numbers are those of a draw for each."""
        size = self._recipe.batch_size
        steps = max(1, min(_DRAWN_AT_ONCE // size, self.steps - first))
        count = len(self._examples.targets)
        state = self._generator.get_state()
        try:
            ids = torch.randint(0, count, (steps * size,), generator=self._generator)
            contexts, targets = (part[ids] for part in self._examples)
            batches = (
                rearrange(contexts, "(n b) t -> n b t", b=size),
                rearrange(targets, "(n b) -> n b", b=size),
            )
            self._drawn = [Examples(*batch) for batch in zip(*batches, strict=True)]
        except BaseException:  # a Ctrl-C in here must not skip what was drawn
            self._generator.set_state(state)
            raise
        self._drawn_by, self._drawn_from, self._drawn_until = state, first, first + steps
