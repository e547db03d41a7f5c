"""Training on examples: the steps of a recipe on a network, and the loss of each."""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import Module

from typedwave.lab.corpus import Examples
from typedwave.lab.gradients import Gradients
from typedwave.lab.optimizers import SGD, clipped
from typedwave.lab.processes import ALONE, Processes
from typedwave.lab.recipe import Recipe
from typedwave.lab.steps import compiled_step

__all__ = ["DivergedError", "Training", "check_finite"]

NO_PARTS = "a compiled step takes a batch whole, in one process; leave accumulate at 1"

_DRAWN_AT_ONCE = 2**15  # examples; a draw and a gather for each step would be 3 % of it


class DivergedError(ArithmeticError):
    """The loss is not a finite number any more."""


def check_finite(
    losses: Float[Tensor, "N"], network: Module, began: int, rate: Callable[[int], float]
) -> None:
    """Refuses steps that went wrong.

    Args:
        losses: Of the steps from ``began`` on.
        network: After them.
        began: The first of these steps.
        rate: The learning rate of a step.

    Raises:
        DivergedError: A loss or a weight is not finite.
    """
    finite = losses.isfinite()
    if not finite.all():
        first = int(finite.logical_not().nonzero()[0])
        raise DivergedError(
            f"the loss of step {began + first} is {losses[first].item()}, with learning rate "
            f"{rate(began + first):g}; a smaller one may keep it finite"
        )
    if not all(parameter.isfinite().all() for parameter in network.parameters()):
        last = began + len(losses) - 1
        raise DivergedError(
            f"a weight is not finite after step {last}, with learning rate "
            f"{rate(last):g}; a smaller one may keep it finite"
        )


class Training:
    """The steps of a recipe, run in as many pieces as one likes.

    It can be stopped between any two steps, also by a KeyboardInterrupt: ``step`` says how many
    are done, the network has taken them, and their losses are in ``losses``. A step that is cut
    off half way is done again from its batch; batch norm may have counted that batch twice then.

    Args:
        network: Maps contexts to logits; it is trained in place.
        examples: To draw the batches from.
        recipe: How many steps, and of which kind.
        generator: Of the batches: the ids of each are drawn by one `torch.randint`.
        compile: Whether a step is compiled to one graph, which the first step waits for.
        processes: That train together, each of which computes its share of each batch.

    Attributes:
        step: How many steps are done.
        steps: How many there are.

    Raises:
        ValueError: A step is to be compiled, and to be computed in parts.
    """

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
        self.step = 0
        self.steps = recipe.steps
        self._network = network
        self._examples = examples
        self._recipe = recipe
        self._generator = generator
        self._losses = torch.zeros(recipe.steps)
        self._processes = processes
        self._optimizer = SGD(network.parameters(), momentum=recipe.momentum)
        if compile:
            self._step = compiled_step(
                network, self._optimizer, clip=recipe.clip, precision=recipe.precision
            )
        else:
            self._gradients = Gradients(
                network,
                self._optimizer.parameters,
                processes=processes,
                precision=recipe.precision,
            )
            self._step = self._eager_step
        self._drawn: list[Examples] = []  # of the steps from self._drawn_from on
        self._drawn_from, self._drawn_until = 0, 0
        self._drawn_by = generator.get_state()  # from which they were drawn

    @property
    def losses(self) -> Float[Tensor, "N"]:
        """The loss of each step that is done."""
        return self._losses[: self.step]

    def run(self, until: int) -> None:
        """Does the steps up to step ``until``, or to the last one of the recipe.

        Raises:
            DivergedError: A loss in these steps, or a weight after them, is not finite.
            CompilerError: From the first step, where a step is to be compiled and cannot be.
        """
        began, until = self.step, min(until, self._recipe.steps)
        self._network.train()
        while self.step < until:
            contexts, targets = self._batch()
            loss = self._step(contexts, targets, self._recipe.rate(self.step))
            self._losses[self.step] = loss  # kept as a tensor: item() would wait for each
            self.step += 1
        self._processes.sum_(self._losses[began : self.step])
        check_finite(self._losses[began : self.step], self._network, began, self._recipe.rate)

    def rate(self, step: int) -> float:
        """The learning rate of a step; the first is step 0."""
        return self._recipe.rate(step)

    def state(self) -> dict[str, Tensor]:
        """All that the next steps depend on, beside the network and what ``self`` was made of."""
        return {
            **{f"optimizer.{name}": x for name, x in self._optimizer.state().items()},
            "generator": self._drawn_by,
            "drawn_from": torch.tensor(self._drawn_from),
        }

    def restore(self, state: Mapping[str, Tensor], losses: Float[Tensor, "N"]) -> None:
        """Goes on from where a state was taken.

        Args:
            state: Of a training like this one.
            losses: Of the steps that were done.

        Raises:
            KeyError: The state is of another kind of training.
        """
        for name, tensor in self._optimizer.state().items():
            tensor.copy_(state[f"optimizer.{name}"])
        self._drawn_by = state["generator"]
        self._generator.set_state(self._drawn_by)
        self.step = self._drawn_from = self._drawn_until = int(state["drawn_from"])
        if self.step < len(losses):  # else the next batch is the first of those drawn next
            self._draw()
        self.step = len(losses)
        self._losses[: self.step] = losses

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

    def _batch(self) -> Examples:
        if self.step == self._drawn_until:
            self._draw()
        return self._drawn[self.step - self._drawn_from]

    def _draw(self) -> None:
        """Draws the batches of many steps at once; the numbers are those of a draw for each."""
        size = self._recipe.batch_size
        steps = max(1, min(_DRAWN_AT_ONCE // size, self._recipe.steps - self.step))
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
        self._drawn_by, self._drawn_from, self._drawn_until = state, self.step, self.step + steps
