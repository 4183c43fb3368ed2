"""Hopfield networks: the binary one of 1982 and the continuous one of 2021."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from nnlib import nn, ops
from nnlib.arguments import positive_integer
from nnlib.autograd import Tensor, no_grad, tensor, zeros
from nnlib.errors import OptionError, ShapeError
from nnlib.nn import functional as F
from nnlib.nn.functional.checks import TensorLike, as_tensor, check_choice, floating
from nnlib.random import Generator, default_generator
from nnlib.tracing import refuse_reading
from nnlib_backends import Backend
from nnlib_backends.base import Array

__all__ = ["RULES", "Hopfield", "ModernHopfield", "Recall"]

MODES = ("asynchronous", "synchronous")
BLOCK = 32  # neurons whose fields one matrix product computes, see _one_by_one


class Recall(NamedTuple):
    """Result of recall, for each probe.

    Attributes
    ----------
    states : Tensor, (B, N)
        The last states.
    steps : Tensor of integers, (B,)
        Number of steps until the final state: 0 for a probe that is a fixed point,
        ``max_steps`` without convergence.
    period : Tensor of integers, (B,)
        1: a fixed point.  2: two alternating states (synchronous recall only).  0: no
        convergence in ``max_steps`` steps.
    """

    states: Tensor
    steps: Tensor
    period: Tensor


class Hopfield(nn.Module):
    """Binary associative memory: N neurons of ±1, each connected with all others (Hopfield, 1982).

    A neuron takes the sign of its field ``h[i] = Σⱼ W[i, j] s[j]``, and keeps its state where the
    field is 0.  Weights are symmetric without self-connections, so every change of one neuron
    lowers the energy ``E = −½ Σᵢⱼ W[i, j] s[i] s[j]``: states run downhill to a fixed point, which
    is a stored pattern if there are not too many.  With Hebb's rule that is about 0.138 N random
    ones (Amit, Gutfreund & Sompolinsky, 1985).

    Parameters
    ----------
    size : int
        N, the number of neurons.

    Attributes
    ----------
    weight : Tensor, (N, N)
        A buffer: it is not learned by gradients, but saved and moved with the module.

    Raises
    ------
    OptionError
        If the size is not positive.

    Notes
    -----
    J. J. Hopfield, "Neural networks and physical systems with emergent collective computational
    abilities", PNAS 79 (1982); without thresholds, and with W divided by N.

    Examples
    --------
    >>> patterns = [[1, 1, 1, -1, -1, -1], [1, -1, 1, -1, 1, -1]]
    >>> memory = Hopfield(6).store(patterns)
    >>> memory([[1, 1, 1, -1, -1, 1]])  # the first one, with an error in the last place
    tensor([[ 1.,  1.,  1., -1., -1., -1.]])
    """

    weight: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        positive_integer("size", size)
        self.size = size
        self.register_buffer("weight", zeros(size, size))

    def store(self, patterns: TensorLike, rule: str = "hebbian") -> Hopfield:
        """Set the weights so that patterns become fixed points; earlier patterns are lost.

        Parameters
        ----------
        patterns : (P, N)
            Of 1 and −1.
        rule : {"hebbian", "projection"}
            Hebb's rule, ``W = Σ ξ ξᵀ / N``, adds the patterns; similar patterns interfere.  The
            projection (pseudo-inverse) rule, ``W = Ξᵀ (Ξ Ξᵀ)⁻¹ Ξ`` (Personnaz, Guyon & Dreyfus,
            1986), makes every pattern a fixed point, however similar, up to N linearly
            independent ones; with more than about N/2 it hardly corrects errors.  The diagonal is
            set to 0 in both, for the projection after Kanter and Sompolinsky (1987).

        Returns
        -------
        Hopfield
            Itself.

        Raises
        ------
        OptionError
            If the rule is unknown, or a value is not ±1.
        ShapeError
            If the patterns are not (P, N).

        Examples
        --------
        >>> Hopfield(3).store([[1, 1, -1]]).weight * 3
        tensor([[ 0.,  1., -1.],
                [ 1.,  0., -1.],
                [-1., -1.,  0.]])
        """
        check_choice(rule, tuple(RULES), "rule")
        patterns = self._states(patterns, "patterns")
        if not len(patterns):
            raise ShapeError(f"store needs a pattern at least. Received: {patterns.shape}")
        xp = self.weight.backend.xp
        W = RULES[rule](xp, patterns.data) * (1 - xp.eye(self.size))
        with no_grad():
            self.weight.copy_(W.astype(self.weight.dtype))
        return self

    def energy(self, states: TensorLike) -> Tensor:
        """Energy ``−½ sᵀ W s`` of every state: (B, N) → (B,).

        Examples
        --------
        >>> memory = Hopfield(4).store([[1, 1, -1, -1]])
        >>> memory.energy([[1, 1, -1, -1], [1, -1, -1, 1]])  # the pattern, and one unlike it
        tensor([-1.5,  0.5])
        """
        states = self._states(states, "states")
        return ops.sum(ops.matmul(states, self.weight) * states, axis=1) * -0.5

    def update(self, states: TensorLike, neurons: Sequence[int] | None = None) -> Tensor:
        """Update neurons one after the other, or all at once.

        Parameters
        ----------
        states : (B, N)
            Of 1 and −1.
        neurons : sequence of int, optional
            Neurons to update in this order; each sees the new states of earlier ones.  All at once
            (synchronously) if not given.

        Returns
        -------
        Tensor, (B, N)

        Raises
        ------
        OptionError
            If a value is not ±1, or a number is not that of a neuron.
        ShapeError
            If the states are not (B, N).

        Examples
        --------
        >>> memory = Hopfield(4).store([[1, 1, -1, -1]])
        >>> memory.update([[1, 1, -1, 1]], [0, 3])
        tensor([[ 1.,  1., -1., -1.]])
        """
        order = None if neurons is None else [int(i) for i in neurons]
        if order is not None and not all(0 <= i < self.size for i in order):
            raise OptionError(f"neurons must be in 0 … {self.size - 1}. Received: {neurons}")
        return Tensor(self._update(self._states(states, "states").data, order), self.weight.backend)

    def recall(
        self,
        probes: TensorLike,
        mode: str = "asynchronous",
        max_steps: int = 100,
        generator: Generator | None = None,
    ) -> Recall:
        """Update until the states do not change any more.

        Parameters
        ----------
        probes : (B, N)
            Of 1 and −1: where to start.
        mode : {"asynchronous", "synchronous"}
            A step updates all neurons, one after the other in a new random order, the same
            for all probes; or all at once, which may end in two alternating states (but in no
            longer cycle: Goles & Olivos, 1981).
        max_steps : int
            Give up after so many steps.
        generator : Generator, optional
            Of the orders; the process-wide stream if not given.

        Returns
        -------
        Recall
            ``(states, steps, period)``.

        Raises
        ------
        OptionError
            If an option is not one of these, or a value is not ±1.
        ShapeError
            If the probes are not (B, N).

        Notes
        -----
        The host reads once a step which probes have not converged; only these are updated.

        Examples
        --------
        >>> memory = Hopfield(4).store([[1, 1, -1, -1]])
        >>> states, steps, period = memory.recall([[1, 1, -1, 1]])
        >>> states.tolist(), steps.tolist(), period.tolist()
        ([[1.0, 1.0, -1.0, -1.0]], [1], [1])
        """
        check_choice(mode, MODES, "mode")
        positive_integer("max_steps", max_steps)
        source = generator or default_generator
        backend, start = self.weight.backend, self._states(probes, "probes")
        xp, s, before = backend.xp, start.data, None
        going = xp.arange(len(s))  # the probes that have not converged: only they are updated
        states, period = xp.empty(s.shape, dtype=s.dtype), xp.zeros(len(s), dtype="int64")
        steps = xp.zeros(len(s), dtype="int64")
        for step in range(1, max_steps + 1):
            order = source.permutation(self.size).tolist() if mode == MODES[0] else None
            new = self._update(s, order)
            found = xp.where(xp.all(new == s, axis=1), 1, 0)
            if order is None and before is not None:
                found = xp.where((found == 0) & xp.all(new == before, axis=1), 2, found)
            states[going], period[going] = new, found
            steps[going] = xp.where(found > 0, step - found, max_steps)
            rest = xp.flatnonzero(found == 0)
            if not len(rest):
                break
            going, before, s = going[rest], s[rest], new[rest]
        return Recall(*(Tensor(value, backend) for value in (states, steps, period)))

    def forward(self, probes: TensorLike) -> Tensor:
        """(B, N) probes → (B, N) states after asynchronous recall."""
        return self.recall(probes).states

    def extra_repr(self) -> str:
        """The size."""
        return str(self.size)

    def _states(self, states: TensorLike, name: str) -> Tensor:
        """Check every value; return states in the weights' dtype."""
        refuse_reading(f"Hopfield, which looks at its {name},")
        states = as_tensor(states, self.weight)
        if states.ndim != 2 or states.shape[1] != self.size:
            raise ShapeError(f"{name} must be (batch, {self.size}). Received: {states.shape}")
        if not bool(ops.all((states == 1) | (states == -1))):
            raise OptionError(
                f"{name} must be 1 and −1. Received: {states.dtype} with other values. "
                "Of 0 and 1 make them by 2 * x - 1"
            )
        return states.detach().astype(self.weight.dtype)

    def _update(self, s: Array, order: list[int] | None) -> Array:
        W, backend = self.weight.data, self.weight.backend
        xp = backend.xp
        # Smaller fields are 0 up to rounding.  Ignoring them makes every change lower the energy,
        # so recall converges in floating-point arithmetic, too.
        slack = 4 * float(xp.finfo(W.dtype).eps) * xp.sum(xp.abs(W), axis=1)  # (N,)
        if order is None:
            return xp.where(ops.matmul(s, W) * s < -slack, -s, s)
        columns = s.T.copy()  # (N, B): the states of a neuron are contiguous
        _one_by_one(backend, W, slack, columns, order)
        return columns.T.copy()


