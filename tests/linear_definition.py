"""What kernels of ``linear`` must agree with: the general kernel, and GELU by its definition."""

import numpy as np

from nnlib import ops
from nnlib_backends.common import fused
from nnlib_backends.numpy_backend import namespace

GENERAL = fused.into_targets(fused.make_kernels(namespace)["linear"])


def gelu_tanh(z):
    return ops.gelu(z, approximate="tanh")


def gelu_tanh_slope(z):
    """The derivative, without the cancellation of ``1 − tanh²``."""
    z = z.astype(np.longdouble)
    factor = 2 * np.sqrt(np.longdouble(2) / np.pi)
    e = np.exp(-np.abs(factor * z * (1 + 0.044715 * z * z)))
    logistic = np.where(z < 0, e, 1) / (1 + e)
    return logistic + z * e / (1 + e) ** 2 * factor * (1 + 3 * 0.044715 * z * z)


def forward(x, weight, bias, *, activation=None):
    if activation != "gelu_tanh":
        return GENERAL.forward(x, weight, bias, activation=activation)
    z, _ = GENERAL.forward(x, weight, bias)
    return gelu_tanh(z), z


def backward(g, kept, needs, x, weight, bias, *, activation=None):
    if activation == "gelu_tanh":
        g = (g * gelu_tanh_slope(kept).reshape(g.shape)).astype(g.dtype)
        kept, activation = None, None
    return GENERAL.backward(g, kept, needs, x, weight, bias, activation=activation)
