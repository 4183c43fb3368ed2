"""The backward pass."""

import time

import numpy as np
import pytest

import nnlib
from nnlib.autograd import engine
from nnlib.errors import BackendMismatchError, GradientError, ShapeError


def leaf(*values):
    return nnlib.tensor(list(values), dtype="float64", requires_grad=True)


def test_diamond(backend):
    x = leaf(3.0)
    a = x * x
    (nnlib.exp(-a) + a * 2).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [6 * (2 - np.exp(-9))])


def test_shared_subexpression_is_visited_once(backend):
    """Doubling 60 times by ``y + y`` has 2**60 paths from end to start."""
    x = leaf(1.0)
    y = x
    for _ in range(60):
        y = y + y
    y.sum().backward()
    assert x.grad.tolist() == [2.0**60]


def test_order_of_use_does_not_matter(backend):
    x = leaf(2.0)
    early = x * 3
    late = early * early  # 9x²
    (early * late + x).sum().backward()  # 27x³ + x
    assert x.grad.tolist() == [81 * 4 + 1]


def test_ten_thousand_operations():
    x = nnlib.tensor(1.0, requires_grad=True)
    begin = time.perf_counter()
    y = x
    for _ in range(10_000):
        y = y * 1.0001
    y.backward()
    assert time.perf_counter() - begin < 5  # about 0.1 s
    np.testing.assert_allclose(x.grad.item(), 1.0001**10_000, rtol=1e-3)


def test_dropping_a_long_graph_does_not_recurse():
    y = nnlib.tensor(1.0, requires_grad=True)
    for _ in range(100_000):
        y = y + 1.0
    del y


def test_second_order_through_a_long_chain():
    x = nnlib.tensor(2.0, dtype="float64", requires_grad=True)
    y = x
    for _ in range(1000):
        y = y * 1.001
    (y * y).backward(create_graph=True)
    first, x.grad = x.grad, None
    first.backward()
    np.testing.assert_allclose(x.grad.item(), 2 * 1.001**2000, rtol=1e-9)


def test_gradients_add_up(backend):
    x = leaf(1.0, 2.0)
    for _ in range(3):
        (x * x).sum().backward()
    assert x.grad.tolist() == [6.0, 12.0]
    x.grad = None
    (x * x).sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]
    x.grad.zero_()
    (x * x).sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_freed_graph(backend):
    x = leaf(2.0)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(GradientError, match=r"freed by an earlier backward.*retain_graph=True"):
        y.backward()


def test_kept_graph(backend):
    x = leaf(2.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [8.0]


def test_two_results_on_one_graph(backend):
    x = leaf(2.0)
    shared = nnlib.exp(x)
    a, b = shared.sum(), (shared * shared).sum()
    a.backward(retain_graph=True)
    b.backward()
    np.testing.assert_allclose(x.grad.numpy(), [np.exp(2) + 2 * np.exp(4)])


def test_backward_from_a_leaf(backend):
    x = nnlib.tensor(3.0, requires_grad=True)
    x.backward()
    assert x.grad.item() == 1.0


def test_backward_of_what_was_not_recorded(backend):
    with pytest.raises(GradientError, match=r"requires_grad=False.*no_grad"):
        nnlib.ones(()).backward()


def test_given_gradient(backend):
    x = leaf(1.0, 2.0, 3.0)
    for gradient in (nnlib.tensor([1.0, 10.0, 100.0], dtype="float64"), [1.0, 10.0, 100.0]):
        x.grad = None
        (x * x).backward(gradient)
        assert x.grad.tolist() == [2.0, 40.0, 600.0]


def test_missing_or_wrong_gradient(backend):
    y = leaf(1.0, 2.0) * 2
    with pytest.raises(ShapeError, match=r"single value.*float64 \(2,\).*sum or mean"):
        y.backward()
    with pytest.raises(ShapeError, match=r"must have shape \(2,\). Received: \(3,\)"):
        y.backward(nnlib.ones(3))


def test_given_gradient_of_another_kind(backend):
    x = nnlib.ones(2, requires_grad=True)
    (x * 2).backward(nnlib.ones(2, dtype="float64"))
    assert (x.grad.dtype, x.grad.tolist()) == ("float32", [2.0, 2.0])
    other = "strict" if backend.name == "numpy" else "numpy"
    with pytest.raises(BackendMismatchError, match="backward"):
        (x * 2).backward(nnlib.ones(2, backend=other))


# The function behind it all ----------------------------------------------------------------------


def test_targets_leave_grad_alone(backend):
    x, w = leaf(2.0), leaf(3.0)
    y = (x * w).sum()
    found = engine.backward([(y.node, y._seed(None, False))], [x.node])
    assert list(found) == [x.node]
    assert x.grad is w.grad is None


def test_partial_derivatives_stop_at_targets(backend):
    x = leaf(2.0)
    y = x * x
    z = (x * y).sum()
    seed = (z.node, z._seed(None, False))
    total = engine.backward([seed], [x.node, y.node], retain_graph=True)
    partial = engine.backward([seed], [x.node, y.node], retain_graph=True, stop_at_targets=True)
    host = backend.to_numpy
    assert [host(total[t.node]).tolist() for t in (x, y)] == [[12.0], [2.0]]
    assert [host(partial[t.node]).tolist() for t in (x, y)] == [[4.0], [2.0]]


def test_partial_derivatives_do_not_walk_what_lies_behind():
    """Else the second derivative of a deep network would take quadratic time."""
    x = y = leaf(1.0)
    for _ in range(5000):
        y = y * 1.0
    z = y * y
    begin = time.perf_counter()
    for _ in range(1000):
        engine.backward([(z.node, z.data)], [y.node], retain_graph=True, stop_at_targets=True)
    assert time.perf_counter() - begin < 2  # 0.01 s; 5 s if it walked the chain
    assert x.grad is None


def test_several_roots(backend):
    x = leaf(1.0, 2.0)
    y, z = x * 2, x * 3
    one = backend.asarray(np.ones(2))
    engine.backward([(y.node, one), (z.node, one), (y.node, one)])
    assert x.grad.tolist() == [7.0, 7.0]


def test_operators_run_inside_the_backends_scope(monkeypatch):
    """Where operators must run inside something: the second GPU of a process."""
    from nnlib_backends import get_backend

    class Scope:
        entered = 0

        def __enter__(self):
            Scope.entered += 1

        def __exit__(self, *_):
            Scope.entered -= 1

    seen = []

    class Watching(np.ndarray):
        def __mul__(self, other):
            seen.append(Scope.entered)
            return super().__mul__(other)

        def __neg__(self):
            seen.append(Scope.entered)
            return super().__neg__()

        __rmul__ = __mul__

    backend = get_backend()
    monkeypatch.setattr(backend, "scope", Scope())
    nnlib.sigmoid(nnlib.Tensor(np.ones(2).view(Watching), backend))
    assert set(seen) == {1}
    seen.clear()
    y = nnlib.exp(leaf(1.0, 2.0))
    y.backward(nnlib.Tensor(np.ones(2).view(Watching), backend))
    assert set(seen) == {1}
    assert Scope.entered == 0
