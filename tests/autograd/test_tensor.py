"""What a tensor is and how it is changed."""

import copy
import operator
import pickle

import numpy as np
import pytest

import nnlib
from nnlib.errors import BackendMismatchError, DTypeError, GradientError, ShapeError


def test_what_it_is(backend):
    x = nnlib.ones(2, 3)
    assert (x.shape, x.ndim, x.size, x.dtype) == ((2, 3), 2, 6, np.float32)
    assert x.backend is backend
    assert backend.owns(x.data)
    assert (x.requires_grad, x.is_leaf, x.grad) == (False, True, None)


# Operators ---------------------------------------------------------------------------------------

BINARY = [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.pow,
    operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge,
]  # fmt: skip


@pytest.mark.parametrize("operation", BINARY, ids=lambda f: f.__name__)
@pytest.mark.parametrize("other", [2.0, [1.0, 3.0], np.float32(2.0)])
def test_operators_on_either_side(operation, other, backend):
    x = nnlib.tensor([1.0, 2.0])
    for ours, expected in [
        (operation(x, other), operation(np.array([1.0, 2.0]), np.array(other))),
        (operation(other, x), operation(np.array(other), np.array([1.0, 2.0]))),
    ]:
        assert isinstance(ours, nnlib.Tensor)
        np.testing.assert_allclose(ours.numpy(), expected)
        assert ours.dtype != "float64"


def test_signs(backend):
    x = nnlib.tensor([-1.0, 2.0])
    assert ((-x).tolist(), (+x).tolist(), abs(x).tolist()) == ([1, -2], [-1, 2], [1, 2])


def test_matrix_product(backend):
    x = nnlib.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert (x @ [1.0, 1.0]).tolist() == [3.0, 7.0]
    assert ([1.0, 1.0] @ x).tolist() == [4.0, 6.0]


def test_array_on_the_left(backend):
    """NumPy defers to the tensor; the result is a tensor on the tape, not an array of objects."""
    array = backend.asarray(np.array([2.0, 3.0], np.float32))
    x = nnlib.tensor([1.0, 2.0], requires_grad=True)
    for y in (array * x, array + x, array / x, array - x, array @ x, array > x):
        assert isinstance(y, nnlib.Tensor)
    (array * x).sum().backward()
    assert x.grad.tolist() == [2.0, 3.0]


def test_equality_with_none_and_words(backend):
    x = nnlib.ones(3)
    assert (x == None) is False  # noqa: E711 - the point
    assert (x != None) is True  # noqa: E711
    assert (x == "adam") is False
    assert x not in [None, "x"]


def test_tensors_are_keys_by_identity():
    x, y = nnlib.ones(2), nnlib.ones(2)
    assert {x: "x", y: "y"}[y] == "y"
    assert len({x, y, x}) == 2


# Python's own conversions ------------------------------------------------------------------------


def test_single_values(backend):
    x = nnlib.tensor(2.5)
    assert (float(x), int(x), x.item(), bool(x)) == (2.5, 2, 2.5, True)
    assert f"{x:.3f}" == "2.500"
    assert f"{nnlib.tensor([3]):d}" == "3"
    assert range(10)[nnlib.tensor(3)] == 3
    assert not nnlib.tensor([[0]])


@pytest.mark.parametrize("convert", [float, int, bool, lambda x: x.item(), "{:.2f}".format])
def test_several_values_are_not_one(convert, backend):
    with pytest.raises(ShapeError, match=r"single value.*Received: float32 \(2,\).*numpy\(\)"):
        convert(nnlib.ones(2))


def test_floats_are_no_indices(backend):
    with pytest.raises(TypeError):
        [1, 2, 3][nnlib.tensor(1.0)]


def test_length_and_iteration(backend):
    x = nnlib.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    assert len(x) == 2
    first, second = x
    assert second.tolist() == [3.0, 4.0]
    (first * second).sum().backward()
    assert x.grad.tolist() == [[3.0, 4.0], [1.0, 2.0]]
    with pytest.raises(TypeError):
        len(nnlib.tensor(1.0))
    with pytest.raises(TypeError):
        iter(nnlib.tensor(1.0))


def test_membership(backend):
    x = nnlib.tensor([1.0, 2.0])
    assert 2.0 in x
    assert 3.0 not in x


def test_host_copies(backend):
    x = nnlib.tensor([[1.0, 2.0]])
    host = x.numpy()
    assert type(host) is np.ndarray
    host[...] = 9
    assert x.tolist() == [[1.0, 2.0]]


