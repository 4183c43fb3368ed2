"""NumPy's own functions on tensors of either backend."""

import functools
import inspect

import numpy as np
import pytest

import nnlib
from nnlib import ops
from nnlib.errors import ArgumentError, DTypeError, GradientError

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
    lambda x: np.sum(x, 0, None, None, True), lambda x: np.var(x, 1, None, None, 1),
    lambda x: np.mean(x, 1, "float64"), lambda x: np.std(x, 0, correction=1),
    lambda x: np.concatenate(x), lambda x: np.stack(x, 1), lambda x: np.round(x), np.rint,
    np.floor, np.ceil, np.trunc, lambda x: np.around(x, 1), lambda x: np.mod(x, 0.7),
    lambda x: np.fmod(x, 0.7), lambda x: np.floor_divide(x, 0.7), lambda x: x // 0.7,
    lambda x: 0.7 % x, lambda x: np.float64(0.7) // x, lambda x: divmod(x, 0.7)[1],
    lambda x: np.divmod(x, 0.7)[0], lambda x: divmod(2, x)[0],
    lambda x: np.clip(x, a_min=-1, a_max=1), lambda x: np.clip(x, min=0),
    lambda x: np.clip(x, None, 1), lambda x: np.pad(x, 1), lambda x: np.pad(x, (1, 2)),
    lambda x: np.pad(x, ((1, 2),)), lambda x: np.pad(x, [2], "constant", constant_values=3),
    lambda x: np.argmax(x, keepdims=True), lambda x: np.argmin(x, axis=1, keepdims=True),
    lambda x: np.cumsum(x, 0, "float64"), lambda x: np.prod(x, axis=1, dtype="float64"),
    lambda x: np.roll(x, 2), lambda x: np.add(x, 1, where=True, casting="same_kind"),
    lambda x: np.take_along_axis(x, np.argmax(x, axis=-1, keepdims=True)),
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


# Every keyword of NumPy's ---------------------------------------------------------------------

#: What to give for an argument; the arrays themselves come first.
GIVEN = {
    "a_max": 1.0, "a_min": 0.0, "axes": (1, 0), "axis": 1, "axis1": 0, "axis2": 1,
    "casting": "unsafe", "constant_values": 2.0, "copy": False, "correction": 1, "ddof": 1,
    "decimals": 1, "destination": 0, "device": "cpu", "dtype": "float64", "initial": 2.0,
    "keepdims": True, "max": 1.0, "mean": X.mean(), "min": 0.0, "mode": "edge", "newshape": (3, 2),
    "order": "F", "out": np.zeros(()), "pad_width": 1, "shape": (3, 2), "shift": 1, "source": 1,
    "subok": False, "where": X > 0,
}  # fmt: skip
NEEDED = {
    "broadcast_to": {"shape": (2, 2, 3)}, "expand_dims": {"axis": 1}, "pad": {"pad_width": 1},
    "moveaxis": {"source": 0, "destination": 1}, "reshape": {"shape": (3, 2)},
    "roll": {"shift": 1}, "swapaxes": {"axis1": 0, "axis2": 1}, "squeeze": {"axis": ()},
    "clip": {"a_min": 0.0, "a_max": 1.0},
}  # fmt: skip
REFUSED = {
    "casting", "copy", "device", "initial", "mean", "mode", "order", "out", "where",
    ("concatenate", "dtype"), ("ones_like", "shape"), ("stack", "dtype"), ("std", "dtype"),
    ("var", "dtype"), ("zeros_like", "shape"),
}  # fmt: skip
ARRAYS = {"concatenate": ([X, X],), "stack": ([X, X],), "dot": (X, X.T), "outer": (X, X),
          "where": (X > 0, X, X), "take_along_axis": (X, np.argsort(X))}  # fmt: skip
FUNCTIONS = [
    function
    for name in sorted({*ops.__all__, "amax", "amin", "around", "zeros_like", "ones_like"})
    if callable(function := getattr(np, name, None))
    and not isinstance(function, np.ufunc)
    and name != "astype"  # it takes dtype by position only
]


