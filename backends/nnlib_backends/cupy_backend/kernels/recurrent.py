"""Launchers of ``recurrent.cu``: a GEMM and one kernel for each time step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nnlib_backends.base import Array, GradsOut, KernelPair
from nnlib_backends.common import recurrent
from nnlib_backends.common.fused import either
from nnlib_backends.cupy_backend.kernels.elementwise import ACTIVATIONS
from nnlib_backends.cupy_backend.kernels.launch import Launcher, real

__all__ = ["make_kernels"]

_FILE = "recurrent"
_MOST_NUMBERS = 1 << 31  # of a state, because kernels divide 32-bit indices


def make_kernels(launcher: Launcher, general: Mapping[str, KernelPair]) -> dict[str, KernelPair]:
    """Return ``lstm`` (without peepholes), ``gru`` and ``rnn``."""
    own = {"lstm": _lstm(launcher), "gru": _gru(launcher), "rnn": _rnn(launcher)}
    lengths = {"lstm": 7, "gru": 6, "rnn": 6}  # position among the arguments; peepholes follow

    def served(name: str) -> Callable[..., bool]:
        position = lengths[name]

        def test(*arrays: Any, **_: Any) -> bool:
            x, r = arrays[0], arrays[2]
            return bool(
                real(*arrays[:position])
                and all(peephole is None for peephole in arrays[position + 1 :])
                and x.shape[0] * r.shape[0] < _MOST_NUMBERS
            )

        return test

    return {name: either(served(name), kernel, general[name]) for name, kernel in own.items()}


class _Steps:
    """The time steps of one pass.

    Parameters
    ----------
    launcher : Launcher
    x : (B, T, D)
    r : (G · H, H)
        Recurrent weights.
    lengths : (B,) or None
    """

    def __init__(self, launcher: Launcher, x: Array, r: Array, lengths: Array | None) -> None:
        self.launcher, self.xp = launcher, launcher.xp
        self.batch, self.steps = x.shape[:2]
        self.rows, self.width = r.shape
        self.like = x
        self.lengths = None if lengths is None else launcher.dense(lengths, "int64")

    def order(self, reverse: bool) -> Sequence[int]:
        steps = range(self.steps)
        return steps[::-1] if reverse else steps

    def empty(self, *shape: int) -> Array:
        return self.launcher.empty(shape, self.like.dtype)

    def state(self, first: Array | None) -> Array:
        """Return a copy of the initial state, zeros if it is None."""
        h = self.xp.zeros((self.batch, self.width), dtype=self.like.dtype)
        if first is not None:
            h[...] = first
        return h

    def dense(self, x: Array | None) -> Array | None:
        return None if x is None else self.launcher.dense(x, self.like.dtype)

    def launch(self, kernel: str, *args: Any, t: int) -> None:
        n = self.batch * self.width
        sizes = (t, self.batch, self.steps, self.width)
        self.launcher.elementwise(_FILE, kernel, *args, *sizes, n=n, like=self.like)

    def forward(
        self, kernel: str, r: Array, gates: Array, d: Array | None, h: Array, zero: bool,
        *rest: Any, reverse: bool,
    ) -> None:  # fmt: skip
        """Compute all steps; ``zero``: the initial state is 0."""
        for t in self.order(reverse):
            hidden = None if zero else self.xp.dot(h, r.T)
            zero = False
            self.launch(kernel, gates, hidden, d, self.lengths, h, *rest, t=t)

    def backward(
        self, kernel: str, r: Array, before: Sequence[Any], carry: Array | None,
        after: Sequence[Any], reverse: bool,
    ) -> Array:  # fmt: skip
        """Compute all steps in the opposite order; return the gradient by the initial state."""
        step, product = self.empty(self.batch, self.rows), None
        for t in self.order(not reverse):
            *outputs, option = after
            self.launch(kernel, *before, self.lengths, product, carry, *outputs, step, option, t=t)
            product = self.xp.dot(step, r)
        return product if carry is None else product + carry


def _lstm(launcher: Launcher) -> KernelPair:
    xp = launcher.xp

    def forward(
        x: Array, w: Array, r: Array, b: Any, d: Any, h0: Any, c0: Any, lengths: Any, peep: None,
        *, reverse: bool,
    ) -> tuple[Array, Any]:  # fmt: skip
        s = _Steps(launcher, x, r, lengths)
        gates = recurrent.project(xp, x, w, b)
        states = s.empty(2, s.batch, s.steps, s.width)
        h, c = s.state(h0), s.state(c0)
        zero = h0 is None
        s.forward("lstm_forward", r, gates, s.dense(d), h, zero, c, states, reverse=reverse)
        return states, (states, gates)

    def backward(
        grad: Array, saved: Any, grads_out: GradsOut,
        x: Array, w: Array, r: Array, b: Any, d: Any, h0: Any, c0: Any, lengths: Any, peep: None,
        *, reverse: bool,
    ) -> list[Array | None]:  # fmt: skip
        s, (states, gates) = _Steps(launcher, x, r, lengths), saved
        slopes, dc = s.empty(*gates.shape), s.state(None)
        carry = None if lengths is None else s.state(None)
        before = (s.dense(grad), gates, states, s.dense(c0))
        dh = s.backward("lstm_backward", r, before, carry, (dc, slopes, int(reverse)), reverse)
        earlier = recurrent.states_before(xp, states[0], recurrent.start(xp, x, r, h0), reverse)
        x = recurrent.within(xp, x, lengths)  # 0 · NaN outside the lengths would be NaN
        weights = recurrent.weight_gradients(xp, grads_out, slopes, slopes, x, earlier, w)
        return [*weights, dh, dc, None, None]

    return KernelPair(forward, backward)


def _gru(launcher: Launcher) -> KernelPair:
    xp = launcher.xp

    def forward(
        x: Array, w: Array, r: Array, b: Any, d: Any, h0: Any, lengths: Any, *, reverse: bool
    ) -> tuple[Array, Any]:
        s = _Steps(launcher, x, r, lengths)
        gates = recurrent.project(xp, x, w, b)
        states, inner = (s.empty(s.batch, s.steps, s.width) for _ in range(2))
        h, zero = s.state(h0), h0 is None
        s.forward("gru_forward", r, gates, s.dense(d), h, zero, states, inner, reverse=reverse)
        return states, (states, gates, inner)

    def backward(
        grad: Array, saved: Any, grads_out: GradsOut,
        x: Array, w: Array, r: Array, b: Any, d: Any, h0: Any, lengths: Any, *, reverse: bool,
    ) -> list[Array | None]:  # fmt: skip
        s, (states, gates, inner) = _Steps(launcher, x, r, lengths), saved
        from_x, from_h = (s.empty(*gates.shape) for _ in range(2))
        before = (s.dense(grad), gates, inner, states, s.dense(h0))
        after = (from_x, from_h, int(reverse))
        dh = s.backward("gru_backward", r, before, s.state(None), after, reverse)
        earlier = recurrent.states_before(xp, states, recurrent.start(xp, x, r, h0), reverse)
        x = recurrent.within(xp, x, lengths)  # 0 · NaN outside the lengths would be NaN
        weights = recurrent.weight_gradients(xp, grads_out, from_x, from_h, x, earlier, w)
        return [*weights, dh, None]

    return KernelPair(forward, backward)


def _rnn(launcher: Launcher) -> KernelPair:
    xp = launcher.xp

    def forward(
        x: Array, w: Array, r: Array, b: Any, d: Any, h0: Any, lengths: Any,
        *, nonlinearity: str, reverse: bool,
    ) -> tuple[Array, Any]:  # fmt: skip
        s, code = _Steps(launcher, x, r, lengths), ACTIVATIONS.index(nonlinearity)
        states, h = recurrent.project(xp, x, w, b), s.state(h0)
        s.forward("rnn_forward", r, states, s.dense(d), h, h0 is None, code, reverse=reverse)
        return states, states

    def backward(
        grad: Array, states: Array, grads_out: GradsOut,
        x: Array, w: Array, r: Array, b: Any, d: Any, h0: Any, lengths: Any,
        *, nonlinearity: str, reverse: bool,
    ) -> list[Array | None]:  # fmt: skip
        s, code = _Steps(launcher, x, r, lengths), ACTIVATIONS.index(nonlinearity)
        slopes = s.empty(*states.shape)
        carry = None if lengths is None else s.state(None)
        before = (s.dense(grad), states)
        dh = s.backward("rnn_backward", r, before, carry, (slopes, code), reverse)
        earlier = recurrent.states_before(xp, states, recurrent.start(xp, x, r, h0), reverse)
        x = recurrent.within(xp, x, lengths)  # 0 · NaN outside the lengths would be NaN
        weights = recurrent.weight_gradients(xp, grads_out, slopes, slopes, x, earlier, w)
        return [*weights, dh, None]

    return KernelPair(forward, backward)
