"""Layers that hand a hidden state from each position to the next."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import Parameter

from typedwave.contract import Module, typed
from typedwave.nn.streaming import Hidden, state_for

__all__ = ["GRU", "LSTM", "RNN"]


class _Streams(Module):
    """What the recurrent layers have in common: a sequence in pieces, and one of no positions."""

    _tensors: ClassVar[int] = 1  # that go from one position to the next

    input_size: int
    hidden_size: int
    num_layers: int

    def initial_state(self, batch_size: int) -> Hidden:
        """Zeros."""
        return Hidden([self._zeros(batch_size)] * self._tensors)

    @typed
    def stream(
        self, x: Float[Tensor, "B T input_size"], state: Hidden
    ) -> Float[Tensor, "B T hidden_size"]:
        """The result for the next positions; ``state`` moves on."""
        before = state_for(self, state, Hidden, count=self._tensors).tensors
        y: Tensor
        y, after = self(x, before if self._tensors > 1 else before[0])
        state.tensors = after if self._tensors > 1 else (after,)
        return y

    def _zeros(self, batch_size: int) -> Tensor:
        """The hidden state before the first position."""
        weight = next(self.parameters())
        return weight.new_zeros(self.num_layers, batch_size, self.hidden_size)

    def _nothing(self, x: Tensor) -> Tensor:
        """The result for no positions."""
        return x.new_zeros(x.shape[0], 0, self.hidden_size)


class RNN(_Streams, torch.nn.RNN):
    """The recurrent layer of Elman: ``h[t] = tanh(W x[t] + b + U h[t-1] + c)``.

    Args:
        input_size: Channels of the input.
        hidden_size: Channels of the hidden state and of the result.
        num_layers: Layers on top of one another.
        nonlinearity: ``"tanh"`` or ``"relu"``.
        bias: Whether to add b and c.
        dropout: The share of channels left out between layers in training.
        device: Where the parameters are made.
        dtype: Their floating dtype.

    Shape:
        x ``(B, T, input_size)`` and optionally the hidden state before it, ``(num_layers, B,
        hidden_size)``, zeros by default; to ``(B, T, hidden_size)`` and the hidden state after it.

    Attributes:
        weight_ih_l0: ``(hidden_size, input_size)``, uniform in ``±1/sqrt(hidden_size)``.
        weight_hh_l0: ``(hidden_size, hidden_size)``, likewise; and so on for each layer.
        bias_ih_l0: ``(hidden_size,)``, likewise, and ``bias_hh_l0``.

    Raises:
        ValueError: A size is out of range; from torch.
        ShapeError: A shape is wrong.

    Example:
        >>> y, hidden = RNN(10, 68)(torch.zeros(32, 8, 10))
        >>> y.shape, hidden.shape
        (torch.Size([32, 8, 68]), torch.Size([1, 32, 68]))

    Source:
        Elman, "Finding Structure in Time" (1990). `torch.nn.RNN` with ``batch_first``, in one
        direction and without packed sequences, of which it is a subclass; the contract is ours.
    """

    weight_ih_l0: Float[Parameter, "hidden_size input_size"]
    weight_hh_l0: Float[Parameter, "hidden_size hidden_size"]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        *,
        dropout: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            nonlinearity,
            bias,
            batch_first=True,
            dropout=dropout,
            device=device,
            dtype=dtype,
        )

    def forward(  # type: ignore[override]  # no packed sequences
        self,
        x: Float[Tensor, "B T input_size"],
        hidden: Float[Tensor, "{self.num_layers} B hidden_size"] | None = None,
    ) -> tuple[Float[Tensor, "B T hidden_size"], Float[Tensor, "{self.num_layers} B hidden_size"]]:
        if x.shape[1] == 0:  # which torch refuses
            return self._nothing(x), self._zeros(x.shape[0]) if hidden is None else hidden
        return super().forward(x, hidden)


class GRU(_Streams, torch.nn.GRU):
    """Gated recurrent units, with the equations of `torch.nn.GRU`.

    Args:
        input_size: Channels of the input.
        hidden_size: Channels of the hidden state and of the result.
        num_layers: Layers on top of one another.
        bias: Whether there are biases.
        dropout: The share of channels left out between layers in training.
        device: Where the parameters are made.
        dtype: Their floating dtype.

    Shape:
        x ``(B, T, input_size)`` and optionally the hidden state before it, ``(num_layers, B,
        hidden_size)``, zeros by default; to ``(B, T, hidden_size)`` and the hidden state after it.

    Attributes:
        weight_ih_l0: ``(3*hidden_size, input_size)``, uniform in ``±1/sqrt(hidden_size)``; its
            thirds are of the reset gate, the update gate and the new state.
        weight_hh_l0: ``(3*hidden_size, hidden_size)``, likewise; and so on for each layer.
        bias_ih_l0: ``(3*hidden_size,)``, likewise, and ``bias_hh_l0``.

    Raises:
        ValueError: A size is out of range; from torch.
        ShapeError: A shape is wrong.

    Example:
        >>> y, hidden = GRU(10, 68)(torch.zeros(32, 8, 10))
        >>> y.shape, hidden.shape
        (torch.Size([32, 8, 68]), torch.Size([1, 32, 68]))

    Source:
        Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder" (2014).
        `torch.nn.GRU` with ``batch_first``, in one direction and without packed sequences, of which
        it is a subclass; the contract is ours.
    """

    weight_hh_l0: Float[Parameter, "3*{self.hidden_size} hidden_size"]
    weight_ih_l0: Float[Parameter, "3*{self.hidden_size} input_size"]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        *,
        dropout: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first=True,
            dropout=dropout,
            device=device,
            dtype=dtype,
        )

    def forward(  # type: ignore[override]  # no packed sequences
        self,
        x: Float[Tensor, "B T input_size"],
        hidden: Float[Tensor, "{self.num_layers} B hidden_size"] | None = None,
    ) -> tuple[Float[Tensor, "B T hidden_size"], Float[Tensor, "{self.num_layers} B hidden_size"]]:
        if x.shape[1] == 0:  # which torch refuses
            return self._nothing(x), self._zeros(x.shape[0]) if hidden is None else hidden
        return super().forward(x, hidden)


class LSTM(_Streams, torch.nn.LSTM):
    """Long short-term memory, with the equations of `torch.nn.LSTM`.

    Args:
        input_size: Channels of the input.
        hidden_size: Channels of the hidden state, of the cell and of the result.
        num_layers: Layers on top of one another.
        bias: Whether there are biases.
        dropout: The share of channels left out between layers in training.
        device: Where the parameters are made.
        dtype: Their floating dtype.

    Shape:
        x ``(B, T, input_size)`` and optionally hidden state and cell before it, each
        ``(num_layers, B, hidden_size)``, zeros by default; to ``(B, T, hidden_size)`` and the two
        after it.

    Attributes:
        weight_ih_l0: ``(4*hidden_size, input_size)``, uniform in ``±1/sqrt(hidden_size)``; its
            quarters are of the input gate, the forget gate, the cell and the output gate.
        weight_hh_l0: ``(4*hidden_size, hidden_size)``, likewise; and so on for each layer.
        bias_ih_l0: ``(4*hidden_size,)``, likewise, and ``bias_hh_l0``.

    Raises:
        ValueError: A size is out of range; from torch.
        ShapeError: A shape is wrong.

    Example:
        >>> y, (hidden, cell) = LSTM(10, 68)(torch.zeros(32, 8, 10))
        >>> y.shape, hidden.shape, cell.shape
        (torch.Size([32, 8, 68]), torch.Size([1, 32, 68]), torch.Size([1, 32, 68]))

    Source:
        Hochreiter and Schmidhuber, "Long Short-Term Memory" (1997). `torch.nn.LSTM` with
        ``batch_first``, in one direction and without packed sequences, of which it is a subclass;
        the contract is ours.
    """

    _tensors = 2

    weight_hh_l0: Float[Parameter, "4*{self.hidden_size} hidden_size"]
    weight_ih_l0: Float[Parameter, "4*{self.hidden_size} input_size"]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        *,
        dropout: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first=True,
            dropout=dropout,
            device=device,
            dtype=dtype,
        )

    def forward(  # type: ignore[override]  # no packed sequences
        self,
        x: Float[Tensor, "B T input_size"],
        hidden: tuple[
            Float[Tensor, "{self.num_layers} B hidden_size"],
            Float[Tensor, "{self.num_layers} B hidden_size"],
        ]
        | None = None,
    ) -> tuple[
        Float[Tensor, "B T hidden_size"],
        tuple[
            Float[Tensor, "{self.num_layers} B hidden_size"],
            Float[Tensor, "{self.num_layers} B hidden_size"],
        ],
    ]:
        if x.shape[1] == 0:  # which torch refuses
            zeros = self._zeros(x.shape[0])
            return self._nothing(x), (zeros, zeros) if hidden is None else hidden
        return super().forward(x, hidden)
