"""A recurrent network for regression on whole sequences."""

from __future__ import annotations

from nnlib import nn
from nnlib.autograd import Tensor, no_grad
from nnlib.errors import OptionError
from nnlib.models.charrnn import CELLS
from nnlib.nn.functional.checks import TensorLike, check_choice

__all__ = ["SequenceRegressor"]


_GATES = {"lstm": {"input_bias": 0, "forget_bias": 1}, "gru": {"forget_bias": 1}, "rnn": {}}
"""Cell → option → place of the gate: LSTMs have i, f, g, o and GRUs r, z, n."""


class SequenceRegressor(nn.Module):
    """Recurrent layers over a sequence, and a linear layer on the last state.

    Parameters
    ----------
    inputs : int
        Features of each step.
    outputs : int
        Number of outputs.
    width : int
        Features of a state.
    layers : int
        Recurrent layers.
    cell : {"lstm", "gru", "rnn"}
    dropout : float
        Between layers and before the output, in training.
    input_bias, forget_bias : float, optional
        Initial biases of an LSTM's input and forget gates; random like all others if not given.
        For long memory use a negative input bias (Hochreiter & Schmidhuber, 1997: −3, −6, …) and a
        positive forget bias (Gers, Schmidhuber & Cummins, 2000), such as −2 and log T for T steps.
        A GRU has one gate for both, z, which ``forget_bias`` sets.

    Attributes
    ----------
    recurrent : nn.LSTM, nn.GRU or nn.RNN
    output : nn.Linear

    Raises
    ------
    OptionError
        If the cell is unknown, or does not have the gate.

    Examples
    --------
    >>> import nnlib
    >>> model = SequenceRegressor(2, width=16, input_bias=-2.0, forget_bias=5.0)
    >>> model(nnlib.zeros(3, 110, 2), lengths=[110, 100, 105]).shape
    (3, 1)
    """

    def __init__(
        self,
        inputs: int,
        outputs: int = 1,
        width: int = 32,
        layers: int = 1,
        cell: str = "lstm",
        dropout: float = 0.0,
        input_bias: float | None = None,
        forget_bias: float | None = None,
    ) -> None:
        super().__init__()
        check_choice(cell, tuple(CELLS), "cell")
        self.recurrent = CELLS[cell](inputs, width, num_layers=layers, dropout=dropout)
        self.drop = nn.Dropout(dropout)
        self.output = nn.Linear(width, outputs)
        for name, value in (("input_bias", input_bias), ("forget_bias", forget_bias)):
            if value is not None:
                if name not in _GATES[cell]:
                    raise OptionError(f"cell={cell!r} has no {name}. Received: {value}")
                self._start_gate(_GATES[cell][name], value)

    def forward(self, x: TensorLike, lengths: TensorLike | None = None) -> Tensor:
        """(B, T, inputs) and the number of steps of each sequence → (B, outputs)."""
        _, state = self.recurrent(x, lengths=lengths)
        hidden = state[0] if isinstance(state, tuple) else state  # (layers, B, width)
        return self.output(self.drop(hidden[-1]))  # type: ignore[no-any-return]

    def _start_gate(self, gate: int, value: float) -> None:
        """Set the bias of a gate, the sum of two vectors, in all layers."""
        size = self.recurrent.hidden_size
        for name, parameter in self.recurrent.named_parameters():
            if name.startswith("bias"):
                with no_grad():
                    parameter[gate * size : (gate + 1) * size] = value * name.startswith("bias_ih")
