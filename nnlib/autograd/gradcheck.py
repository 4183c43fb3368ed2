"""Check derivatives against finite differences."""

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

    The output is reduced to a sum with fixed weights, so that one backward pass is enough; each
    input value is changed by ± eps.

    Parameters
    ----------
    function : callable
        Takes the inputs, returns one tensor of any shape.
    inputs : sequence of Tensor
        Inputs of dtype float64; those with ``requires_grad`` are checked.
    eps : float
        Step of the difference; the error has order eps² and 1e-16 / eps.
    rtol, atol : float
        Tolerances: ``|analytic − numeric| ≤ atol + rtol · max|numeric|`` must hold.

    Returns
    -------
    bool
        Always true; a wrong derivative raises an error.

    Raises
    ------
    GradcheckError
        If a derivative is wrong; the text names the input, the index and both values.
    DTypeError
        If a checked input is not float64: float32 is too coarse for differences.
    GradientError
        If no input has ``requires_grad``.

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
    """Return fixed weights between 0.5 and 1.5, all different."""
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
