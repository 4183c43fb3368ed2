"""The fully connected layer: a GEMM, a bias and an activation."""

from functools import partial
from typing import Any

from nnlib.errors import ShapeError
from nnlib.ops.activation import gelu, relu
from nnlib.ops.explog import sigmoid
from nnlib.ops.hyperbolic import tanh
from nnlib.ops.linalg import matmul
from nnlib.ops.operation import Policy, fused
from nnlib.ops.shaping import transpose

__all__ = ["linear"]

#: Activations that `linear` and `conv2d` can fuse; their derivatives need only the result.
FUSED_ACTIVATIONS = {"relu": relu, "tanh": tanh, "sigmoid": sigmoid}
#: Activations that `linear` can fuse; `gelu_tanh` keeps its input for the backward pass.
LINEAR_ACTIVATIONS: dict[str, Any] = {
    **FUSED_ACTIVATIONS,
    "gelu_tanh": partial(gelu, approximate="tanh"),
}


def _check_linear(x, weight, bias, activation):
    shape = weight.shape
    if len(shape) != 2:
        raise ShapeError(f"the weight must be (out_features, in_features). Received: {shape}")
    if not x.shape or x.shape[-1] != shape[1]:
        raise ShapeError(
            f"the last axis must have in_features = {shape[1]} values. "
            f"Received: {x.dtype} {x.shape}"
        )
    if bias is not None and bias.shape != shape[:1]:
        raise ShapeError(
            f"the bias of linear must have shape {shape[:1]}. Received: {bias.dtype} {bias.shape}"
        )


@fused(
    samples=[
        ([(5, 3), (4, 3), (4,)], {}),
        ([(2, 3, 7), (33, 7), None], {}),
        ([(5, 3), (4, 3), (4,)], {"activation": "relu"}),
        ([(3, 33), (20, 33), (20,)], {"activation": "tanh"}),
        ([(2, 9, 31), (17, 31), (17,)], {"activation": "sigmoid"}),
        ([(2, 9, 31), (16, 31), (16,)], {"activation": "gelu_tanh"}),
        ([(6, 5), (7, 5), None], {"activation": "gelu_tanh"}),
    ],
    check=_check_linear,
    autocast=Policy(("x",), parameters=True, result="half"),
)
def linear(x, weight, bias=None, *, activation=None):
    """``x Wᵀ + b`` with samples as rows (the course's z = W a + b), then an activation.

    Parameters
    ----------
    x : (..., n_in)
    weight : (n_out, n_in)
    bias : (n_out,), optional
    activation : {None, "relu", "tanh", "sigmoid", "gelu_tanh"}

    Returns
    -------
    (..., n_out)

    Examples
    --------
    >>> import numpy as np
    >>> linear(np.ones((1, 2)), np.array([[1.0, 2.0]]), np.array([0.5]))
    array([[3.5]])
    """
    y = matmul(x, transpose(weight))
    y = y if bias is None else y + bias
    return y if activation is None else LINEAR_ACTIVATIONS[activation](y)
