"""A gradient shares memory with no other tensor."""

import numpy as np

import nnlib


def leaf(*values):
    return nnlib.tensor(list(values), dtype="float64", requires_grad=True)


def holds(x, y):
    return np.shares_memory(x.data, y.data)


def test_gradients_do_not_alias_one_another():
    a, b, c = leaf(1.0, 2.0), leaf(3.0, 4.0), leaf(5.0, 6.0)
    (a + b + c.reshape(1, 2)).sum().backward()
    for one, other in [(a, b), (a, c), (b, c)]:
        assert not holds(one.grad, other.grad)
    a.grad.zero_()
    assert b.grad.tolist() == c.grad.tolist() == [1.0, 1.0]


def test_gradients_do_not_alias_the_given_one():
    a, b = leaf(1.0, 2.0), leaf(1.0, 2.0)
    given = nnlib.tensor([1.0, 1.0], dtype="float64")
    for x in (a, b):
        (x + 0.0).backward(given)
    (a + 0.0).backward(given)
    a.backward(given)
    assert given.tolist() == [1.0, 1.0]
    assert a.grad.tolist() == [3.0, 3.0]
    assert b.grad.tolist() == [1.0, 1.0]


def test_gradients_do_not_alias_data():
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (x * w).sum().backward()
    assert not any(holds(p.grad, q) for p in (x, w) for q in (x, w))
    x.backward(w.detach())
    w.grad.zero_()
    assert w.tolist() == [3.0, 4.0]


def test_recorded_gradients_do_not_alias_one_another():
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (a + b).sum().backward(create_graph=True)
    assert not holds(a.grad, b.grad)
    with nnlib.no_grad():
        a.grad[...] = 0
    assert b.grad.tolist() == [1.0, 1.0]


def test_gradient_can_be_written_to():
    x = leaf(1.0, 2.0)
    x.sum().backward()  # a broadcast, read-only view until it is handed out
    x.grad[0] = 5.0
    assert x.grad.tolist() == [5.0, 1.0]


def test_hook_keeps_its_own_gradient():
    x = leaf(1.0, 2.0)
    seen = []
    x.register_hook(seen.append)
    for _ in range(2):
        (x * 3.0).sum().backward()
    assert [g.tolist() for g in seen] == [[3.0, 3.0], [3.0, 3.0]]
    assert x.grad.tolist() == [6.0, 6.0]
