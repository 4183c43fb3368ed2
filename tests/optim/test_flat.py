"""Parameters in one buffer: the tensors, their values and their gradients stay what they were."""

import numpy as np
import pytest

import nnlib
from nnlib import nn, optim


def model_of(backend):
    nnlib.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))


def backward(model, factor=1.0):
    (model(nnlib.ones(4, 3)) ** 2 * factor).mean().backward()


def test_parameters_move_and_stay_the_same_tensors(backend):
    model = model_of(backend)
    params, before = list(model.parameters()), [p.numpy() for p in model.parameters()]
    optimizer = optim.SGD(params, lr=0.1)
    (flat,) = optimizer._flats[0]
    for p, same, value in zip(model.parameters(), params, before, strict=True):
        assert p is same
        assert backend.xp.may_share_memory(p.data, flat.data)
        np.testing.assert_array_equal(p.numpy(), value)


def test_one_update_serves_all(backend, monkeypatch):
    model = model_of(backend)
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    calls = []
    monkeypatch.setattr(backend, "updates", {"adam": lambda *a, **k: calls.append(a)})
    backward(model)
    optimizer.step()
    assert len(calls) == 1


def test_gradients_are_left_in_the_buffer():
    model = model_of(None)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    (flat,) = optimizer._flats[0]
    backward(model)
    assert all(np.shares_memory(p.grad.data, flat.grad) for p in model.parameters())


def test_a_gradient_that_somebody_holds_keeps_its_values(backend):
    model = model_of(backend)
    optimizer = optim.SGD(model.parameters(), lr=0.0)
    backward(model)
    held = [p.grad for p in model.parameters()]
    values = [g.numpy() for g in held]
    optimizer.zero_grad()
    backward(model, factor=3.0)
    for grad, value, p in zip(held, values, model.parameters(), strict=True):
        np.testing.assert_array_equal(grad.numpy(), value)
        np.testing.assert_allclose(p.grad.numpy(), 3 * value, rtol=1e-5)


def test_a_weight_that_is_used_twice(backend):
    nnlib.manual_seed(0)
    layer = nn.Linear(3, 3)
    expected = None
    for _ in range(2):  # without an optimizer, then with one
        layer.zero_grad()
        (layer(layer(nnlib.ones(2, 3))) ** 2).sum().backward()
        grads = [p.grad.numpy() for p in layer.parameters()]
        if expected is not None:
            for one, other in zip(expected, grads, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-6)
        expected = grads
        optim.SGD(layer.parameters(), lr=0.1)


def test_gradients_of_functions_do_not_touch_the_buffer(backend):
    layer = nn.Linear(2, 1)
    optim.SGD(layer.parameters(), lr=0.1)
    backward_of = nnlib.grad(lambda x: (layer(x) ** 2).sum())
    (layer(nnlib.ones(1, 2)) ** 2).sum().backward()
    before = [p.grad.numpy() for p in layer.parameters()]
    backward_of(nnlib.full((1, 2), 5.0))
    for p, value in zip(layer.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.grad.numpy(), value)


def test_a_view_of_somebody_elses_array_stays_there():
    array = np.arange(6, dtype=np.float32)
    p = nn.Parameter(nnlib.tensor(array[1:5]))
    other = nn.Parameter(nnlib.ones(3))
    optimizer = optim.SGD([p, other], lr=1.0)
    p.grad, other.grad = nnlib.ones(4), nnlib.ones(3)
    optimizer.step()
    np.testing.assert_array_equal(array, [0, 0, 1, 2, 3, 5])
    np.testing.assert_array_equal(other.numpy(), [0, 0, 0])


def test_a_second_optimizer_takes_them_over(backend):
    model = model_of(backend)
    first = optim.SGD(model.parameters(), lr=0.1)
    second = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    assert [flat.moved for flat in second._flats[0]] == [True]
    for optimizer in (second, first, second):
        before = [p.numpy() for p in model.parameters()]
        optimizer.zero_grad()
        backward(model)
        optimizer.step()
        assert all((p.numpy() != v).any() for p, v in zip(model.parameters(), before, strict=True))


def test_numbers_between_parameters_stay_zero():
    model = model_of(None)
    optimizer = optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        backward(model)
        optimizer.step()
    (flat,) = optimizer._flats[0]
    between = np.ones(flat.data.size, bool)
    for place in flat.slices:
        between[place] = False
    assert between.any()
    assert (flat.data[between] == 0).all()
    assert (flat.grad[between] == 0).all()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtypes_have_buffers_of_their_own(dtype):
    params = [nnlib.ones(3, dtype=d, requires_grad=True) for d in (dtype, "float64")]
    optimizer = optim.SGD(params, lr=0.5)
    assert len(optimizer._flats[0]) == len({dtype, "float64"})
    for p in params:
        p.grad = nnlib.ones(3, dtype=p.dtype)
    optimizer.step()
    assert [p.tolist() for p in params] == [[0.5] * 3] * 2
