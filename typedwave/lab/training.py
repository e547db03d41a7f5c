"""Training: the steps of a recipe on a network, and the loss of each."""

from collections.abc import Callable

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import Module

from typedwave.lab.corpus import Examples
from typedwave.lab.recipe import Recipe
from typedwave.lab.steps import compiled_step, eager_step

__all__ = ["DivergedError", "Training", "check_finite"]

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

    Attributes:
        step: How many steps are done.
        steps: How many there are.
    """

    def __init__(
        self,
        network: Module,
        examples: Examples,
        recipe: Recipe,
        *,
        generator: torch.Generator,
        compile: bool = False,  # noqa: A002  # as it is called in torch
    ) -> None:
        self.step = 0
        self.steps = recipe.steps
        self._network = network
        self._examples = examples
        self._recipe = recipe
        self._generator = generator
        self._losses = torch.zeros(recipe.steps)
        self._step = (compiled_step if compile else eager_step)(network, momentum=recipe.momentum)
        self._drawn: list[Examples] = []  # of the steps from self._drawn_from on
        self._drawn_from, self._drawn_until = 0, 0

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
        check_finite(self._losses[began : self.step], self._network, began, self._recipe.rate)

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
        self._drawn_from, self._drawn_until = self.step, self.step + steps
