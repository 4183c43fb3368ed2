"""Tensors, the tape of operations, and the backward pass."""

from nnlib.autograd import apply, engine, memory, numpy_protocol  # noqa: F401 - complete Tensor
from nnlib.autograd.autocast import autocast
from nnlib.autograd.creation import (
    arange,
    eye,
    from_dlpack,
    full,
    linspace,
    ones,
    ones_like,
    rand,
    randn,
    tensor,
    zeros,
    zeros_like,
)
from nnlib.autograd.draw import draw_graph, graph_dot
from nnlib.autograd.functional import grad, value_and_grad
from nnlib.autograd.gradcheck import gradcheck
from nnlib.autograd.mode import enable_grad, is_grad_enabled, no_grad
from nnlib.autograd.tensor import Tensor

__all__ = [
    "Tensor",
    "arange",
    "autocast",
    "draw_graph",
    "enable_grad",
    "eye",
    "from_dlpack",
    "full",
    "grad",
    "gradcheck",
    "graph_dot",
    "is_grad_enabled",
    "linspace",
    "no_grad",
    "ones",
    "ones_like",
    "rand",
    "randn",
    "tensor",
    "value_and_grad",
    "zeros",
    "zeros_like",
]