class ModernHopfield(nn.Module):
    """Continuous associative memory whose retrieval is attention (Ramsauer et al., 2021).

    A state ξ moves to ``softmax(β ξ Xᵀ) X``, an average of the stored patterns X weighted by
    similarity.  A step never raises the energy

        ``E = −lse(β, ξ Xᵀ) + ½ ‖ξ‖² + ln(P)/β + ½ max ‖x‖²``,   ``lse(β, z) = ln(Σ exp(β z)) / β``

    and mostly converges after one step.  The number of patterns that can be stored grows
    exponentially with N.

    Parameters
    ----------
    patterns : Tensor or array, (P, N)
        Real numbers.  A `nnlib.nn.Parameter` is learned; anything else becomes a buffer.
    beta : float
        Inverse temperature: large values retrieve the most similar pattern, small ones the mean
        of all.

    Attributes
    ----------
    patterns : Tensor, (P, N)

    Raises
    ------
    ShapeError, DTypeError
        If the patterns are no (P, N) array of floating-point numbers, with one pattern at least.
    OptionError
        If beta is not positive.

    Notes
    -----
    H. Ramsauer et al., "Hopfield Networks is All You Need", ICLR 2021, equations 2 and 3.

    Examples
    --------
    >>> memory = ModernHopfield([[1.0, 1.0, -1.0], [-1.0, 1.0, 1.0]], beta=8.0)
    >>> memory([[0.3, 0.2, 0.0]])
    tensor([[ 0.9836749,  1.       , -0.9836749]])
    """

    patterns: Tensor

    def __init__(self, patterns: TensorLike, beta: float = 1.0) -> None:
        super().__init__()
        if not 0 < beta < float("inf"):
            raise OptionError(f"beta must be a positive number. Received: {beta}")
        patterns = floating(patterns, "ModernHopfield")
        if patterns.ndim != 2 or not patterns.size:
            raise ShapeError(f"patterns must be (patterns, N). Received: {patterns.shape}")
        self.beta = float(beta)
        if isinstance(patterns, nn.Parameter):
            self.patterns = patterns
        else:
            self.register_buffer("patterns", tensor(patterns))

    def forward(self, probes: TensorLike, steps: int = 1) -> Tensor:
        """(B, N) probes → (B, N), after a fixed number of steps; differentiable."""
        positive_integer("steps", steps)
        states = self._states(probes)
        for _ in range(steps):
            states = self._step(states)
        return states

    def recall(self, probes: TensorLike, max_steps: int = 100, tolerance: float = 1e-5) -> Recall:
        """Step until no value changes any more.

        Parameters
        ----------
        probes : (B, N)
            Where to start.
        max_steps : int
            Give up after so many steps.
        tolerance : float
            A probe has converged if no value changes by more than this in a step.

        Returns
        -------
        Recall
            ``(states, steps, period)``; steps without a change do not count.

        Raises
        ------
        OptionError
            If ``max_steps`` or the tolerance is not positive.
        ShapeError, DTypeError
            If the probes are not (B, N) floating-point numbers.

        Examples
        --------
        >>> memory = ModernHopfield([[1.0, 1.0, -1.0], [-1.0, 1.0, 1.0]], beta=8.0)
        >>> states, steps, period = memory.recall([[0.3, 0.2, 0.0]])
        >>> states, steps.tolist(), period.tolist()
        (tensor([[ 1.,  1., -1.]]), [2], [1])
        """
        positive_integer("max_steps", max_steps)
        if not tolerance > 0:
            raise OptionError(f"tolerance must be positive. Received: {tolerance}")
        states = self._states(probes)
        period = zeros(len(states), dtype="int64", backend=states.backend)
        steps = period + max_steps
        for step in range(1, max_steps + 1):
            new = self._step(states)
            still = ops.all(ops.abs(new - states) <= tolerance, axis=1)
            steps = ops.where((period == 0) & still, step - 1, steps)
            period, states = ops.where(still, 1, period), new
            if bool(ops.all(period > 0)):
                break
        return Recall(states, steps, period)

    def energy(self, states: TensorLike) -> Tensor:
        """Energy of every state, (B, N) → (B,), at least 0.

        Examples
        --------
        >>> memory = ModernHopfield([[1.0, 1.0], [-1.0, 1.0]], beta=8.0)
        >>> memory.energy([[1.0, 1.0], [0.0, 1.0]]).numpy().round(3)
        array([0.087, 0.5  ], dtype=float32)
        """
        states, X = self._states(states), self.patterns
        lse = ops.logsumexp(ops.matmul(states, X.swapaxes(0, 1)) * self.beta, axis=1)
        count = tensor(float(len(X)), dtype=X.dtype, backend=X.backend)
        longest = ops.max(ops.sum(X * X, axis=1))
        halves = ops.sum(states * states, axis=1) * 0.5 + longest * 0.5
        return halves - (lse - ops.log(count)) / self.beta

    def extra_repr(self) -> str:
        """Number and size of the patterns, and beta."""
        P, N = self.patterns.shape
        return f"patterns={P}, size={N}, beta={self.beta:g}"

    def _step(self, states: Tensor) -> Tensor:
        X = self.patterns
        return F.scaled_dot_product_attention(states, X, X, scale=self.beta)

    def _states(self, states: TensorLike) -> Tensor:
        states = as_tensor(states, self.patterns)
        if states.ndim != 2 or states.shape[1] != self.patterns.shape[1]:
            raise ShapeError(
                f"probes must be (batch, {self.patterns.shape[1]}). Received: {states.shape}"
            )
        return floating(states, "ModernHopfield")


