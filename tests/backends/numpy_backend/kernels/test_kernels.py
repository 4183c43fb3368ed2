"""Every compiled kernel against the definition in float64: odd sizes, layouts and threads."""

import importlib
import pkgutil

import numpy as np
import pytest
from ops.test_conformance import agree, define

import nnlib
from nnlib.ops.operation import Fused
from nnlib_backends import load_backend
from nnlib_backends.base import ANYWHERE, GradOut, anywhere
from nnlib_backends.numpy_backend import kernels
from nnlib_backends.numpy_backend.kernels import arithmetic, cpu_kernels, slicing

MODULES = [
    importlib.import_module(f"{kernels.__name__}.{found.name}")
    for found in pkgutil.iter_modules(kernels.__path__)
]


@pytest.fixture(params=[1, 2, 3])
def threads(request, monkeypatch):
    """So many threads, whatever the size."""
    for module in MODULES:
        if hasattr(module, "split"):
            monkeypatch.setattr(
                module, "split", lambda items, least=1: max(1, min(request.param, items))
            )
    return request.param


@pytest.fixture
def numpy():
    return load_backend("numpy")


def floats(*shape):
    size = int(np.prod(shape))
    return (np.sin(np.arange(size) * 1.3 + len(shape)) * 2).astype("f4").reshape(shape)


def integers(high, *shape):
    return (np.arange(np.prod(shape, dtype=int)) * 7 % max(high, 1)).reshape(shape)


ROWS, COLUMNS = (1, 4, 21), (1, 31, 33, 1023, 1025)


def sizes():
    yield from ((m, n) for m in ROWS for n in COLUMNS)
    yield from [(0, 3), (2, 0), (70, 10)]


def elementwise(m, n):
    x = floats(m, n)
    return {
        "silu": ([x], [{}]),
        "gelu": ([x], [{"approximate": "none"}, {"approximate": "tanh"}]),
        "sigmoid_cross_entropy": ([x, np.abs(floats(m, n)) / 2], [{}]),
        "dropout": ([x, np.array([-5, 2**33])], [{"p": 0.3}, {"p": 1.0}]),
    }


def by_rows(m, n):
    x = floats(m, n)
    return {
        "layer_norm": ([x, floats(n) + 3, floats(n)], [{"eps": 1e-3}]),
        "rms_norm": ([x, floats(n) + 3], [{"eps": 1e-3}]),
        "batch_norm": ([x, floats(n) + 3, floats(n)], [{"eps": 1e-3}]),
        "softmax_cross_entropy": ([x, integers(n, m)], [{}]),
    }


def tables(m, n):
    return {"embedding": ([floats(max(m, 1), n), integers(max(m, 1), 3, m)], [{}])}


def layers(m, n):
    activations = [{"activation": a} for a in (None, "relu", "tanh", "sigmoid")]
    k = {1: 1025, 31: 8, 33: 97}.get(n, 20)
    return {"linear": ([floats(m, k), floats(n, k) / 4, floats(n)], activations)}


def samples():
    for m, n in sizes():
        for made in (elementwise, by_rows, tables, layers):
            for name, (arrays, options) in made(m, n).items():
                if "norm" in name and m * n == 0:
                    continue  # no mean of nothing
                if name == "softmax_cross_entropy" and n == 0:
                    continue  # no label in range
                for one in options:
                    words = "-".join(str(word) for word in one.values())
                    yield pytest.param(name, arrays, one, id=f"{name}-{m}x{n}-{words}")


def layouts(shape):
    """Gradients by the result: in rows, spread over memory, one number repeated."""
    g = np.cos(np.arange(np.prod(shape, dtype=int)) * 1.7).reshape(shape).astype("f4")
    yield g
    wide = np.zeros((*shape[:-1], 2 * shape[-1]), "f4")
    wide[..., ::2] = g
    yield wide[..., ::2]
    yield np.broadcast_to(np.float32(0.5), shape)


def spread(x):
    """The same numbers, but not in a row."""
    wide = np.zeros([2 * n for n in x.shape], x.dtype)
    places = (slice(None, None, 2),) * x.ndim
    wide[places] = x
    return wide[places]


def expected_by(name, arrays, options, g, numpy):
    """Value and gradients by the definition."""
    inputs = [
        nnlib.tensor(x.astype("f8"), requires_grad=True) if x.dtype == "f4" else nnlib.tensor(x)
        for x in arrays
    ]
    y = Fused.registry[name].compute(inputs, options)
    y.backward(nnlib.tensor(g.astype("f8")))
    return y.numpy(), [None if x.grad is None else x.grad.numpy() for x in inputs]


