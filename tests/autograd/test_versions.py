"""In-place changes of arrays that a backward pass needs raise an error."""

import numpy as np
import pytest

import nnlib
from nnlib.errors import GradientError


def changed_after_use(x, change, use=lambda x: x * x):
    """Change ``x`` between its use and the backward pass; return the result."""
    y = use(x).sum()
    with nnlib.no_grad():
        change(x)
    return y


def add_one(x):
    x += 1


CHANGES = {
    "assignment": lambda x: x.__setitem__(0, 5.0),
    "mask": lambda x: x.__setitem__(x > 0, 5.0),
    "+=": add_one,
    "copy_": lambda x: x.copy_([1.0, 1.0, 1.0, 1.0]),
    "fill_": lambda x: x.fill_(1.0),
    "zero_": lambda x: x.zero_(),
    "detached": lambda x: x.detach().zero_(),
    "wrapped again": lambda x: nnlib.tensor(x).zero_(),
    "bump_version": lambda x: x.bump_version(),
}

VIEWS = {
    "slice": lambda x: x[1:],
    "reverse": lambda x: x[::-1],
    "row": lambda x: x.reshape(2, 2)[0],
    "reshape": lambda x: x.reshape(2, 2),
    "flatten": lambda x: x.flatten(),
    "transpose": lambda x: x.reshape(2, 2).T,
    "swapaxes": lambda x: x.reshape(2, 2).swapaxes(0, 1),
    "moveaxis": lambda x: nnlib.moveaxis(x.reshape(2, 2), source=0, destination=1),
    "expand_dims": lambda x: nnlib.expand_dims(x, axis=0),
    "squeeze": lambda x: x.reshape(1, 4).squeeze(),
    "iteration": lambda x: next(iter(x.reshape(2, 2))),
    "flip": lambda x: nnlib.flip(x),
    "view of a view": lambda x: x[1:].reshape(3, 1)[:, 0][::2],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_change_is_found(change, backend):
    x = nnlib.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    y = changed_after_use(x, change)
    with pytest.raises(GradientError, match=r"multiply needs was changed in place.*copy"):
        y.backward()


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_change_through_a_view_is_found(view, backend):
    x = nnlib.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    y = changed_after_use(x, lambda x: view(x.detach()).fill_(7.0))
    with pytest.raises(GradientError, match="changed in place"):
        y.backward()


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_change_of_the_whole_is_found_where_a_view_was_used(view, backend):
    x = nnlib.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    y = changed_after_use(x, lambda x: x.zero_(), use=lambda x: view(x) * view(x))
    with pytest.raises(GradientError, match="changed in place"):
        y.backward()


def test_change_of_a_result_that_is_needed_is_found(backend):
    x = nnlib.tensor([1.0, 2.0], requires_grad=True)
    y = nnlib.exp(x)
    with nnlib.no_grad():
        y.zero_()
    with pytest.raises(GradientError, match="derivative of exp needs"):
        y.sum().backward()


def test_change_of_what_is_not_needed_is_fine(backend):
    """The derivative of a sum needs neither of its terms, that of exp not its input."""
    x = nnlib.tensor([1.0, 2.0], requires_grad=True)
    y = (nnlib.exp(x) + x).sum()
    with nnlib.no_grad():
        x.zero_()
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), np.exp([1, 2]) + 1, rtol=1e-6)


def test_change_before_use_is_fine(backend):
    x = nnlib.tensor([1.0, 2.0], requires_grad=True)
    with nnlib.no_grad():
        x += 1
    (x * x).sum().backward()
    assert x.grad.tolist() == [4.0, 6.0]


def test_copies_are_changed_freely(backend):
    x = nnlib.tensor([1.0, 2.0], requires_grad=True)
    for copy in (lambda x: x[[0, 1]], lambda x: x * 1, lambda x: x.astype("float64")):
        changed_after_use(x, lambda x, copy=copy: copy(x).zero_()).backward()
    assert x.grad.tolist() == [6.0, 12.0]


def test_change_between_first_and_second_derivative_is_found(backend):
    x = nnlib.tensor([1.0, 2.0], requires_grad=True)
    (x * x * x).sum().backward(create_graph=True)
    g = x.grad
    with nnlib.no_grad():
        x.zero_()
    with pytest.raises(GradientError, match="changed in place"):
        g.sum().backward()


def test_change_of_what_only_the_second_derivative_needs_is_found(backend):
    """The gradient by v of the gradient by x passes none of the first pass's nodes."""
    x = nnlib.tensor([1.0, 2.0], requires_grad=True)
    v = nnlib.tensor([3.0, 4.0], requires_grad=True)
    (v * nnlib.square(x)).sum().backward(create_graph=True)
    g = x.grad
    with nnlib.no_grad():
        x.zero_()
    with pytest.raises(GradientError, match="changed in place"):
        g.sum().backward()


def test_change_between_derivatives_of_a_fused_operation_is_found(backend):
    x = nnlib.tensor([[1.0, 2.0]], requires_grad=True)
    w = nnlib.tensor([[3.0, 4.0]], requires_grad=True)
    y = (nnlib.ops.linear(x, w) ** 2).sum()
    with nnlib.no_grad():
        w.zero_()
    with pytest.raises(GradientError, match="changed in place"):
        y.backward()
