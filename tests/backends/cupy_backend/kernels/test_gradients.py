"""What is done with all gradients before an update: norm, clipping, loss scaling."""

import numpy as np
import pytest

import nnlib
from nnlib import nn
from nnlib.optim import clip_grad_norm_
from nnlib_backends import load_backend
from nnlib_backends.cupy_backend.kernels.gradient_norm import joined


@pytest.mark.parametrize("sizes", [[1], [33], [5, 40000, 1023], [3] * 40], ids=str)
def test_norm_of_all_gradients(sizes, backend):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=n).astype("f4") for n in sizes]
    norm = backend.updates["norm"]([backend.asarray(x) for x in arrays])
    assert norm.shape == ()
    expected = np.sqrt(sum((x.astype("f8") ** 2).sum() for x in arrays))
    np.testing.assert_allclose(backend.to_numpy(norm), expected, rtol=1e-6)


def test_norm_of_what_kernels_do_not_know(backend):
    one = backend.asarray(np.ones(3, "f4"))
    assert backend.updates["norm"]([]) is NotImplemented
    assert backend.updates["norm"]([one, backend.asarray(np.ones(3))]) is NotImplemented
    assert backend.updates["norm"]([one, one[:0]]) is NotImplemented


def launched(backend):
    return [entry[0] for entry in backend.driver.log]


@pytest.mark.parametrize("limit", [0.0, 1.0, 1e6])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-15)])
def test_shrinking(dtype, tolerance, limit, backend):
    arrays = [np.random.default_rng(n).normal(size=n).astype(dtype) for n in (1, 33, 4099)]
    norm = np.sqrt(sum((x.astype("f8") ** 2).sum() for x in arrays)).astype(dtype)
    there = [backend.asarray(x) for x in arrays]
    assert backend.updates["clip"](there, backend.asarray(norm), limit) is None
    for ours, x in zip(there, arrays, strict=True):
        wanted = x * min(limit / (float(norm) + 1e-6), 1)
        np.testing.assert_allclose(backend.to_numpy(ours), wanted, rtol=tolerance)


@pytest.mark.parametrize("norm", [np.nan, np.inf])
def test_shrinking_by_a_norm_that_is_not_finite(norm, backend):
    x = backend.asarray(np.ones(5, "f4"))
    assert backend.updates["clip"]([x], backend.asarray(np.float32(norm)), 1.0) is None
    np.testing.assert_array_equal(backend.to_numpy(x), np.nan if np.isnan(norm) else 0)


def test_what_has_no_kernel_is_left_alone(emulated):
    one, number = emulated.asarray(np.ones((3, 4), "f4")), emulated.asarray(np.float32(2))
    for arrays in ([], [one[:0]], [one.T], [one.astype("f2")], [one, one.astype("f8")]):
        assert emulated.updates["clip"](arrays, number, 1.0) is NotImplemented
        assert emulated.updates["unscale"](arrays, number, number) is NotImplemented
    assert emulated.updates["clip"]([one], number.astype("f8"), 1.0) is NotImplemented
    assert not emulated.driver.log


def test_clipping_uses_the_kernels(emulated):
    w = nnlib.zeros(2, requires_grad=True)
    w.grad = nnlib.tensor([3.0, 4.0])
    assert clip_grad_norm_([w], max_norm=1.0).item() == 5
    assert launched(emulated) == ["sum_of_squares", "root_of_sum", "shrink"]
    np.testing.assert_allclose(w.grad.numpy(), [0.6, 0.8], rtol=1e-6)
    assert load_backend("numpy").updates["norm"]([np.ones(3)]) is NotImplemented


def test_gradients_in_one_buffer_are_clipped_by_one_launch(emulated):
    model = nn.Sequential(nn.Linear(16, 32), nn.Linear(32, 16), nn.Linear(16, 3))
    optimizer = nnlib.optim.SGD(model.parameters(), lr=0.1)
    optimizer.step()  # there is the buffer
    model(nnlib.ones(2, 16)).sum().backward()
    emulated.driver.log.clear()
    before = [p.grad.numpy() for p in model.parameters()]
    norm = clip_grad_norm_(model.parameters(), 0.01).item()
    assert launched(emulated).count("shrink") == 1
    for p, grad in zip(model.parameters(), before, strict=True):
        np.testing.assert_allclose(p.grad.numpy(), grad * (0.01 / (norm + 1e-6)), rtol=1e-5)


def test_neighbours_are_joined_and_nothing_else(emulated):
    flat, other = (emulated.asarray(np.arange(20, dtype="f4")) for _ in range(2))
    matrix = emulated.asarray(np.arange(6, dtype="f4").reshape(2, 3))
    arrays = [
        flat[8:12],
        other[3:5],
        flat[:6].reshape(2, 3),
        flat[6:8],
        flat[13:],
        matrix,
        flat[:6],
    ]
    found = sorted(emulated.to_numpy(x).tolist() for x in joined(emulated.launcher, arrays))
    values = [range(6), range(6), range(12), range(3, 5), range(13, 20)]
    assert found == sorted(list(map(float, value)) for value in values)


@pytest.mark.parametrize("bad", [None, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("size", [1, 33, 4099])
def test_dividing_by_the_scale(size, bad, backend):
    arrays = [np.random.default_rng(i).normal(size=size).astype("f4") for i in range(2)]
    if bad is not None:
        arrays[1][-1] = bad
    there = [backend.asarray(x) for x in arrays]
    found = backend.asarray(np.float32(0))
    assert backend.updates["unscale"](there, backend.asarray(np.float32(8)), found) is None
    for ours, x in zip(there, arrays, strict=True):
        np.testing.assert_array_equal(backend.to_numpy(ours), x / 8)
    assert backend.to_numpy(found) == (bad is not None)


def test_what_was_found_stays_and_what_overflows_is_found(backend):
    x, found = backend.asarray(np.full(3, 1e38, "f4")), backend.asarray(np.float32(1))
    assert backend.updates["unscale"]([x], backend.asarray(np.float32(2)), found) is None
    assert backend.to_numpy(found) == 1
    found = backend.asarray(np.float32(0))
    assert backend.updates["unscale"]([x], backend.asarray(np.float32(0.125)), found) is None
    assert backend.to_numpy(found) == 1


def test_loss_scaling_uses_the_kernels(emulated):
    w = nnlib.tensor([1.0, 2.0], requires_grad=True)
    optimizer, scaler = nnlib.optim.SGD([w], lr=0.5), nnlib.optim.GradScaler(init_scale=4.0)
    for factor, expected in ((1.0, [0.5, 1.5]), (np.inf, [0.5, 1.5])):
        optimizer.zero_grad()
        scaler.scale((w * factor).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        np.testing.assert_array_equal(w.numpy(), expected)
    assert scaler.get_scale() == 2
    assert launched(emulated).count("unscale") == launched(emulated).count("sgd") == 2