def keywords(function):
    """What NumPy's function takes besides arrays, each with a value."""
    if function.__name__ in ("concatenate", "where", "dot"):  # have a signature from NumPy 2.4 on
        return {"concatenate": ["axis", "out", "dtype", "casting"], "dot": ["out"]}.get(
            function.__name__, []
        )
    names = list(inspect.signature(function).parameters)
    if function is np.pad:
        names.append("constant_values")
    if function is np.clip:
        names = ["a_min", "out", "casting", "where"]  # its limits go together, by either name
    return [name for name in names if name in GIVEN]


def on_tensors(value):
    if isinstance(value, list):
        return [on_tensors(x) for x in value]
    return nnlib.tensor(value) if isinstance(value, np.ndarray) else value


@pytest.mark.filterwarnings("ignore:`newshape`:DeprecationWarning")
@pytest.mark.parametrize(
    ("function", "keyword"),
    [
        pytest.param(function, keyword, id=f"{function.__name__}-{keyword}")
        for function in FUNCTIONS
        for keyword in keywords(function)
    ],
)
def test_keyword_means_what_it_means_to_numpy_or_is_refused_by_name(function, keyword):
    arrays = ARRAYS.get(function.__name__, (X,))
    options = {keyword: GIVEN[keyword], **NEEDED.get(function.__name__, {})}
    if keyword == "newshape":  # until NumPy 2.3 another name of shape, which then must not be there
        del options["shape"]
    call = functools.partial(function, **options)
    refused = keyword in REFUSED or (function.__name__, keyword) in REFUSED
    if refused:
        with pytest.raises(ArgumentError, match=rf"numpy\.{function.__name__}\({keyword}=…\)"):
            call(*on_tensors(list(arrays)))
        return
    result = call(*on_tensors(list(arrays)))
    expected = call(*arrays)
    assert result.dtype == expected.dtype
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("function", [np.sum, np.mean, np.prod, np.cumsum, nnlib.sum, nnlib.mean])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int8", "bool"])
def test_dtype_of_a_reduction_is_that_of_the_result(function, dtype):
    x = np.array([[20.5, 30.25], [3.0, 0.0]], np.float32)
    theirs = getattr(np, function.__name__ if hasattr(function, "__name__") else function.name)
    with np.errstate(all="ignore"):
        expected = theirs(x.astype(dtype), dtype=dtype)  # NumPy adds before it converts
    result = function(nnlib.tensor(x), dtype=dtype)
    assert result.dtype == dtype
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-3)


def test_gradient_passes_a_conversion(backend):
    x = nnlib.tensor([1.0, 2.0], requires_grad=True, backend=backend)
    x.sum(dtype="float64").backward()
    assert (x.grad.dtype, x.grad.tolist()) == ("float32", [1.0, 1.0])


@pytest.mark.parametrize(
    ("call", "keyword"),
    [
        (lambda x: np.exp(x, out=np.zeros((2, 3))), r"exp\(out=…\)"),
        (lambda x: np.add(x, x, out=x), r"add\(out=…\)"),
        (lambda x: np.add(x, x, where=X > 0), r"add\(where=…\)"),
        (lambda x: np.add(x, x, dtype="float64"), r"add\(dtype=…\)"),
        (lambda x: np.add(x, x, casting="no"), r"add\(casting=…\)"),
        (lambda x: np.matmul(x, x, axes=[(0, 1)] * 3), r"matmul\(axes=…\)"),
        (lambda x: np.pad(x, 1, "reflect"), r"pad\(mode=…\).*pad_width, value"),
        (lambda x: np.var(x, ddof=1, correction=1), r"var\(correction=…\)"),
    ],
)
def test_option_that_nnlib_lacks_is_refused_by_name(call, keyword, backend):
    with pytest.raises(ArgumentError, match=rf"numpy\.{keyword}"):
        call(nnlib.tensor(X, backend=backend))