def test_deep_copy(backend):
    x = nnlib.tensor([1.0, 2.0], requires_grad=True)
    y = copy.deepcopy({"x": x})["x"]
    assert y.backend is backend
    assert y.requires_grad
    with nnlib.no_grad():
        y.zero_()
    assert x.tolist() == [1.0, 2.0]
    with pytest.raises(GradientError, match=r"detach\(\)"):
        copy.deepcopy(x * 2)


def test_an_unpickled_tensor_has_memory_of_its_own():
    x = nnlib.tensor(np.arange(1000.0), requires_grad=True)
    apart = []
    text = pickle.dumps(x, 5, buffer_callback=apart.append)
    read_only = [bytes(buffer) for buffer in apart]
    for y in (pickle.loads(text, buffers=read_only), pickle.loads(pickle.dumps(x))):
        assert y.data.base is None  # so that an optimizer may move it
        with nnlib.no_grad():
            y.zero_()
    assert pickle.loads(text, buffers=read_only).tolist() == x.tolist()


def test_gradient_and_hooks_are_copied():
    x = nnlib.tensor([1.0, 2.0], requires_grad=True)
    (x**3).sum().backward(create_graph=True)  # the gradient is part of a graph: its values count
    x.register_hook(operator.neg)
    for y in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert y.grad.tolist() == [3.0, 12.0]
        y.sum().backward()
        assert y.grad.tolist() == [2.0, 11.0]
    assert x.grad.tolist() == [3.0, 12.0]


def test_shallow_copy_is_at_the_same_place(backend):
    x = nnlib.tensor([1.0, 2.0], requires_grad=True)
    y = copy.copy(x * 2)
    assert y.requires_grad
    (y * copy.copy(x)).sum().backward()
    assert x.grad.tolist() == [4.0, 8.0]
    assert copy.copy(x).data is x.data


def test_deep_copy_of_a_module(backend):
    model = nnlib.nn.Linear(2, 3)
    twin = copy.deepcopy(model)
    x = nnlib.ones(1, 2)
    np.testing.assert_array_equal(twin(x).numpy(), model(x).numpy())
    assert {type(p) for p in twin.parameters()} == {nnlib.nn.Parameter}
    assert not {id(p) for p in twin.parameters()} & {id(p) for p in model.parameters()}


# requires_grad, grad, detach ---------------------------------------------------------------------


def test_requires_grad_can_be_switched_on_leaves(backend):
    x = nnlib.ones(2)
    x.requires_grad = True
    (x * 2).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]
    x.requires_grad = False
    assert not (x * 2).requires_grad
    assert x.grad is None


def test_requires_grad_cannot_be_set_on_results():
    y = nnlib.ones(2, requires_grad=True) * 2
    with pytest.raises(GradientError, match=r"leaves only.*detach\(\)"):
        y.requires_grad = False


@pytest.mark.parametrize("dtype", ["int64", "bool"])
def test_integers_have_no_gradient(dtype):
    with pytest.raises(DTypeError, match=f"floating-point.*Received: {dtype}"):
        nnlib.zeros(2, dtype=dtype).requires_grad = True


def test_conversion_to_integers_ends_the_graph(backend):
    y = nnlib.ones(2, requires_grad=True).astype("int64")
    assert not y.requires_grad
    assert y.is_leaf


def test_conversion_between_floats_is_recorded(backend):
    x = nnlib.ones(2, requires_grad=True)
    y = x.astype("float64") * 3
    assert (y.dtype, y.requires_grad) == ("float64", True)
    y.sum().backward()
    assert (x.grad.dtype, x.grad.tolist()) == ("float32", [3.0, 3.0])


def test_grad_can_be_set(backend):
    x = nnlib.ones(2, requires_grad=True)
    x.grad = nnlib.ones(2)
    (x * 2).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    with pytest.raises(ShapeError, match=r"shape \(2,\). Received: \(3,\)"):
        x.grad = nnlib.ones(3)
    for wrong in (x.data, nnlib.ones(2, dtype="float64")):
        with pytest.raises(DTypeError, match=r"grad must be a float32 tensor\. Received: float"):
            x.grad = wrong
    with pytest.raises(GradientError, match="requires_grad=False"):
        nnlib.ones(2).grad = nnlib.ones(2)


def test_detached_tensor_shares_memory():
    x = nnlib.ones(2, requires_grad=True)
    y = x.detach()
    assert not y.requires_grad
    assert y.data is x.data


# Backends ----------------------------------------------------------------------------------------


def test_moving():
    x = nnlib.tensor([1.0, 2.0], requires_grad=True)
    assert x.to("numpy") is x
    y = x.to("strict")
    assert y.backend.name == "strict"
    assert y.requires_grad
    assert y.is_leaf
    assert y.to("numpy").tolist() == [1.0, 2.0]
    with pytest.raises(GradientError, match=r"detach\(\).to"):
        (x * 2).to("strict")
    assert (x * 2).detach().to("strict").tolist() == [2.0, 4.0]


