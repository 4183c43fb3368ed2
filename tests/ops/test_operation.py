"""What an operation is: its arguments, its rules, its registry."""

import inspect

import numpy as np
import pytest

import nnlib
from nnlib.ops.operation import Fused, fused, fused_operations, primitive


@pytest.fixture
def twice():
    @primitive
    def twice(xp, x, *, times=2):
        """A primitive of the test."""
        return xp.multiply(x, times)

    @twice.vjp("x")
    def _(g, times):
        return g * times

    return twice


@pytest.fixture
def affine():
    """A fused operation that is taken out of the registry again."""

    @fused(samples=[([(2, 3), (3,), None], {})])
    def affine(x, scale, shift=None, *, power=1):
        y = x * scale**power
        return y if shift is None else y + shift

    yield affine
    del Fused.registry["affine"]


def test_new_primitive_in_six_lines(twice, backend):
    x = nnlib.tensor([1.0, 2.0], requires_grad=True)
    y = twice(x, times=3)
    y.sum().backward()
    assert y.tolist() == [3.0, 6.0]
    assert x.grad.tolist() == [3.0, 3.0]


def test_options_may_come_by_position(twice):
    assert twice(np.ones(2), 5).tolist() == [5, 5]
    assert nnlib.sum(nnlib.ones(2, 3), 1, True).shape == (2, 1)
    with pytest.raises(TypeError, match=r"twice.* at most 2 arguments. Received: 3"):
        twice(np.ones(2), 5, 6)


def test_arrays_may_come_by_name(affine, backend):
    x, scale, shift = (nnlib.tensor([v, v], requires_grad=True) for v in (2.0, 3.0, 4.0))
    for y in (
        affine(x, scale, shift=shift),
        affine(x, shift=shift, scale=scale),
        affine(scale=scale, x=x, shift=shift, power=1),
    ):
        assert y.tolist() == [10.0, 10.0]
        y.sum().backward()
    assert (x.grad.tolist(), scale.grad.tolist(), shift.grad.tolist()) == ([9, 9], [6, 6], [3, 3])


def test_matmul_by_name_is_recorded(backend):
    a, b = nnlib.ones(2, 2, requires_grad=True), nnlib.ones(2, 2, requires_grad=True)
    nnlib.matmul(a, b=b).sum().backward()
    nnlib.where(nnlib.tensor(True), a=a, b=b).sum().backward()
    assert a.grad.tolist() == [[3, 3], [3, 3]]


def test_concatenate_takes_a_sequence_or_arrays(backend):
    a, b = nnlib.ones(1, 2), nnlib.zeros(1, 2)
    assert nnlib.concatenate([a, b]).shape == nnlib.concatenate(a, b).shape == (2, 2)
    assert nnlib.concatenate((a, b), 1).shape == nnlib.concatenate(a, b, axis=1).shape == (1, 4)


def test_rule_may_keep_only_what_there_is(twice):
    with pytest.raises(TypeError, match=r"rule of twice by 'x' cannot keep .*'z'"):
        twice.vjp("x")(lambda g, z: g)
    with pytest.raises(TypeError, match="rule of twice by 'w'"):
        twice.vjp("w")(lambda g: g)
    with pytest.raises(TypeError, match="cannot keep"):
        twice.vjp("x")(lambda y: y)


def test_operation_looks_like_its_function(twice):
    assert twice.__doc__ == "A primitive of the test."
    assert str(inspect.signature(twice)) == "(x, *, times=2)"
    assert repr(twice) == "<nnlib operation twice(x, *, times=2)>"


def test_fused_operations_are_registered_by_name(affine):
    names = [operation.name for operation in fused_operations()]
    assert names == sorted(names)
    assert "affine" in names


def test_kernel_gets_every_argument_and_option(affine, backend, monkeypatch):
    from nnlib_backends import KernelPair

    seen = []

    def forward(*arrays, **options):
        seen.append((arrays, options))
        return arrays[0] * arrays[1], None

    monkeypatch.setattr(backend, "kernels", {"affine": KernelPair(forward, None)})
    affine(nnlib.ones(2), nnlib.ones(2))
    (x, scale, shift), options = seen[0]
    assert backend.owns(x)
    assert backend.owns(scale)
    assert shift is None
    assert options == {"power": 1}


def test_a_kernel_may_leave_arguments_to_the_definition(affine, backend, monkeypatch):
    from nnlib_backends import KernelPair

    declining = KernelPair(lambda *arrays, **options: NotImplemented, None)
    monkeypatch.setattr(backend, "kernels", {"affine": declining})
    x = nnlib.tensor([1.0, 2.0], backend=backend, requires_grad=True)

    @nnlib.compile
    def step():
        y = affine(x, 3.0)
        y.sum().backward()
        return y

    for _ in range(4):  # computed, recorded, replayed
        x.grad = None
        assert step().tolist() == [3.0, 6.0]
        assert x.grad.tolist() == [3.0, 3.0]


def test_kernel_is_told_whose_gradient_is_wanted(affine, backend, monkeypatch):
    from nnlib_backends import KernelPair
    from nnlib_backends.base import ANYWHERE

    asked = []

    def backward(g, saved, grads_out, x, scale, shift, *, power):
        asked.append((saved, list(grads_out)))
        return g, None, None

    kernel = KernelPair(lambda x, scale, shift, *, power: (x * scale, "saved"), backward)
    monkeypatch.setattr(backend, "kernels", {"affine": kernel})
    x = nnlib.ones(2, requires_grad=True)
    affine(x, nnlib.ones(2)).sum().backward()
    assert asked == [("saved", [ANYWHERE, None, None])]


def test_derivative_of_a_kernels_derivative_comes_from_the_definition(affine, backend, monkeypatch):
    from nnlib_backends import KernelPair

    kernel = KernelPair(lambda x, scale, shift, *, power: (x * scale**power, None), None)
    monkeypatch.setattr(backend, "kernels", {"affine": kernel})
    f = nnlib.grad(nnlib.grad(lambda scale: affine(nnlib.ones(()), scale, power=3)))
    assert f(2.0).item() == 12.0


def test_inputs_of_a_kernel_may_depend_on_one_another(affine, backend, monkeypatch):
    """The definition gives partial derivatives; the engine adds up the paths."""
    from nnlib_backends import KernelPair

    kernel = KernelPair(lambda x, scale, shift, *, power: (x * scale + shift, None), None)
    monkeypatch.setattr(backend, "kernels", {"affine": kernel})
    f = nnlib.grad(nnlib.grad(lambda x: affine(x, x * x, nnlib.sin(x) * 0.0)))  # x³
    assert f(2.0).item() == 12.0
