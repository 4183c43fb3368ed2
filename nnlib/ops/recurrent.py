"""Recurrent networks over whole sequences: one layer, one direction, all time steps.

Sequences are (B, T, D): B sequences of T steps with D features.  Every function returns the state
after *every* step.  With ``lengths``, sequence b has ``lengths[b]`` steps; beyond them x has no
effect and the state does not change.  So the state after the last processed step (the first one
with ``reverse``) is the final state of every sequence.
"""

from nnlib.errors import ShapeError, describe
from nnlib.ops.activation import relu
from nnlib.ops.comparison import where
from nnlib.ops.explog import sigmoid
from nnlib.ops.hyperbolic import tanh
from nnlib.ops.linear import linear
from nnlib.ops.operation import IN_FLOAT32, Integers, fused
from nnlib.ops.shaping import expand_dims, stack

__all__ = ["gru", "lstm", "rnn"]


def _samples(gates, states):
    """Return shapes of (x, weights, biases, initial states, lengths), for two sizes."""
    made = []
    for B, T, D, H in ((3, 4, 2, 3), (2, 3, 5, 17)):
        weights = [(gates * H, D), (gates * H, H), (gates * H,), (gates * H,)]
        made.append([(B, T, D), *weights, *[(B, H)] * states, Integers((B,), T + 1)])
    return made


def _check(gates, x, weight_ih, weight_hh, biases, states, lengths, peepholes=None):
    """Check that the shapes fit."""
    if len(x.shape) == 3 and len(weight_hh.shape) == 2:
        (B, T, D), H = x.shape, weight_hh.shape[1]
        expected = [
            (weight_ih, (gates * H, D)),
            (weight_hh, (gates * H, H)),
            *((bias, (gates * H,)) for bias in biases),
            *((state, (B, H)) for state in states),
            (lengths, (B,)),
            (peepholes, (3 * H,)),
        ]
        if min(T, D, H) > 0 and all(a is None or a.shape == shape for a, shape in expected):
            return
    raise ShapeError(
        f"a recurrent network needs x (B, T ≥ 1, D), weights ({gates}H, D) and ({gates}H, H), "
        f"biases ({gates}H,), initial states (B, H), lengths (B,), peepholes (3H,). Received: "
        f"{describe(x, weight_ih, weight_hh, *biases, *states, lengths, peepholes)}"
    )


def _check_lstm(x, w, r, b, d, h0, c0, lengths, peepholes, **_):
    _check(4, x, w, r, (b, d), (h0, c0), lengths, peepholes)


def _check_gru(x, w, r, b, d, h0, lengths, **_):
    _check(3, x, w, r, (b, d), (h0,), lengths)


def _check_rnn(x, w, r, b, d, h0, lengths, **_):
    _check(1, x, w, r, (b, d), (h0,), lengths)


@fused(
    samples=[
        ([*_samples(4, 2)[0], None], {}),
        ([*_samples(4, 2)[1], None], {"reverse": True}),
        ([*_samples(4, 2)[0], (9,)], {}),
    ],
    check=_check_lstm,
    autocast=IN_FLOAT32,
)
def lstm(
    x, weight_ih, weight_hh, bias_ih=None, bias_hh=None, h0=None, c0=None, lengths=None,
    peepholes=None, *, reverse=False,
):  # fmt: skip
    """Long short-term memory (Hochreiter & Schmidhuber, 1997; forget gate: Gers et al., 2000).

    ``i, f, o`` = σ(W x + R h + b), ``g`` = tanh(W x + R h + b), ``c ← f c + i g``,
    ``h ← o tanh(c)``, with W and R in four parts in the order i, f, g, o.

    Parameters
    ----------
    x : (B, T, D)
    weight_ih, weight_hh : (4H, D) and (4H, H)
        W and R.
    bias_ih, bias_hh : (4H,), optional
        Both are added, as in PyTorch.
    h0, c0 : (B, H), optional
        Initial states, 0 if not given.
    lengths : (B,) integers, optional
    peepholes : (3H,), optional
        Elementwise weights of the old cell state in i and f, and of the new one in o (Gers &
        Schmidhuber, 2000).
    reverse : bool
        Process the steps from the last to the first.

    Returns
    -------
    (2, B, T, H)
        Hidden and cell states after every step.

    Examples
    --------
    >>> import nnlib
    >>> from nnlib import ops
    >>> x, w, r = nnlib.ones(1, 3, 2), nnlib.ones(4, 2), nnlib.ones(4, 1)
    >>> ops.lstm(x, w, r)[0].numpy().round(3)
    array([[[0.608],
            [0.873],
            [0.935]]], dtype=float32)
    """
    size = weight_hh.shape[1]
    if peepholes is not None:
        to_i, to_f, to_o = _parts(peepholes, size, 3)
    projected = linear(_masked(x, lengths), weight_ih, bias_ih)
    h, c, states = h0, c0, {}
    for t in _order(x, reverse):
        i, f, g, o = _parts(projected[:, t] + _recurrent(h, weight_hh, bias_hh), size, 4)
        if peepholes is not None and c is not None:
            i, f = i + to_i * c, f + to_f * c
        new_c = sigmoid(i) * tanh(g)
        if c is not None:
            new_c = new_c + sigmoid(f) * c
        if peepholes is not None:
            o = o + to_o * new_c
        h, c = _keep(h, sigmoid(o) * tanh(new_c), lengths, t), _keep(c, new_c, lengths, t)
        states[t] = h, c
    return stack([_in_time(states, 0), _in_time(states, 1)])


