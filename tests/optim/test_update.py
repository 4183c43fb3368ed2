"""Every backend's update rules against their definitions."""

import numpy as np
import pytest

import nnlib
from nnlib.optim import SGD, UpdateRule, update_rule
from nnlib.optim.update import SLICE
from nnlib_backends import get_backend, load_backend
from nnlib_backends.numpy_backend import kernel_choice

CASES = [
    pytest.param(rule, present, scalars, flags, id=f"{rule.name}{i}")
    for rule in UpdateRule.registry.values()
    for i, (present, scalars, flags) in enumerate(rule.samples)
]
LAYOUTS = {
    "small": lambda rng: rng.normal(size=(3, 5)),
    "several slices": lambda rng: rng.normal(size=(3, SLICE + 7)),
    "exactly two slices": lambda rng: rng.normal(size=2 * SLICE),
    "0-d": lambda rng: rng.normal(size=()),
    "empty": lambda rng: rng.normal(size=(3, 0)),
    "strided": lambda rng: rng.normal(size=(4, SLICE))[:, ::2],
    "transposed": lambda rng: rng.normal(size=(SLICE, 3)).T,
}


def test_every_rule_of_the_backends_has_a_definition(backend):
    assert set(backend.updates) <= {*UpdateRule.registry, "norm", "clip", "unscale"}


def test_the_numpy_backend_has_a_kernel_for_every_rule():
    if kernel_choice.compiled_kernels()[0] is None:
        pytest.skip("Numba does not work here")
    assert set(load_backend("numpy").updates) == {*UpdateRule.registry, "norm"} - {"halve"}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("rule", "present", "scalars", "flags"), CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("where", ["numpy", pytest.param("cupy", marks=pytest.mark.gpu)])
def test_replacement_equals_definition(rule, present, scalars, flags, layout, dtype, where):
    backend = load_backend(where)
    if rule.name not in backend.updates:
        pytest.skip(f"{backend.name} uses the definition of {rule.name}")
    rng = np.random.default_rng(0)
    drawn = [LAYOUTS[layout](rng) if wanted else None for wanted in (True, True, *present)]
    drawn[2:] = [a if a is None else np.abs(a) for a in drawn[2:]]  # some must not be negative
    if rule.name == "rmsprop" and present[1]:  # its variance: no difference of nearly equal numbers
        drawn[2] = drawn[2] + 1 + drawn[3] ** 2
    replacement, definition = (
        [a if a is None else _in_layout(backend, a, dtype, layout) for a in drawn] for _ in range(2)
    )
    given = backend.asarray([scalars[name] for name in rule.scalars], dtype=dtype)
    rule(backend, *replacement, scalars=given, **flags)
    rule.definition(backend.xp, *definition, **dict(zip(rule.scalars, given, strict=True)), **flags)
    for ours, theirs in zip(replacement, definition, strict=True):
        if ours is not None:  # a compiled kernel may fuse multiplication and addition
            ours, theirs = backend.to_numpy(ours), backend.to_numpy(theirs)
            tolerance = 8 * np.finfo(dtype).eps
            np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


def _in_layout(backend, array, dtype, layout):
    """A backend's array with these values whose memory is laid out as the name says."""
    if layout == "strided":
        wide = backend.xp.zeros((array.shape[0], 2 * array.shape[1]), dtype=dtype)
        result = wide[:, ::2]
    elif layout == "transposed":
        result = backend.xp.zeros(array.shape[::-1], dtype=dtype).T
    else:
        result = backend.xp.zeros(array.shape, dtype=dtype)
    result[...] = backend.asarray(np.ascontiguousarray(array, dtype).reshape(array.shape))
    return result


@pytest.mark.parametrize(("rule", "present", "scalars", "flags"), CASES)
def test_the_gradient_is_left_alone(rule, present, scalars, flags, backend):
    rng = np.random.default_rng(0)
    for size in (5, SLICE + 5):
        arrays = [
            backend.asarray(rng.uniform(size=size).astype("float32")) if wanted else None
            for wanted in (True, True, *present)
        ]
        before = backend.to_numpy(arrays[1])
        given = backend.asarray([scalars[name] for name in rule.scalars], dtype="float32")
        rule(backend, *arrays, scalars=given, **flags)
        np.testing.assert_array_equal(backend.to_numpy(arrays[1]), before)