@pytest.mark.parametrize(("name", "arrays", "options"), [*samples()])
def test_kernel_agrees_with_the_definition(name, arrays, options, threads, numpy):
    kernel = cpu_kernels.KERNELS[name]
    y, saved = kernel.forward(*arrays, **options)
    assert (y.dtype, y.flags.c_contiguous) == (np.float32, True)
    for number, g in enumerate(layouts(y.shape)):
        value, gradients = expected_by(name, arrays, options, g, numpy)
        if number == 1:
            arrays = [spread(x) for x in arrays]
            y, saved = kernel.forward(*arrays, **options)
        agree(y, value, "float32")
        outs = [
            GradOut(np.full(x.shape, np.nan, x.dtype)) if x.dtype == "f4" else None for x in arrays
        ]
        found = kernel.backward(g, saved, outs, *arrays, **options)
        for out, ours, expected in zip(outs, found, gradients, strict=True):
            if out is not None:
                assert ours is out.array
                agree(ours, expected, "float32")


@pytest.mark.parametrize("name", sorted(cpu_kernels.KERNELS))
def test_absent_and_unwanted_arguments(name, numpy):
    """Optional arrays left out, and each gradient asked for alone."""
    for made in (elementwise, by_rows, tables, layers):
        if name in made(4, 33):
            arrays, options = made(4, 33)[name]
            break
    else:
        pytest.skip("tested elsewhere")
    kernel, operation = cpu_kernels.KERNELS[name], Fused.registry[name]
    absent = [
        None if operation.__signature__.parameters[a].default is None else x
        for a, x in zip(operation.arrays, arrays, strict=True)
    ]
    for chosen in (arrays, absent):
        value, gradients = define(operation, chosen, options[-1], numpy)
        y, saved = kernel.forward(*chosen, **options[-1])
        agree(y, value, "float32")
        g = np.cos(np.arange(y.size) * 1.7).reshape(y.shape).astype("f4")
        for i, x in enumerate(chosen):
            if x is not None and x.dtype == "f4":
                needed = [j == i for j in range(len(chosen))]
                found = kernel.backward(g, saved, anywhere(needed), *chosen, **options[-1])
                agree(found[i], gradients[i], "float32")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "name", sorted({*cpu_kernels.KERNELS} & {*elementwise(1, 1), *by_rows(1, 1)})
)
def test_nan_and_infinity_come_through(name, bad, numpy):
    arrays, options = {**elementwise(5, 33), **by_rows(5, 33)}[name]
    arrays = [x.copy() for x in arrays]
    arrays[0][2, 7] = bad
    for one in options:
        with np.errstate(all="ignore"):
            y, saved = cpu_kernels.KERNELS[name].forward(*arrays, **one)
            g = np.ones_like(y)
            value, gradients = expected_by(name, arrays, one, g, numpy)
            needed = [x.dtype == "f4" for x in arrays]
            found = cpu_kernels.KERNELS[name].backward(g, saved, anywhere(needed), *arrays, **one)
            for ours, expected in [(y, value), *zip(found, gradients, strict=True)]:
                if expected is not None:
                    np.testing.assert_array_equal(np.isfinite(ours), np.isfinite(expected))
                    odd = ~np.isfinite(expected)
                    np.testing.assert_array_equal(ours[odd], expected[odd].astype("f4"))


PRIMITIVES = [
    (name, options)
    for name in sorted({*cpu_kernels.PRIMITIVES} - {*arithmetic.PRIMITIVES, *slicing.PRIMITIVES})
    for options in ([{"axis": -1}] if "softmax" in name else [{}])
]


@pytest.mark.parametrize("shape", [*sizes(), (), (2, 3, 33), (300, 1025)])
@pytest.mark.parametrize(("name", "options"), PRIMITIVES)
def test_primitive_agrees_with_itself_in_float64(name, options, shape, threads):
    kernel, operation = cpu_kernels.PRIMITIVES[name], getattr(nnlib.ops, name)
    x = floats(*shape)
    if "softmax" in name and (not shape or 0 in shape):
        pytest.skip("no maximum of nothing")
    y = kernel.forward(x, **options)
    if y is NotImplemented:
        assert x.size == 0
        return
    exact = operation.function(np, x.astype("f8"), **options)
    agree(y, exact, "float32")
    for argument, rule in kernel.rules.items():
        keeps = operation.rules[argument].keeps
        known = {"x_shape": x.shape, **operation.options, **options}
        for g in layouts(y.shape) if y.ndim else [np.asarray(np.float32(1.5))]:
            ours = rule(g, *({"y": y, **known}[name] for name in keeps))
            theirs = operation.rules[argument].function(
                g.astype("f8"), *({"y": exact, **known}[name] for name in keeps)
            )
            assert ours.dtype == np.float32
            agree(ours, theirs, "float32")


