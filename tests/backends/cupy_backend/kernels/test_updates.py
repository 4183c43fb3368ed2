"""Optimizers' kernels against the definitions of their update rules, and the norm of gradients."""

import numpy as np
import pytest

import nnlib
from nnlib.optim import UpdateRule, clip_grad_norm_
from nnlib_backends import load_backend

CASES = [
    pytest.param(UpdateRule.registry[name], *sample, id=f"{name}{i}")
    for name in ("adagrad", "adam", "rmsprop", "sgd")
    for i, sample in enumerate(UpdateRule.registry[name].samples)
]


def arrays_of(present, draw):
    """Parameter, gradient and state (none of it negative), by a function that draws an array."""
    wanted = (True, True, *present)
    drawn = [np.asarray(draw()) if here else None for here in wanted]
    return [x if x is None or i < 2 else np.asarray(np.abs(x)) for i, x in enumerate(drawn)]


def updated(rule, backend, arrays, numbers, flags, dtype, how=lambda x: x):
    """The arrays after an update by a backend."""
    there = [None if x is None else how(backend.asarray(x.astype(dtype))) for x in arrays]
    rule(backend, *there, numbers=numbers, **flags)
    return [None if x is None else backend.to_numpy(x) for x in there]


def defined(rule, arrays, numbers, flags, dtype):
    """The arrays after an update by the definition, in float64 from values of a dtype."""
    copies = [None if x is None else x.astype(dtype).astype("f8") for x in arrays]
    rule.definition(np, *copies, **numbers, **flags)
    return copies


def agree(ours, expected, tolerance):
    for one, other in zip(ours, expected, strict=True):
        if one is not None:
            np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (7, 33), (5, 1025)], ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("float64", 1e-14)])
@pytest.mark.parametrize(("rule", "present", "numbers", "flags"), CASES)
def test_update_equals_definition(rule, present, numbers, flags, dtype, tolerance, shape, backend):
    rng = np.random.default_rng(0)
    arrays = arrays_of(present, lambda: rng.normal(size=shape))
    if rule.name == "rmsprop" and present[1]:  # its variance: no difference of nearly equal numbers
        arrays[2] += 1 + arrays[3] ** 2
    given = backend.asarray([numbers[name] for name in rule.numbers], dtype=dtype)
    ours = updated(rule, backend, arrays, given, flags, dtype)
    agree(ours, defined(rule, arrays, numbers, flags, dtype), tolerance)
    np.testing.assert_array_equal(ours[1], arrays[1].astype(dtype))  # the gradient is left alone


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("how", [lambda x: x[::2], lambda x: x.T, lambda x: x[1:]],
                         ids=["strided", "transposed", "between boundaries"])  # fmt: skip
def test_views_and_half_precision_are_updated_too(how, dtype, backend):
    rule = UpdateRule.registry["adam"]
    present, numbers, flags = rule.samples[2]
    rng = np.random.default_rng(0)
    arrays = arrays_of(present, lambda: rng.normal(size=(6, 35)))
    given = [numbers[name] for name in rule.numbers]  # a list: what the host knows
    ours = updated(rule, backend, arrays, given, flags, dtype, how)
    expected = defined(rule, [how(x) for x in arrays], numbers, flags, dtype)
    agree(ours, expected, 2e-6 if dtype == "float32" else 4e-3)


@pytest.mark.parametrize(("rule", "present", "numbers", "flags"), CASES)
def test_a_step_is_one_launch(rule, present, numbers, flags, emulated):
    arrays = arrays_of(present, lambda: np.ones(5000))
    updated(rule, emulated, arrays, list(numbers.values()), flags, "float32")
    assert [entry[0] for entry in emulated.driver.log] == [rule.name]
    emulated.driver.log.clear()
    arrays = arrays_of(present, lambda: np.ones(0))
    updated(rule, emulated, arrays, list(numbers.values()), flags, "float32")
    assert not emulated.driver.log


def test_nan_is_not_lost_in_the_largest_mean_square(backend):
    rule = UpdateRule.registry["adam"]
    present, numbers, flags = rule.samples[2]
    arrays = arrays_of(present, lambda: np.ones(4))
    arrays[1][0] = arrays[4][1] = np.nan
    p, _, _, _, largest = updated(rule, backend, arrays, list(numbers.values()), flags, "float32")
    assert np.isnan(largest).tolist() == np.isnan(p).tolist() == [True, True, False, False]


@pytest.mark.parametrize("sizes", [[1], [33], [5, 40000, 1023], [3] * 40], ids=str)
def test_norm_of_all_gradients(sizes, backend):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=n).astype("f4") for n in sizes]
    norm = backend.global_norm([backend.asarray(x) for x in arrays])
    assert norm.shape == ()
    expected = np.sqrt(sum((x.astype("f8") ** 2).sum() for x in arrays))
    np.testing.assert_allclose(backend.to_numpy(norm), expected, rtol=1e-6)


def test_norm_of_what_kernels_do_not_know(backend):
    one = backend.asarray(np.ones(3, "f4"))
    assert backend.global_norm([]) is None
    assert backend.global_norm([one, backend.asarray(np.ones(3))]) is None
    assert backend.global_norm([one, one[:0]]) is None


def test_clipping_uses_the_kernel(emulated):
    w = nnlib.zeros(2, requires_grad=True)
    w.grad = nnlib.tensor([3.0, 4.0])
    assert clip_grad_norm_([w], max_norm=1.0).item() == 5
    assert [entry[0] for entry in emulated.driver.log] == ["sum_of_squares", "root_of_sum"]
    np.testing.assert_allclose(w.grad.numpy(), [0.6, 0.8], rtol=1e-6)
    assert load_backend("numpy").global_norm([np.ones(3)]) is None