@pytest.mark.parametrize(
    "mix",
    [
        lambda x, y: x + y,
        lambda x, y: y * x,
        lambda x, y: x + y.data,
        lambda x, y: nnlib.concatenate([x, y]),
        lambda x, y: nnlib.ops.linear(x, y),
        lambda x, y: x.__setitem__(0, y),
        lambda x, y: y.__setitem__(0, x),
        lambda x, y: y + x.data,
    ],
)
def test_backends_do_not_mix(mix):
    x, y = nnlib.ones(2, 2), nnlib.ones(2, 2, backend="strict")
    with pytest.raises(BackendMismatchError, match=r"one backend.*strict.*float32 \(2, 2\)"):
        mix(x, y)


def test_copies_cross_backends():
    x, y = nnlib.zeros(2), nnlib.ones(2, backend="strict")
    assert x.copy_(y).tolist() == [1.0, 1.0]
    assert y.copy_(nnlib.zeros(2)).tolist() == [0.0, 0.0]
    assert y.copy_(np.array([1.0, 2.0])).tolist() == [1.0, 2.0]


@pytest.mark.parametrize("other", ["abc", 1j, {}, object()])
def test_what_is_no_number(other, backend):
    with pytest.raises(DTypeError, match=r"add takes tensors, arrays and numbers. Received: "):
        nnlib.ones(2) + other


# Methods -----------------------------------------------------------------------------------------


def test_methods_agree_with_functions(backend):
    x = nnlib.tensor([[1.0, -2.0, 3.0], [0.5, 5.0, -6.0]])
    a = x.numpy()
    for ours, expected in [
        (x.sum(0), a.sum(0)),
        (x.mean(1, keepdims=True), a.mean(1, keepdims=True)),
        (x.var(0, ddof=1), a.var(0, ddof=1)),
        (x.std(), a.std()),
        (x.max(-1), a.max(-1)),
        (x.min(), a.min()),
        (x.argmax(0), a.argmax(0)),
        (x.argmin(), a.argmin()),
        (x.clip(-1, 1), a.clip(-1, 1)),
        (x.reshape(3, 2), a.reshape(3, 2)),
        (x.reshape((3, -1)), a.reshape(3, 2)),
        (x.reshape(np.int64(6)), a.reshape(6)),
        (x.reshape([2, 3]), a),
        (x.transpose(), a.T),
        (x.transpose(1, 0), a.T),
        (x.transpose((1, 0)), a.T),
        (x.T, a.T),
        (x.swapaxes(0, 1), a.T),
        (x[None].squeeze(), a),
        (x[None].squeeze(0), a),
        (x.flatten(), a.reshape(-1)),
        (x.astype("int64"), a.astype("int64")),
    ]:
        assert ours.shape == expected.shape
        np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-6)


def test_quotient_and_remainder_are_pythons(backend):
    a, b = nnlib.tensor([7, -7, 7, -7]), nnlib.tensor([3, 3, -3, -3])
    expected = [divmod(x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    for quotient, remainder in ((a // b, a % b), divmod(a, b)):
        assert (quotient.dtype, remainder.dtype) == ("int64", "int64")
        assert list(zip(quotient.tolist(), remainder.tolist(), strict=True)) == expected
    assert (7 // b).tolist() == [7 // y for y in b.tolist()]
    assert (7 % b).tolist() == [7 % y for y in b.tolist()]
    assert nnlib.fmod(a, b).tolist() == [1, -1, 1, -1]


def test_gradient_of_a_remainder(backend):
    a = nnlib.tensor([7.5, -7.5], requires_grad=True)
    b = nnlib.tensor([2.0, 2.0], requires_grad=True)
    (a % b).sum().backward()
    assert (a.grad.tolist(), b.grad.tolist()) == ([1.0, 1.0], [-3.0, 4.0])
    assert not (a // b).requires_grad


def test_rounding(backend):
    x = nnlib.tensor([-1.25, 0.5, 1.5])
    assert round(x).tolist() == x.round().tolist() == [-1.0, 0.0, 2.0]
    assert round(x, 1).tolist() == nnlib.round(x, 1).tolist()
    assert (nnlib.floor(x).tolist(), nnlib.ceil(x).tolist()) == ([-2, 0, 1], [-1, 1, 2])


def test_values_are_found(backend):
    x = nnlib.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert 3.0 in x
    assert 5.0 not in x
    assert nnlib.tensor(3.0) in x
    assert nnlib.tensor([1.0, 2.0]) in x
