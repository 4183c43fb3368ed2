"""NumPy's own functions on tensors of either backend."""

import numpy as np
import pytest

import nnlib
from nnlib.errors import ArgumentError, DTypeError

X = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])
SAME = [
    np.exp, np.tanh, np.abs, np.negative, np.square, np.sin, np.cosh, np.expm1, np.sign,
    np.isfinite, np.sum, np.mean, np.max, np.min, np.prod, np.argmax, np.transpose, np.squeeze,
    np.flip, np.std, np.cumsum, np.shape, np.ndim, np.size, np.zeros_like, np.ones_like,
    lambda x: np.sum(x, axis=0), lambda x: np.mean(x, 1, keepdims=True),
    lambda x: np.var(x, axis=1, ddof=1), lambda x: np.max(x, axis=-1),
    lambda x: np.reshape(x, (3, 2)), lambda x: np.swapaxes(x, 0, 1),
    lambda x: np.moveaxis(x, 0, 1), lambda x: np.expand_dims(x, 1),
    lambda x: np.roll(x, 1, axis=1), lambda x: np.clip(x, -1, 1),
    lambda x: np.broadcast_to(x, (2, 2, 3)), lambda x: np.pad(x, ((1, 0), (0, 2))),
    lambda x: np.concatenate([x, x], axis=1), lambda x: np.stack([x, x]),
    lambda x: np.where(x > 0, x, 0.5), lambda x: np.matmul(x, x.T), lambda x: np.dot(x, x.T),
    lambda x: np.outer(x, x), lambda x: np.maximum(x, 0.1), lambda x: np.add(1, x),
    lambda x: np.true_divide(x, 2), lambda x: np.power(x, 2), lambda x: np.greater(x, 0),
    lambda x: np.logaddexp(x, 0.0), lambda x: np.float64(2) * x,
    lambda x: np.take_along_axis(x, np.argmax(x, axis=1)[:, None], axis=1),
]  # fmt: skip


@pytest.mark.parametrize("function", SAME)
def test_same_as_on_arrays(function, backend):
    expected = function(X)
    result = function(nnlib.tensor(X, backend=backend))
    if isinstance(result, nnlib.Tensor):
        assert result.backend is backend
        result = result.numpy()
    assert np.shape(result) == np.shape(expected)
    np.testing.assert_allclose(result, expected, rtol=1e-12)


def test_differentiable(backend):
    x = nnlib.tensor(X, requires_grad=True, backend=backend)
    np.sum(np.exp(np.concatenate([x, x * 2]))).backward()
    np.testing.assert_allclose(x.grad.numpy(), np.exp(X) + 2 * np.exp(2 * X))


def test_array_beside_a_tensor():
    x = nnlib.tensor([1.0, 2.0], requires_grad=True)
    array = np.array([3.0, 4.0], np.float32)
    y = np.concatenate([array, np.multiply(array, x), array * x])
    assert isinstance(y, nnlib.Tensor)
    y.sum().backward()
    assert x.grad.tolist() == [6.0, 8.0]


def test_zeros_like_what_is_not_finite(backend):
    x = nnlib.tensor([float("nan"), float("inf")])
    assert np.zeros_like(x).tolist() == [0.0, 0.0]
    assert np.ones_like(nnlib.nn.Parameter([2.0]), dtype="int64").tolist() == [1]


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda x: np.linalg.svd(x), "svd"),
        (lambda x: np.arctan(x), "arctan"),
        (lambda x: np.median(x), "median"),
        (lambda x: np.add.reduce(x), "add.reduce"),
        (lambda x: np.allclose(x, x), "allclose"),
        (lambda x: np.einsum("ij->i", x), "einsum"),
    ],
)
def test_what_nnlib_lacks_is_refused_with_a_remedy(call, name, backend):
    with pytest.raises(DTypeError, match=rf"numpy\.{name}.* is not defined.*numpy\(\)"):
        call(nnlib.tensor(X, backend=backend))


def test_array_is_not_changed_by_a_tensor(backend):
    array = np.ones(3)
    with pytest.raises(ArgumentError, match=r"numpy\.add\(out=…\)"):
        array += nnlib.ones(3)


def test_limits_that_are_tensors(backend):
    with pytest.raises(DTypeError, match="options of clip must not be tensors"):
        nnlib.clip(nnlib.ones(3), min=nnlib.zeros(3))


def test_conversion_to_an_array():
    x = nnlib.tensor([1.0, 2.0])
    assert np.asarray(x) is x.data
    assert np.asarray(x, dtype="int64").tolist() == [1, 2]
    assert not np.shares_memory(np.array(x), x.data)
    with pytest.raises(ValueError, match="copy"):
        np.array(x, dtype="int64", copy=False)


def test_array_of_a_device_is_not_converted_silently():
    with pytest.raises(TypeError, match="Implicit conversion"):
        np.asarray(nnlib.ones(2, backend="strict"))
