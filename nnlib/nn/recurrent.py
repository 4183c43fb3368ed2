"""Recurrent layers: simple networks, LSTM and GRU, over whole sequences (batch, time, features)."""

from __future__ import annotations

from typing import Any

from nnlib import ops
from nnlib.autograd import Tensor
from nnlib.errors import DTypeError, OptionError, ShapeError
from nnlib.nn import functional as F
from nnlib.nn import init
from nnlib.nn.functional.checks import (
    TensorLike,
    as_tensor,
    check_choice,
    check_fraction,
    check_numbers,
    check_range,
    floating,
)
from nnlib.nn.module import Module
from nnlib.nn.parameter import Parameter

__all__ = ["GRU", "LSTM", "RNN"]


class _Recurrent(Module):
    """Stacked layers, each in one direction or both; subclasses define the cell."""

    gates = 1  #: rows of the weights as a multiple of the hidden size
    states = 1  #: number of arrays in a state

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
    ) -> None:
        super().__init__()
        if not batch_first:
            raise OptionError("sequences are (batch, time, features). Received: batch_first=False")
        check_numbers(num_layers=num_layers, hidden_size=hidden_size)
        if num_layers < 1 or hidden_size < 1:
            raise OptionError(
                "num_layers and hidden_size must be at least 1. "
                f"Received: {num_layers} and {hidden_size}"
            )
        check_fraction(dropout, "dropout")
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.dropout, self.bidirectional = bias, dropout, bidirectional
        self.directions = 2 if bidirectional else 1
        for layer in range(num_layers):
            size = input_size if layer == 0 else hidden_size * self.directions
            for direction in range(self.directions):
                self._add_weights(size, self._suffix(layer, direction))
        self.reset_parameters()

    @staticmethod
    def _suffix(layer: int, direction: int) -> str:
        return f"_l{layer}" + ("_reverse" if direction else "")

    def _add_weights(self, size: int, suffix: str) -> None:
        rows = self.gates * self.hidden_size
        setattr(self, f"weight_ih{suffix}", Parameter(init.empty(rows, size)))
        setattr(self, f"weight_hh{suffix}", Parameter(init.empty(rows, self.hidden_size)))
        if self.bias:
            setattr(self, f"bias_ih{suffix}", Parameter(init.empty(rows)))
            setattr(self, f"bias_hh{suffix}", Parameter(init.empty(rows)))

    def reset_parameters(self) -> None:
        """Draw new initial values, uniform in ± 1/√hidden_size as in PyTorch."""
        bound = self.hidden_size**-0.5
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def _weights(self, suffix: str) -> list[Parameter | None]:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return [getattr(self, name + suffix, None) for name in names]

    def _scan(
        self, x: Tensor, starts: list[Tensor | None], lengths: Tensor | None, suffix: str,
        reverse: bool,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """Return the states after every step, the output first."""
        raise TypeError(f"{type(self).__name__} must define _scan()")

    def _run(
        self, x: TensorLike, starts: list[Tensor | None], lengths: TensorLike | None
    ) -> tuple[Tensor, list[Tensor]]:
        """Return outputs (B, T, directions · H) and final states (layers · directions, B, H)."""
        x = self._check(x, starts)
        lengths = None if lengths is None else _lengths(lengths, x)
        finals: list[list[Tensor]] = [[] for _ in range(self.states)]
        for layer in range(self.num_layers):
            if layer and self.dropout:
                x = F.dropout(x, self.dropout, self.training)
            outputs = []
            for direction in range(self.directions):
                index = layer * self.directions + direction
                start = [None if s is None else s[index] for s in starts]
                found = self._scan(
                    x, start, lengths, self._suffix(layer, direction), direction == 1
                )
                outputs.append(found[0])
                for final, states in zip(finals, found, strict=True):
                    final.append(states[:, 0 if direction else -1])
            x = outputs[0] if len(outputs) == 1 else ops.concatenate(outputs, axis=-1)
        if lengths is not None:
            steps = Tensor(x.backend.xp.arange(x.shape[1]), x.backend)
            present = steps < ops.expand_dims(lengths, axis=-1)
            x = ops.where(ops.expand_dims(present, axis=-1), x, 0.0)
        return x, [ops.stack(final) for final in finals]

    def _check(self, x: TensorLike, starts: list[Tensor | None]) -> Tensor:
        x = floating(x, type(self).__name__)
        if x.ndim != 3 or x.shape[1] == 0 or x.shape[2] != self.input_size:
            raise ShapeError(
                f"the input must be (batch, time ≥ 1, {self.input_size}). "
                f"Received: {x.dtype} {x.shape}"
            )
        wanted = (self.num_layers * self.directions, x.shape[0], self.hidden_size)
        for start in starts:
            if start is not None and start.shape != wanted:
                raise ShapeError(
                    "a state must be (layers · directions, batch, hidden_size) = "
                    f"{wanted}. Received: {start.shape}"
                )
        return x

    def extra_repr(self) -> str:
        """Return the options."""
        options = [f"{self.input_size}, {self.hidden_size}"]
        usual = {"num_layers": 1, "bias": True, "dropout": 0.0, "bidirectional": False}
        options += [f"{n}={getattr(self, n)}" for n, v in usual.items() if getattr(self, n) != v]
        return ", ".join(options)


def _lengths(lengths: TensorLike, x: Tensor) -> Tensor:
    lengths = as_tensor(lengths, x)
    if lengths.dtype.kind not in "iu" or lengths.shape != x.shape[:1]:
        kind = DTypeError if lengths.dtype.kind not in "iu" else ShapeError
        raise kind(
            f"lengths must be {x.shape[0]} integers. Received: {lengths.dtype} {lengths.shape}"
        )
    check_range(lengths, 0, x.shape[1], OptionError, "lengths")
    return lengths


def _state(state: Any, x: TensorLike) -> Tensor | None:
    return None if state is None else as_tensor(state)


class RNN(_Recurrent):
    """Simple recurrent network (Elman, 1990): ``h ← tanh(W x + b + R h + d)``.

    Parameters
    ----------
    input_size, hidden_size : int
        Features of an input and of the state.
    num_layers : int
        Number of layers; each has the states of the one below as input.
    nonlinearity : {"tanh", "relu"}
    bias : bool
        Whether there are b and d.
    batch_first : bool
        Must be true: the first axis is the batch.  (In PyTorch it is false by default.)
    dropout : float
        Probability of dropping a value between layers, in training.
    bidirectional : bool
        Whether a second network reads every sequence backwards; the outputs are concatenated.

    Attributes
    ----------
    weight_ih_l{k}, weight_hh_l{k} : Parameter
        W (hidden_size, inputs) and R (hidden_size, hidden_size) of layer k.
    bias_ih_l{k}, bias_hh_l{k} : Parameter, (hidden_size,)
        b and d.  If bidirectional, all names also with ``_reverse``.

    Raises
    ------
    OptionError
        If an option is out of range; when called, if a length is (checked on the CPU only).
    ShapeError, DTypeError
        When called, if the shapes do not fit, or the lengths are no integers.

    Examples
    --------
    >>> import nnlib
    >>> y, h = RNN(3, 5)(nnlib.ones(2, 7, 3))
    >>> y.shape, h.shape
    ((2, 7, 5), (1, 2, 5))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
    ) -> None:
        check_choice(nonlinearity, ("tanh", "relu"), "nonlinearity")
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional
        )
        self.nonlinearity = nonlinearity

    def forward(
        self,
        x: TensorLike,
        state: TensorLike | None = None,
        lengths: TensorLike | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run all sequences.

        Parameters
        ----------
        x : Tensor, (B, T, input_size)
        state : Tensor, (num_layers · directions, B, hidden_size), optional
            Initial state, 0 if not given.  To cut the gradient between pieces of a long sequence,
            pass the last final state detached.
        lengths : (B,) integers, optional
            Number of steps of each sequence; later outputs are 0.

        Returns
        -------
        y : Tensor, (B, T, directions · hidden_size)
            The last layer's states.
        state : Tensor, (num_layers · directions, B, hidden_size)
            States after the last step of each sequence.
        """
        y, (h,) = self._run(x, [_state(state, x)], lengths)
        return y, h

    def _scan(
        self, x: Tensor, starts: list[Tensor | None], lengths: Tensor | None, suffix: str,
        reverse: bool,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        options = {"nonlinearity": self.nonlinearity, "reverse": reverse}
        return (ops.rnn(x, *self._weights(suffix), *starts, lengths, **options),)


class GRU(_Recurrent):
    """Gated recurrent unit (Cho et al., 2014), in PyTorch's form.

    ``r, z`` = σ(W x + b + R h + d), ``n`` = tanh(W x + b + r (R h + d)), ``h ← (1 − z) n + z h``;
    the weights are in three parts in the order r, z, n.

    Parameters, attributes and errors are those of `RNN`, without ``nonlinearity``; the weights
    have 3 · hidden_size rows.

    Examples
    --------
    >>> import nnlib
    >>> y, h = GRU(3, 5, num_layers=2, bidirectional=True)(nnlib.ones(2, 7, 3))
    >>> y.shape, h.shape
    ((2, 7, 10), (4, 2, 5))
    """

    gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
    ) -> None:
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional
        )

    def forward(
        self,
        x: TensorLike,
        state: TensorLike | None = None,
        lengths: TensorLike | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run all sequences; see `RNN.forward`."""
        y, (h,) = self._run(x, [_state(state, x)], lengths)
        return y, h

    def _scan(
        self, x: Tensor, starts: list[Tensor | None], lengths: Tensor | None, suffix: str,
        reverse: bool,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        return (ops.gru(x, *self._weights(suffix), *starts, lengths, reverse=reverse),)


class LSTM(_Recurrent):
    """Long short-term memory (Hochreiter & Schmidhuber, 1997) with forget gate (Gers et al., 2000).

    ``i, f, o`` = σ(W x + b + R h + d), ``g`` = tanh(W x + b + R h + d), ``c ← f c + i g``,
    ``h ← o tanh(c)``; the weights are in four parts in the order i, f, g, o.

    Parameters, attributes and errors are those of `RNN`, without ``nonlinearity``; the weights
    have 4 · hidden_size rows.

    Parameters
    ----------
    input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional
        See `RNN`.
    peepholes : bool
        Whether the gates i and f depend on the old cell state and o on the new one (Gers &
        Schmidhuber, 2000), with ``weight_peephole_l{k}`` (3 · hidden_size,) in the order i, f, o.

    Examples
    --------
    >>> import nnlib
    >>> y, (h, c) = LSTM(3, 5)(nnlib.ones(2, 7, 3), lengths=[7, 4])
    >>> y.shape, h.shape, c.shape
    ((2, 7, 5), (1, 2, 5), (1, 2, 5))
    """

    gates, states = 4, 2

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        peepholes: bool = False,
    ) -> None:
        self.peepholes = peepholes
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional
        )

    def _add_weights(self, size: int, suffix: str) -> None:
        super()._add_weights(size, suffix)
        if self.peepholes:
            weight = Parameter(init.empty(3 * self.hidden_size))
            setattr(self, f"weight_peephole{suffix}", weight)

    def forward(
        self,
        x: TensorLike,
        state: tuple[TensorLike, TensorLike] | None = None,
        lengths: TensorLike | None = None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Run all sequences; see `RNN.forward`.

        The state is a pair: h, the output, and c, the cell.
        """
        starts: list[Tensor | None] = [None, None]
        if state is not None:
            if not isinstance(state, tuple | list) or len(state) != 2:
                raise OptionError("the state of an LSTM is a pair (h, c)")
            starts = [_state(part, x) for part in state]
        y, (h, c) = self._run(x, starts, lengths)
        return y, (h, c)

    def _scan(
        self, x: Tensor, starts: list[Tensor | None], lengths: Tensor | None, suffix: str,
        reverse: bool,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        peepholes = getattr(self, f"weight_peephole{suffix}", None)
        weights = self._weights(suffix)
        states = ops.lstm(x, *weights, *starts, lengths, peepholes, reverse=reverse)
        return states[0], states[1]

    def extra_repr(self) -> str:
        """Return the options."""
        return super().extra_repr() + (", peepholes=True" if self.peepholes else "")
