"""What trainings in steps have in common: where they are, and how they are gone on with."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import Module

from typedwave.lab.training.optimizers import SGD, MuonAndAdam
from typedwave.lab.training.processes import Processes

__all__ = ["DivergedError", "Stepped"]

_MOST_FRESH = 1024  # losses that are not yet gathered into one tensor


class DivergedError(ArithmeticError):
    """The loss is not a finite number any more."""


class Stepped(ABC):
    """A training in steps, run in as many pieces as one likes.

    It can be stopped between any two steps, also by a KeyboardInterrupt: ``step`` says how many
    are done, the network has taken them, and their losses are in ``losses``. A step that is cut
    off half way is done again from its batch; batch norm may have counted that batch twice then.

    Args:
        network: Is trained in place.
        steps: How many there are.
        optimizer: Of its parameters.
        generator: Of what is drawn.
        processes: That train together, each of which computes its share of each batch.

    Attributes:
        step: How many steps are done.
        steps: As given.
    """

    def __init__(
        self,
        network: Module,
        steps: int,
        optimizer: SGD | MuonAndAdam,
        generator: torch.Generator,
        processes: Processes,
    ) -> None:
        self.step, self.steps = 0, steps
        self._network = network
        self._losses = torch.zeros(steps)
        self._gathered = 0  # steps whose losses are in there
        self._fresh: list[Tensor] = []  # those of the steps after them, each where it was computed
        self._optimizer = optimizer
        self._generator = generator
        self._drawn_by = generator.get_state()  # from which what is drawn already was
        self._processes = processes

    @property
    def losses(self) -> Float[Tensor, "N"]:
        """The loss of each step that is done."""
        self._gather()
        return self._losses[: self.step]

    def _gather(self) -> None:
        """Brings the losses of the steps that are done into one tensor.

        The loss of a step that was cut off before it counted is dropped: it is done again.
        """
        fresh = self._fresh[: self.step - self._gathered]
        if fresh:
            self._losses[self._gathered : self.step] = torch.stack(fresh)
            self._gathered = self.step
        self._fresh = []

    @abstractmethod
    def rate(self, step: int) -> float:
        """The learning rate of a step; the first is step 0."""

    def run(self, until: int) -> None:
        """Does the steps up to step ``until``, or to the last one.

        Raises:
            DivergedError: A loss in these steps, or a weight after them, is not finite.
        """
        began, until = self.step, min(until, self.steps)
        self._network.train()
        self._gather()
        while self.step < until:
            self._fresh.append(self._descend())  # a tensor: item() would wait for each
            self.step += 1
            if len(self._fresh) == _MOST_FRESH:
                self._gather()
        losses = self._processes.sum_(self.losses[began:])
        finite = losses.isfinite()
        if not finite.all():
            first = int(finite.logical_not().nonzero()[0])
            raise DivergedError(
                f"the loss of step {began + first} is {losses[first].item()}, with learning rate "
                f"{self.rate(began + first):g}; a smaller one may keep it finite"
            )
        if not all(parameter.isfinite().all() for parameter in self._network.parameters()):
            last = began + len(losses) - 1
            raise DivergedError(
                f"a weight is not finite after step {last}, with learning rate "
                f"{self.rate(last):g}; a smaller one may keep it finite"
            )

    @abstractmethod
    def _descend(self) -> Tensor:
        """Does the next step; returns the loss before it, or this process's share of it."""

    def state(self) -> dict[str, Tensor]:
        """All that the next steps depend on, beside the network and what ``self`` was made of."""
        return {
            **{f"optimizer.{name}": x for name, x in self._optimizer.state().items()},
            "generator": self._drawn_by,
            **self._drawn_state(),
        }

    @abstractmethod
    def _drawn_state(self) -> dict[str, Tensor]:
        """How much of what was drawn is left."""

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
        self.step = len(losses)
        self._losses[: self.step] = losses
        self._gathered, self._fresh = self.step, []
        self._draw_again(state)

    @abstractmethod
    def _draw_again(self, state: Mapping[str, Tensor]) -> None:
        """Draws what was drawn when a state was taken, from the generator as it was before."""
