"""Optimizers' kernels against the definitions of their update rules."""

import numpy as np
import pytest

from nnlib.optim import UpdateRule

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


def updated(rule, backend, arrays, scalars, flags, dtype, how=lambda x: x):
    """The arrays after an update by a backend."""
    there = [None if x is None else how(backend.asarray(x.astype(dtype))) for x in arrays]
    rule(backend, *there, scalars=scalars, **flags)
    return [None if x is None else backend.to_numpy(x) for x in there]


def defined(rule, arrays, scalars, flags, dtype):
    """The arrays after an update by the definition, in float64 from values of a dtype."""
    copies = [None if x is None else x.astype(dtype).astype("f8") for x in arrays]
    rule.definition(np, *copies, **scalars, **flags)
    return copies


def agree(ours, expected, tolerance):
    for one, other in zip(ours, expected, strict=True):
        if one is not None:
            np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (7, 33), (5, 1025)], ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("float64", 1e-14)])
@pytest.mark.parametrize(("rule", "present", "scalars", "flags"), CASES)
def test_update_equals_definition(rule, present, scalars, flags, dtype, tolerance, shape, backend):
    rng = np.random.default_rng(0)
    arrays = arrays_of(present, lambda: rng.normal(size=shape))
    if rule.name == "rmsprop" and present[1]:  # its variance: no difference of nearly equal numbers
        arrays[2] += 1 + arrays[3] ** 2
    given = backend.asarray([scalars[name] for name in rule.scalars], dtype=dtype)
    ours = updated(rule, backend, arrays, given, flags, dtype)
    agree(ours, defined(rule, arrays, scalars, flags, dtype), tolerance)
    np.testing.assert_array_equal(ours[1], arrays[1].astype(dtype))  # the gradient is left alone


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("how", [lambda x: x[::2], lambda x: x.T, lambda x: x[1:]],
                         ids=["strided", "transposed", "between boundaries"])  # fmt: skip
def test_views_and_half_precision_are_updated_too(how, dtype, backend):
    rule = UpdateRule.registry["adam"]
    present, scalars, flags = rule.samples[2]
    rng = np.random.default_rng(0)
    arrays = arrays_of(present, lambda: rng.normal(size=(6, 35)))
    given = [scalars[name] for name in rule.scalars]  # a list: what the host knows
    ours = updated(rule, backend, arrays, given, flags, dtype, how)
    expected = defined(rule, [how(x) for x in arrays], scalars, flags, dtype)
    agree(ours, expected, 2e-6 if dtype == "float32" else 4e-3)


@pytest.mark.parametrize(("rule", "present", "scalars", "flags"), CASES)
def test_a_step_is_one_launch(rule, present, scalars, flags, emulated):
    arrays = arrays_of(present, lambda: np.ones(5000))
    updated(rule, emulated, arrays, list(scalars.values()), flags, "float32")
    assert [entry[0] for entry in emulated.driver.log] == [rule.name]
    emulated.driver.log.clear()
    arrays = arrays_of(present, lambda: np.ones(0))
    updated(rule, emulated, arrays, list(scalars.values()), flags, "float32")
    assert not emulated.driver.log


def test_nan_is_not_lost_in_the_largest_mean_square(backend):
    rule = UpdateRule.registry["adam"]
    present, scalars, flags = rule.samples[2]
    arrays = arrays_of(present, lambda: np.ones(4))
    arrays[1][0] = arrays[4][1] = np.nan
    p, _, _, _, largest = updated(rule, backend, arrays, list(scalars.values()), flags, "float32")
    assert np.isnan(largest).tolist() == np.isnan(p).tolist() == [True, True, False, False]


@pytest.mark.parametrize("how", [lambda x: x, lambda x: x[::2]], ids=["dense", "strided"])
@pytest.mark.parametrize(("rule", "present", "scalars", "flags"), CASES)
def test_a_step_can_be_skipped_on_the_device(rule, present, scalars, flags, how, backend):
    arrays = arrays_of(present, lambda: np.random.default_rng(0).normal(size=(70, 9)))
    given = list(scalars.values())
    expected = updated(rule, backend, arrays, given, flags, "float32", how)
    for number, wanted in ((0.0, expected), (1.0, [None if x is None else how(x) for x in arrays])):
        skip = backend.asarray(number, dtype="float32")
        ours = updated(rule, backend, arrays, given, {**flags, "skip": skip}, "float32", how)
        for one, other in zip(ours, wanted, strict=True):
            if one is not None:
                np.testing.assert_array_equal(one, other.astype("f4"))