@pytest.mark.parametrize(("name", "options"), PRIMITIVES)
def test_primitives_leave_what_they_are_not_made_for(name, options):
    kernel = cpu_kernels.PRIMITIVES[name]
    assert kernel.forward(np.ones((2, 3)), **options) is NotImplemented
    assert kernel.forward(1.0, **options) is NotImplemented
    if options or "axis" in getattr(nnlib.ops, name).options:
        assert kernel.forward(floats(2, 3), axis=0) is NotImplemented


@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid", "exp", "sum", "mean"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_primitives_pass_nan_and_infinity_on(name, bad):
    x = np.array([0.5, bad, -1.0], np.float32)
    expected = getattr(nnlib.ops, name).function(np, x.astype("f8"))
    np.testing.assert_allclose(cpu_kernels.PRIMITIVES[name].forward(x), expected, rtol=1e-6)


def test_results_do_not_depend_on_the_threads(monkeypatch):
    x, labels = floats(37, 1025), integers(50, 37)
    found = []
    for count in (1, 2, 3):
        for module in MODULES:
            if hasattr(module, "split"):
                monkeypatch.setattr(module, "split", lambda items, least=1, n=count: min(n, items))
        w, g = floats(50, 1025), floats(37, 1025)
        found.append([
            cpu_kernels.PRIMITIVES["sum"].forward(floats(200, 1025)),
            cpu_kernels.KERNELS["batch_norm"].forward(x, None, None, eps=1e-5)[0],
            cpu_kernels.KERNELS["embedding"].backward(g, None, (ANYWHERE, None), w, labels)[0],
            cpu_kernels.KERNELS["dropout"].forward(x, np.array([1, 2]), p=0.5)[0],
        ])  # fmt: skip
    for others in found[1:]:
        for first, other in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(first, other)


@pytest.mark.parametrize("label", [-6, -1, 5, 9])
def test_integers_out_of_range_stay_inside_the_arrays(label):
    """That they are refused is the host's business; here they count as the nearest in range."""
    x, labels, nearest = floats(3, 5), np.array([label, 2, label]), min(max(label, 0), 4)
    proper = np.array([nearest, 2, nearest])
    kernel = cpu_kernels.KERNELS["softmax_cross_entropy"]
    losses, saved = kernel.forward(x, labels)
    np.testing.assert_array_equal(losses, kernel.forward(x, proper)[0])
    memory = np.full((5, 5), 7.0, np.float32)
    target, g = memory[1:4], np.ones(3, "f4")
    kernel.backward(g, saved, (GradOut(target), None), x, labels)
    expected = kernel.backward(g, saved, anywhere((True, False)), x, proper)[0]
    np.testing.assert_array_equal(target, expected)
    assert (memory[[0, 4]] == 7).all()
    kernel, weight, nearest = cpu_kernels.KERNELS["embedding"], floats(3, 5), min(max(label, 0), 2)
    np.testing.assert_array_equal(kernel.forward(weight, labels)[0][0], weight[nearest])
    kernel.backward(x, None, (GradOut(target), None), weight, labels)
    proper = np.array([nearest, 2, nearest])
    expected = kernel.backward(x, None, anywhere((True, False)), weight, proper)[0]
    np.testing.assert_array_equal(target, expected)
    assert (memory[[0, 4]] == 7).all()


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("layer_norm", [(2, 3), (2,), None]), ("rms_norm", [(2, 3), (4,)]),
        ("batch_norm", [(2, 3), None, (4,)]), ("sigmoid_cross_entropy", [(2, 3), (3,)]),
        ("dropout", [(2, 3), (3,)]), ("embedding", [(0, 3), (2,)]),
    ],
)  # fmt: skip
def test_shapes_that_do_not_fit_are_refused(name, shapes):
    arrays = [None if s is None else floats(*s) for s in shapes]
    if name in ("dropout", "embedding"):
        arrays[1] = integers(1, *shapes[1])
    static = {"dropout": {"p": 0.5}}.get(name, {"eps": 1e-5} if "norm" in name else {})
    with pytest.raises(ValueError, match="is needed"):
        cpu_kernels.KERNELS[name].forward(*arrays, **static)


@pytest.mark.parametrize("seed", [0, 2**64 - 1, 2**63, 12345678901234567890])
@pytest.mark.parametrize("p", [0.1, 0.5, 1.0, 1e-12])
def test_dropout_mask_is_the_generators(seed, p):
    generator = nnlib.random.Generator(seed)
    generator.bits(5, "numpy")
    for count in (1, 2, 3, 4, 5, 1023):
        state = generator.state_dict()
        keep = generator.bernoulli((count,), 1 - p, backend="numpy")
        after = generator.state_dict()
        generator.load_state_dict(state)
        key = generator.reserve(count, "numpy")
        assert generator.state_dict() == after
        y, _ = cpu_kernels.KERNELS["dropout"].forward(np.ones(count, np.float32), key, p=p)
        np.testing.assert_array_equal(y != 0, keep)