def test_array_is_not_changed_by_a_tensor(backend):
    array = np.ones(3)
    with pytest.raises(ArgumentError, match=r"numpy\.add\(out=…\)"):
        array += nnlib.ones(3)


def test_limits_that_are_tensors(backend):
    x, low, high = (
        nnlib.tensor(v, requires_grad=True) for v in ([1.0, 5.0, 2.0], [2.0, 1.0, 1.0], [3.0] * 3)
    )
    y = np.clip(x, low, high)
    y.sum().backward()
    assert y.tolist() == [2, 3, 2]
    assert [v.grad.tolist() for v in (x, low, high)] == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]


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


# Out of the graph --------------------------------------------------------------------------------

INTO_ARRAYS = {
    "asarray": lambda t, s: np.asarray(t),
    "array": lambda t, s: np.array(t),
    "array of two": lambda t, s: np.array([t, t]),
    "array of a tensor and numbers": lambda t, s: np.array([t, [1.0, 2.0]]),
    "array of numbers": lambda t, s: np.array([s, s]),
    "array of objects": lambda t, s: np.array([t, None], dtype=object),
    "array of nested lists": lambda t, s: np.array([[t], [t]]),
    "asanyarray": lambda t, s: np.asanyarray(t),
    "mean of a list": lambda t, s: np.mean([t, t], axis=0),
    "sum of a list": lambda t, s: np.sum([t, t]),
    "max of a tuple": lambda t, s: np.max((t, t)),
    "method of an array": lambda t, s: np.ones(2).dot(t),
    "assignment": lambda t, s: np.zeros(2).__setitem__(slice(None), t),
    "float32": lambda t, s: np.float32(s),
    "full": lambda t, s: np.full(2, t),
    "comparison of a test": lambda t, s: np.testing.assert_array_equal(t, t),
    "tensor of a list": lambda t, s: nnlib.tensor([t, t]),
    "operand of a list": lambda t, s: nnlib.add(nnlib.ones(2), [s, s]),
    "fill": lambda t, s: nnlib.zeros(2).fill_(s),
    "dlpack": lambda t, s: np.from_dlpack(t),
    "dlpack of ours": lambda t, s: nnlib.from_dlpack(t),
}


@pytest.mark.parametrize("convert", INTO_ARRAYS.values(), ids=INTO_ARRAYS)
@pytest.mark.parametrize("mode", [nnlib.enable_grad, nnlib.no_grad])
def test_a_gradient_is_not_lost_unasked(convert, mode):
    """As in PyTorch, under ``no_grad``, too: the tensor still has requires_grad=True."""
    t = nnlib.tensor([1.0, 2.0], requires_grad=True)
    for x in (t, t * 2):
        s = x.sum()
        with mode(), pytest.raises(GradientError, match=r"must not become.*detach\(\)"):
            convert(x, s)


@pytest.mark.parametrize("convert", INTO_ARRAYS.values(), ids=INTO_ARRAYS)
def test_without_a_gradient_there_is_nothing_to_lose(convert):
    t = nnlib.tensor([1.0, 2.0], requires_grad=True)
    convert(t.detach(), t.detach().sum())
    with nnlib.no_grad():
        convert(t * 2, t.sum())


def test_what_is_asked_for_is_given():
    t = nnlib.tensor([1.0, 2.0], requires_grad=True)
    assert t.numpy().tolist() == t.detach().numpy().tolist() == t.tolist() == [1.0, 2.0]
    assert float(t.sum()) == t.sum().item() == 3.0
    assert [x.requires_grad for x in t] == [True, True]
    y = np.stack([t, t])
    assert isinstance(y, nnlib.Tensor)
    assert y.requires_grad


@pytest.mark.peers
def test_other_libraries_lose_no_gradient_either():
    torch = pytest.importorskip("torch")
    t = nnlib.tensor([1.0, 2.0], requires_grad=True)
    for convert in (torch.tensor, torch.as_tensor, torch.from_dlpack):
        with pytest.raises(GradientError):
            convert(t)
        assert convert(t.detach()).tolist() == [1.0, 2.0]
