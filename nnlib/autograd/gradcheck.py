"""Checking derivatives against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nnlib.autograd.engine import backward
from nnlib.autograd.mode import no_grad
from nnlib.autograd.tensor import Tensor
from nnlib.errors import DTypeError, GradcheckError, GradientError, describe

__all__ = ["gradcheck"]


def gradcheck(
    function: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    *,
    eps: float = 1e-6,
    rtol: float = 1e-6,
    atol: float = 1e-6,
) -> bool:
    """Compare a function's derivatives with central differences, value by value.

    Each output is projected on fixed weights, so that one backward pass covers it; every input
    value is then moved by ± eps.

    Parameters
    ----------
    function : callable
        Takes the inputs, returns one tensor of any shape.
    inputs : sequence of Tensor
        float64; those with ``requires_grad`` are checked.
    eps : float
        Step of the difference; its error is of order eps² and 1e-16 / eps.
    rtol, atol : float
        Allowed: ``|analytic − numeric| ≤ atol + rtol · max|numeric|``.

    Returns
    -------
    bool
        True; a disagreement raises.

    Raises
    ------
    GradcheckError
        Naming the input, the index, and both values.
    DTypeError
        If an input to be checked is not float64: differences of float32 prove nothing.
    GradientError
        If no input has ``requires_grad``: there is nothing to check.

    Examples
    --------
    >>> import nnlib
    >>> x = nnlib.tensor([0.5, -1.0], dtype="float64", requires_grad=True)
    >>> gradcheck(lambda x: nnlib.tanh(x) * x, [x])
    True
    """
    for i, x in enumerate(inputs):
        if x.requires_grad and x.dtype != "float64":
            raise DTypeError(f"gradcheck needs float64. Received: input {i}, {x.dtype} {x.shape}")
    checked = [(i, x) for i, x in enumerate(inputs) if x.node is not None]
    if not checked:
        raise GradientError(
            "gradcheck needs an input with requires_grad=True. "
            f"Received: {describe(*inputs) or 'no inputs'}"
        )
    y = function(*inputs)
    weights = _weights(y)
    found: dict[Any, Any] = {}
    if y.node is not None:
        found = backward([(y.node, weights)], [x.node for _, x in checked if x.node])
    for i, x in checked:
        g = found.get(x.node)
        analytic = x.backend.to_numpy(
            x.backend.xp.zeros(x.shape) if g is None else x.backend.asarray(g)
        )
        numeric = _differences(function, inputs, x, weights, eps)
        tolerance = atol + rtol * max((abs(v) for v in numeric), default=0.0)
        for index, (a, n) in enumerate(zip(analytic.reshape(-1).tolist(), numeric, strict=True)):
            if not abs(a - n) <= tolerance:
                raise GradcheckError(
                    f"the derivative by input {i} at flat index {index} must be {n:.10g} (central "
                    f"difference). Received: {a:.10g}, off by {abs(a - n):.2g} > {tolerance:.2g}"
                )
    return True


def _weights(y: Tensor) -> Any:
    """Fixed weights between 0.5 and 1.5 that differ from place to place."""
    xp = y.backend.xp
    return xp.cos(xp.arange(y.size, dtype="float64") * 2.39996).reshape(y.shape) * 0.5 + 1.0


def _differences(
    function: Callable[..., Tensor], inputs: Sequence[Tensor], x: Tensor, weights: Any, eps: float
) -> list[float]:
    flat = x.backend.to_numpy(x.data).reshape(-1)
    numeric = []
    original = x.data
    for index in range(flat.size):
        values = []
        for step in (eps, -eps):
            moved = flat.copy()
            moved[index] += step
            x.data = x.backend.asarray(moved.reshape(x.shape))
            with no_grad():
                values.append(float((function(*inputs).data * weights).sum()))
            x.data = original
        numeric.append((values[0] - values[1]) / (2 * eps))
    return numeric