@fused(
    samples=[(_samples(3, 1)[0], {}), (_samples(3, 1)[1], {"reverse": True})],
    check=_check_gru,
    autocast=IN_FLOAT32,
)
def gru(
    x, weight_ih, weight_hh, bias_ih=None, bias_hh=None, h0=None, lengths=None, *, reverse=False
):
    """Gated recurrent unit (Cho et al., 2014), in the form of cuDNN and PyTorch.

    ``r, z`` = σ(W x + b + R h + d), ``n`` = tanh(W x + b + r (R h + d)), ``h ← (1 − z) n + z h``,
    with W, R, b and d in three parts in the order r, z, n.

    Parameters
    ----------
    x : (B, T, D)
    weight_ih, weight_hh : (3H, D) and (3H, H)
        W and R.
    bias_ih, bias_hh : (3H,), optional
        b and d.
    h0 : (B, H), optional
        Initial state, 0 if not given.
    lengths : (B,) integers, optional
    reverse : bool
        Process the steps from the last to the first.

    Returns
    -------
    (B, T, H)

    Examples
    --------
    >>> import nnlib
    >>> from nnlib import ops
    >>> x, w, r = nnlib.ones(1, 3, 2), nnlib.ones(3, 2), nnlib.ones(3, 1)
    >>> ops.gru(x, w, r).numpy().round(3)
    array([[[0.115],
            [0.207],
            [0.283]]], dtype=float32)
    """
    size = weight_hh.shape[1]
    projected = linear(_masked(x, lengths), weight_ih, bias_ih)
    h, states = h0, {}
    for t in _order(x, reverse):
        xr, xz, xn = _parts(projected[:, t], size, 3)
        hr, hz, hn = _parts(_recurrent(h, weight_hh, bias_hh), size, 3)
        r, z = sigmoid(xr + hr), sigmoid(xz + hz)
        n = tanh(xn + r * hn)
        new = (1 - z) * n if h is None else (1 - z) * n + z * h
        h = states[t] = _keep(h, new, lengths, t)
    return _in_time(states)


@fused(
    samples=[
        (_samples(1, 1)[0], {}),
        (_samples(1, 1)[1], {"reverse": True, "nonlinearity": "relu"}),
    ],
    check=_check_rnn,
    autocast=IN_FLOAT32,
)
def rnn(
    x, weight_ih, weight_hh, bias_ih=None, bias_hh=None, h0=None, lengths=None, *,
    nonlinearity="tanh", reverse=False,
):  # fmt: skip
    """Simple recurrent network (Elman, 1990): ``h ← tanh(W x + R h + b)``.

    Parameters
    ----------
    x : (B, T, D)
    weight_ih, weight_hh : (H, D) and (H, H)
        W and R.
    bias_ih, bias_hh : (H,), optional
        Both are added, as in PyTorch.
    h0 : (B, H), optional
        Initial state, 0 if not given.
    lengths : (B,) integers, optional
    nonlinearity : {"tanh", "relu"}
    reverse : bool
        Process the steps from the last to the first.

    Returns
    -------
    (B, T, H)

    Examples
    --------
    >>> import nnlib
    >>> from nnlib import ops
    >>> x, one = nnlib.ones(1, 3, 1), nnlib.ones(1, 1)
    >>> ops.rnn(x, one, one, nonlinearity="relu").numpy().ravel()
    array([1., 2., 3.], dtype=float32)
    """
    activation = relu if nonlinearity == "relu" else tanh
    projected = linear(_masked(x, lengths), weight_ih, bias_ih)
    h, states = h0, {}
    for t in _order(x, reverse):
        new = activation(projected[:, t] + _recurrent(h, weight_hh, bias_hh))
        h = states[t] = _keep(h, new, lengths, t)
    return _in_time(states)


# In these functions a state of None is 0.


def _order(x, reverse):
    steps = range(x.shape[1])
    return reversed(steps) if reverse else steps


def _masked(x, lengths):
    """Set the steps beyond the lengths to zero."""
    if lengths is None:
        return x
    return stack(
        [where(expand_dims(lengths > t, axis=-1), x[:, t], 0.0) for t in range(x.shape[1])], axis=1
    )


def _recurrent(h, weight, bias):
    """``R h + d``."""
    if h is None:
        return 0 if bias is None else bias
    return linear(h, weight, bias)


def _parts(z, size, count):
    """Cut the last axis into parts of equal size."""
    if isinstance(z, int):  # no state and no bias: 0
        return [z] * count
    return [z[..., k * size : (k + 1) * size] for k in range(count)]


def _keep(old, new, lengths, t):
    """Return the new state of sequences that have a step ``t``, else the old one."""
    if lengths is None:
        return new
    return where(expand_dims(lengths > t, axis=-1), new, 0 if old is None else old)


def _in_time(states, part=None):
    """Stack the states (or a part of them) to one array (B, T, H)."""
    return stack([states[t] if part is None else states[t][part] for t in sorted(states)], axis=1)
