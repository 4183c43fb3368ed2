"""Transformations of functions into their derivatives: `grad` and `value_and_grad`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nnlib.autograd.creation import tensor, zeros_like
from nnlib.autograd.engine import backward, leaves, owned
from nnlib.autograd.mode import enable_grad, is_grad_enabled, no_grad
from nnlib.autograd.tensor import Tensor
from nnlib.errors import GradientError, OptionError, ShapeError

__all__ = ["grad", "value_and_grad"]


def value_and_grad(
    function: Callable[..., Any], argnums: int | Sequence[int] = 0
) -> Callable[..., tuple[Tensor, Any]]:
    """Turn ``f`` into a function that returns its value and its gradient.

    Parameters
    ----------
    function : callable
        Takes tensors (or arrays), returns a tensor with one element.
    argnums : int or sequence of int
        Indices of the arguments to differentiate by.

    Returns
    -------
    callable
        Returns ``(value, gradient)``, or ``(value, (gradients…))`` for a sequence of argnums.  It
        can be differentiated again.

    Raises
    ------
    ShapeError
        If the value has more than one element.
    GradientError
        If the value is not computed by nnlib operations.

    Examples
    --------
    >>> import nnlib
    >>> nnlib.value_and_grad(lambda x: x**3)(2.0)
    (tensor(8.), tensor(12.))
    """
    positions = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    def evaluate(*args: Any, **options: Any) -> tuple[Tensor, Any]:
        if any(not -len(args) <= p < len(args) for p in positions):
            raise OptionError(f"argnums {positions} must name some of the {len(args)} arguments")
        values = list(args)
        for p in positions:
            values[p] = _own_variable(values[p])
        with enable_grad():
            result = function(*values, **options)
        value, gradients = _differentiate(result, [values[p] for p in positions])
        return value, gradients[0] if isinstance(argnums, int) else tuple(gradients)

    return evaluate


def _own_variable(arg: Any) -> Tensor:
    """Return an argument as a tensor with a new node, so that the caller's leaf is not changed."""
    value = arg if isinstance(arg, Tensor) else tensor(arg)
    if value.requires_grad and is_grad_enabled():
        return value.astype(value.dtype)
    variable = value.detach()
    variable.requires_grad = True
    return variable


def _differentiate(result: Any, inputs: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    if not isinstance(result, Tensor) or result.node is None:
        raise GradientError(
            "the function must return a tensor computed from its arguments by nnlib operations. "
            f"Received: {type(result).__name__} {result!r}"
        )
    if result.size != 1:
        raise ShapeError(f"the function must return a single value. Received: shape {result.shape}")
    nodes = [value.node for value in inputs if value.node is not None]
    # If the value depends on other leaves, the caller may differentiate by these: then the backward
    # pass computes with tensors, and is itself on the tape.
    others = (leaf for leaf in leaves(result.node) if leaf.keep_grad and leaf not in nodes)
    outer = is_grad_enabled() and any(others)
    seed = result._seed(None, create_graph=outer)
    with enable_grad() if outer else no_grad():
        found = backward([(result.node, seed)], nodes, retain_graph=outer)
    for node in nodes:
        node.keep_grad = False  # a later pass through this node leaves no gradient in it
    held: set[int] = set()
    gradients = [
        owned(found[node], node, held) if node in found else zeros_like(variable)
        for variable, node in zip(inputs, nodes, strict=True)
    ]
    return result if outer else result.detach(), gradients


def grad(function: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """Turn ``f`` into a function that returns its gradient; apply it again for higher orders.

    Parameters and errors are those of `value_and_grad`.

    Examples
    --------
    The third derivative of x⁴ at 2:

    >>> import nnlib
    >>> nnlib.grad(nnlib.grad(nnlib.grad(lambda x: x**4)))(2.0)
    tensor(48.)
    """
    evaluate = value_and_grad(function, argnums)
    return lambda *args, **options: evaluate(*args, **options)[1]
