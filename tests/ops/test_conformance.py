"""Every kernel of every backend against the definition of the operation that it replaces.

Generated from the registry: a new fused operation, a new kernel and a new backend are covered
without a line here.
"""

import itertools

import numpy as np
import pytest
from ops.table import layout, sample_cases, tensors

import nnlib
from nnlib.autograd import engine
from nnlib.ops.operation import fused_operations
from nnlib_backends.base import GradOut, anywhere

#: Allowed error, relative to the largest value: the kernel computes in this dtype.
TOLERANCE = {"float32": 2e-5, "float64": 1e-11}

SAMPLES = [
    pytest.param(operation, one, id=f"{operation.name}-{number}")
    for operation in fused_operations()
    for number, one in enumerate(sample_cases(operation))
]


def kernel_of(operation, backend):
    if operation.name not in backend.kernels:
        pytest.skip(f"backend {backend.name!r} computes {operation.name} by its definition")
    return backend.kernels[operation.name]


def forward(kernel, arrays, options):
    made = kernel.forward(*arrays, **options)
    if made is NotImplemented:
        pytest.skip("the kernel leaves such arrays or options to the definition")
    return made


def variants(operation, drawn):
    """The arguments as drawn, and with each optional one left out."""
    optional = [
        i for i, name in enumerate(operation.arrays)
        if operation.__signature__.parameters[name].default is None and i < len(drawn)
    ]  # fmt: skip
    for count in counts(len(optional)):
        for absent in itertools.combinations(optional, count):
            yield [None if i in absent else x for i, x in enumerate(drawn)]


def subsets(arguments):
    """Every choice of floating-point arguments that somebody wants the gradient of."""
    able = [i for i, x in enumerate(arguments) if isinstance(x, np.ndarray) and x.dtype.kind == "f"]
    for count in counts(len(able)):
        for wanted in itertools.combinations(able, count) if count else ():
            yield tuple(i in wanted for i in range(len(arguments)))


def counts(n):
    """How many of ``n`` things to choose: each number, of many none, one, all but one, all."""
    return range(n + 1) if n <= 3 else sorted({0, 1, n - 1, n})


def upstream(shape):
    """Some gradient by the output."""
    return np.cos(np.arange(np.prod(shape, dtype=int)) * 1.7).reshape(shape)


def define(operation, arguments, options, backend):
    """Value and all gradients by the definition, in float64."""
    inputs = tensors(arguments, backend, dtype="float64")
    y = operation.compute(inputs, options)
    nodes = [getattr(x, "node", None) for x in inputs]
    g = backend.asarray(upstream(y.shape))
    found = engine.backward([(y.node, g)], [node for node in nodes if node])
    return backend.to_numpy(y.data), [
        None if node is None else backend.to_numpy(backend.asarray(found[node])) for node in nodes
    ]


def agree(ours, expected, dtype):
    scale = max(1.0, np.abs(expected).max(initial=0.0))
    np.testing.assert_allclose(ours, expected, rtol=0, atol=TOLERANCE[dtype] * scale)