def _hebbian(xp: Any, patterns: Array) -> Array:
    """Hebb's rule: the sum of the patterns' outer products, divided by N; exact up to that."""
    return ops.matmul(patterns.T, patterns) / patterns.shape[1]


def _projection(xp: Any, patterns: Array) -> Array:
    """Projection onto the patterns' span, from its orthonormal basis, in float64."""
    _, sizes, basis = xp.linalg.svd(patterns.astype("float64"), full_matrices=False)
    basis = basis * (sizes > sizes[0] * max(patterns.shape) * 2.0**-52)[:, None]
    W = xp.matmul(basis.T, basis)
    W = (W + W.T) / 2  # rounding may make the product asymmetric
    return xp.where(xp.abs(W) < 1e-12, 0, W)  # 0 up to rounding: fields must be exactly 0 then


RULES = {"hebbian": _hebbian, "projection": _projection}


def _one_by_one(backend: Backend, W: Array, slack: Array, s: Array, order: list[int]) -> None:
    """Update neurons of the states s (N, B) in this order, in place.

    One matrix product computes the fields of the next neurons in the order, and each neuron that
    changes corrects those after it.  A product for every neuron reads all states each time:
    measured on a CPU, as fast for 1,000 neurons and 140 probes, 2 to 3 times slower from 2,000 and
    560.  Updating all fields at every change needs less arithmetic near the end of recall and much
    more at its beginning.
    """
    for start in range(0, len(order), BLOCK):
        block = order[start : start + BLOCK]
        index = backend.asarray(block)
        rows = W[index]  # (K, N)
        fields = ops.matmul(rows, s)  # (K, B)
        between, least = rows[:, index], -slack[index]
        for k, i in enumerate(block):
            change = (fields[k] * s[i] < least[k]) * s[i] * -2
            s[i] += change
            fields[k + 1 :] += between[k + 1 :, k : k + 1] * change