@update_rule(scalars=(), samples=[])
def halve(xp, p, g):
    p *= 0.5


def test_a_new_rule_works_by_its_definition_and_can_be_replaced(backend, monkeypatch):
    p = backend.asarray(np.float32([2.0, 4.0]))
    halve(backend, p, None, scalars=None)
    np.testing.assert_array_equal(backend.to_numpy(p), [1.0, 2.0])

    def zero(p, g, scalars):
        p *= 0.0

    monkeypatch.setattr(backend, "updates", {"halve": zero})
    halve(backend, p, None, scalars=None)
    np.testing.assert_array_equal(backend.to_numpy(p), [0.0, 0.0])
    assert repr(halve) == "<nnlib update rule halve>"


def test_a_device_scope_is_entered(monkeypatch):
    entered = []

    class Scope:
        def __enter__(self):
            entered.append("in")

        def __exit__(self, *_):
            entered.append("out")

    backend = get_backend()
    monkeypatch.setattr(type(backend), "scope", Scope())
    halve(backend, backend.asarray([1.0]), None, scalars=None)
    assert entered == ["in", "out"]


def test_the_optimizer_uses_the_replacement(make_params, give_gradients, monkeypatch):
    called = []
    backend = get_backend()
    monkeypatch.setattr(backend, "updates", {"sgd": lambda *a, **k: called.append((a, k))})
    params = make_params()
    give_gradients(params, 0)
    SGD(params, lr=0.25).step()
    ((arrays, flags),) = called  # one update for all parameters
    assert arrays[-1][0] == 0.25
    assert flags == {"nesterov": False, "decayed": False}


RULES = [
    lambda p: nnlib.optim.SGD(p, lr=1e-3, momentum=0.9),
    lambda p: nnlib.optim.Adam(p, lr=1e-2),
    lambda p: nnlib.optim.AdamW(p, lr=1e-2),
    lambda p: nnlib.optim.RMSprop(p, lr=1e-3, momentum=0.9, centered=True),
    lambda p: nnlib.optim.Adagrad(p, lr=1e-2),
]


@pytest.mark.parametrize("size", [1, 1e6])
@pytest.mark.parametrize("make", RULES)
def test_parameters_of_16_bits_are_updated_in_float32(make, size, backend):
    """Small squares and an eps of 1e-8 are 0 in float16, squares above 256 infinite."""
    rng = np.random.default_rng(0)
    start = rng.normal(size=(2, 5)).astype("float16")
    gradients = (10.0 ** rng.uniform(-6, -3, (4, 2, 5)) * size).astype("float16")
    found = {}
    for dtype in ("float16", "float32"):
        p = nnlib.tensor(start.astype(dtype), requires_grad=True)
        optimizer = make([p])
        for gradient in gradients:
            p.grad = nnlib.tensor(gradient.astype(dtype))
            optimizer.step()
        found[dtype] = p.numpy().astype("float64")
        assert all(v.dtype == "float32" for n, v in optimizer.state[p].items() if n != "step")
    assert np.isfinite(found["float16"]).all()
    # four roundings to 11 bits
    np.testing.assert_allclose(found["float16"], found["float32"], rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("rule", "present", "scalars", "flags"), CASES)
def test_a_skipped_update_changes_nothing(rule, present, scalars, flags, dtype, backend):
    rng = np.random.default_rng(0)
    drawn = [
        rng.uniform(size=SLICE + 5).astype(dtype) if wanted else None
        for wanted in (True, True, *present)
    ]
    given = backend.asarray([scalars[name] for name in rule.scalars], dtype=dtype)
    found = []
    for options in ({}, {"skip": np.float32(0)}, {"skip": np.float32(1)}):
        arrays = [a if a is None else backend.asarray(a, copy=True) for a in drawn]
        skip = {name: backend.asarray(value) for name, value in options.items()}
        rule(backend, *arrays, scalars=given, **flags, **skip)
        found.append([a if a is None else backend.to_numpy(a) for a in arrays])
    for before, plain, done, skipped in zip(drawn, *found, strict=True):
        if before is not None:
            np.testing.assert_array_equal(done, plain)
            np.testing.assert_array_equal(skipped, before)
    assert (found[1][0] != drawn[0]).any()