@pytest.mark.parametrize("how", ["rows", "strided"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("operation", "case"), SAMPLES)
def test_kernel_agrees_with_the_definition(operation, case, dtype, how, backend):
    kernel = kernel_of(operation, backend)
    options = {**operation.options, **case.options}
    for arguments in variants(operation, case.draw()):
        value, gradients = define(operation, arguments, options, backend)
        arrays = [
            x if x is None else layout(x.astype(dtype) if x.dtype.kind == "f" else x, backend, how)
            for x in operation.bind(arguments, {})[0]
        ]
        y, saved = forward(kernel, arrays, options)
        assert (y.shape, y.dtype) == (value.shape, dtype)
        assert not any(x is not None and backend.xp.may_share_memory(x, y) for x in arrays)
        agree(backend.to_numpy(y), value, dtype)
        g = layout(upstream(y.shape).astype(dtype), backend, how)
        for needed in subsets(arguments):
            found = kernel.backward(g, saved, anywhere(needed), *arrays, **options)
            assert len(found) == len(arrays)
            for wanted, array, ours, expected in zip(
                needed, arrays, found, gradients, strict=False
            ):
                if wanted:
                    assert (ours.shape, ours.dtype) == (array.shape, dtype)
                    agree(backend.to_numpy(ours), expected, dtype)


@pytest.mark.parametrize(("operation", "case"), SAMPLES)
def test_kernel_leaves_its_arguments_alone(operation, case, backend):
    kernel = kernel_of(operation, backend)
    drawn, options = case.draw(), {**operation.options, **case.options}
    arrays = [x if x is None else backend.asarray(x, copy=True) for x in drawn]
    y, saved = forward(kernel, arrays, options)
    g = backend.asarray(upstream(y.shape))
    needed = [x is not None and x.dtype.kind == "f" for x in drawn]
    kernel.backward(g, saved, anywhere(needed), *arrays, **options)
    np.testing.assert_array_equal(backend.to_numpy(g), upstream(y.shape))
    for before, after in zip(drawn, arrays, strict=True):
        if before is not None:
            np.testing.assert_array_equal(backend.to_numpy(after), before)


@pytest.mark.parametrize(("operation", "case"), SAMPLES)
def test_what_a_kernel_returns_is_the_callers(operation, case, backend):
    """Neither a second call nor a second backward pass may change what the first one gave."""
    kernel = kernel_of(operation, backend)
    options = {**operation.options, **case.options}
    arrays = [x if x is None else backend.asarray(x) for x in case.draw()]
    others = [x if x is None or x.dtype.kind != "f" else x * 1.5 for x in arrays]
    needed = [x is not None and x.dtype.kind == "f" for x in arrays]
    y, saved = forward(kernel, arrays, options)
    value = backend.to_numpy(y)
    g = backend.asarray(upstream(y.shape))
    first = kernel.backward(g, saved, anywhere(needed), *arrays, **options)
    gradients = [None if not n else backend.to_numpy(x) for n, x in zip(needed, first, strict=True)]
    _, saved_too = kernel.forward(*others, **options)
    kernel.backward(g, saved_too, anywhere(needed), *others, **options)
    again = kernel.backward(g, saved, anywhere(needed), *arrays, **options)
    np.testing.assert_array_equal(backend.to_numpy(y), value)
    for wanted, expected, x, x_again in zip(needed, gradients, first, again, strict=True):
        if wanted:
            np.testing.assert_array_equal(backend.to_numpy(x), expected)
            agree(backend.to_numpy(x_again), expected, "float64")


@pytest.mark.parametrize(("operation", "case"), SAMPLES)
def test_kernel_writes_and_adds_gradients_if_it_says_so(operation, case, backend):
    kernel = kernel_of(operation, backend)
    options = {**operation.options, **case.options}
    arrays = [x if x is None else backend.asarray(x) for x in case.draw()]
    y, saved = forward(kernel, arrays, options)
    g = backend.asarray(upstream(y.shape))
    needed = [x is not None and x.dtype.kind == "f" for x in arrays]
    plain = kernel.backward(g, saved, anywhere(needed), *arrays, **options)
    for accumulate in [False] * kernel.writes + [True] * kernel.accumulates:
        outs = [
            GradOut(backend.xp.full(x.shape, 2.0 if accumulate else np.nan), accumulate)
            if is_needed else None
            for x, is_needed in zip(arrays, needed, strict=True)
        ]  # fmt: skip
        found = kernel.backward(g, saved, outs, *arrays, **options)
        for out, ours, expected in zip(outs, found, plain, strict=True):
            if out is not None:
                assert ours is out.array
                expected = backend.to_numpy(expected) + (2 if accumulate else 0)
                np.testing.assert_allclose(backend.to_numpy(ours), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("operation", "case"), SAMPLES)
def test_tensors_get_the_kernels_gradients(operation, case, backend, monkeypatch):
    """Through the public door, each subset of inputs with ``requires_grad``."""

    def gradients(arguments, needed):
        inputs = tensors(arguments, backend)
        for x, wanted in zip(inputs, needed, strict=True):
            if x is not None:
                x.requires_grad = wanted
        y = operation(*inputs, **case.options)
        (y * nnlib.Tensor(backend.asarray(upstream(y.shape)), backend)).sum().backward()
        return [None if x is None or x.grad is None else x.grad.numpy() for x in inputs]

    for arguments in variants(operation, case.draw()):
        every = [x is not None and x.dtype.kind == "f" for x in arguments]
        with monkeypatch.context() as patch:
            patch.setattr(backend, "kernels", {})
            expected = gradients(arguments, every)
        for needed in subsets(arguments):
            found = gradients(arguments, needed)
            assert [x is not None for x in found] == list(needed)
            for ours, right in zip(found, expected, strict=True):
                if ours is not None:
                    np.testing.assert_allclose(ours, right, rtol=1e-9, atol=1e-11)


def test_kernels_are_for_operations_that_exist(backend):
    names = {operation.name for operation in fused_operations()}
    assert set(backend.kernels) <= names
