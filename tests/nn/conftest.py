"""Shared by the tests of layers: where tensors go, float64 layers, and PyTorch as the oracle."""

import numpy as np
import pytest

import nnlib
from nnlib import nn


@pytest.fixture(scope="session")
def place():
    """A function: NumPy values → tensor on the current backend."""

    def to_current(values, dtype=None, requires_grad=False):
        values = np.asarray(values)
        if dtype is None and values.dtype == np.float64:
            dtype = "float32"
        return nnlib.tensor(values, dtype, requires_grad=requires_grad, backend=nnlib.get_backend())

    return to_current


@pytest.fixture(scope="session")
def double():
    """A function that makes a module's parameters and buffers float64, and returns it."""

    def convert(module):
        for inner in module.modules():
            for name, value in list(inner._parameters.items()):
                setattr(inner, name, nn.Parameter(value.detach().astype("float64")))
            for name, value in list(inner._buffers.items()):
                if value.dtype == "float32":
                    setattr(inner, name, value.astype("float64"))
        return module

    return convert


@pytest.fixture(scope="session")
def check_layer(double):
    """A function: check a layer's derivatives by its input and its parameters, in float64."""

    def check(layer, x, eps=1e-6):
        double(layer)
        x = nnlib.tensor(x, "float64", requires_grad=True)
        assert nnlib.gradcheck(lambda x, *_: layer(x), [x, *layer.parameters()], eps=eps)

    return check


@pytest.fixture(scope="session")
def check_against_torch():
    """A function: one computation in nnlib and in PyTorch, values and gradients, in float64.

    ``ours`` and ``theirs`` take the arrays as tensors of either library and return one tensor.
    """
    torch = pytest.importorskip("torch")

    def check(ours, theirs, *arrays, rtol=1e-9, atol=1e-9):
        mine = [nnlib.tensor(a.astype("float64"), requires_grad=True) for a in arrays]
        other = [torch.tensor(a.astype("float64"), requires_grad=True) for a in arrays]
        y, z = ours(*mine), theirs(*other)
        assert y.shape == tuple(z.shape)
        assert y.dtype == "float64"
        np.testing.assert_allclose(y.numpy(), z.detach().numpy(), rtol, atol)
        g = np.cos(np.arange(max(y.size, 1.0)))[: y.size].reshape(y.shape)
        y.backward(nnlib.tensor(g))
        z.backward(torch.tensor(g))
        for a, b in zip(mine, other, strict=True):
            theirs_grad = np.zeros(a.shape) if b.grad is None else b.grad.numpy()
            np.testing.assert_allclose(a.grad.numpy(), theirs_grad, rtol, atol)

    return check
