"""Times every fused operation, forward and backward, over sizes, on every available backend.

    pytest benchmarks --benchmark-only
    pytest benchmarks --benchmark-only --benchmark-autosave      # then, after a change:
    pytest benchmarks --benchmark-only --benchmark-compare --benchmark-group-by=fullname

Sizes go from cache-resident to large.  An operation that is not listed in `SIZES` is timed on the
samples of its conformance test, so a new one is never left out.
"""

import math

import pytest

import nnlib
from nnlib.ops.operation import Fused, Integers, fused_operations
from nnlib.random import Generator

POOL = {"size": (2, 2), "stride": (2, 2)}
MATRICES = [(32, 256), (256, 1024), (2048, 2048)]
MAPS = [(4, 28, 28, 32), (4, 112, 112, 64)]

SIZES = {
    "linear": [
        ([(64, 784), (300, 784), (300,)], {}),  # the MNIST network's first layer
        ([(32, 1024), (1024, 1024), (1024,)], {}),
        ([(4, 25088), (4096, 25088), (4096,)], {}),  # VGG-16's largest layer
    ],
    "conv2d": [
        ([(32, 28, 28, 1), (6, 5, 5, 1), (6,)], {"padding": (2, 2)}),  # LeNet-5's first layer
        ([(2, 56, 56, 64), (64, 3, 3, 64), (64,)], {"padding": (1, 1)}),
        ([(2, 112, 112, 128), (128, 3, 3, 128), (128,)], {"padding": (1, 1)}),  # VGG-16
        ([(2, 14, 14, 512), (512, 3, 3, 512), (512,)], {"padding": (1, 1)}),  # VGG-16
    ],
    "max_pool2d": [([shape], POOL) for shape in MAPS],
    "avg_pool2d": [([shape], POOL) for shape in MAPS],
    "gelu": [([shape], {}) for shape in MATRICES],
    "silu": [([shape], {}) for shape in MATRICES],
    "layer_norm": [([s, s[1:], s[1:]], {}) for s in MATRICES],
    "rms_norm": [([s, s[1:]], {}) for s in MATRICES],
    "batch_norm": [([s, s[-1:], s[-1:]], {}) for s in MAPS],
    "softmax_cross_entropy": [
        ([(n, classes), Integers((n,), classes)], {})
        for n, classes in [(64, 10), (256, 1000), (2048, 10000)]
    ],
    "sigmoid_cross_entropy": [([shape, shape], {}) for shape in MATRICES],
}


def cases():
    """Every fused operation with arguments and options, readably named."""
    for operation in fused_operations():
        for arguments, options in SIZES.get(operation.name, operation.samples):
            shapes = " ".join(describe(argument) for argument in arguments)
            yield pytest.param(operation, arguments, options, id=f"{operation.name}: {shapes}")


def describe(argument):
    if argument is None:
        return "-"
    shape = argument.shape if isinstance(argument, Integers) else argument
    return "x".join(map(str, shape))  # pytest writes other characters as escapes in names


def make(argument, backend):
    """A tensor for one argument of a sample, the same numbers on every backend."""
    generator = Generator(0)
    if argument is None:
        return None
    if isinstance(argument, Integers):
        labels = generator.integers(0, argument.high, argument.shape)
        return nnlib.tensor(labels, backend=backend)
    values = generator.normal(tuple(argument), backend="numpy")
    return nnlib.tensor(values, backend=backend, requires_grad=True)


def prepare(benchmark, operation: Fused, arguments, options, backend):
    tensors = [make(argument, backend) for argument in arguments]
    device = nnlib.backend_info(backend)
    benchmark.group = f"{operation.name} {' '.join(map(describe, arguments))}"
    benchmark.extra_info.update(
        backend=backend.name,
        device=device["name"],
        own_kernel=operation.name in backend.kernels,
        bytes=4 * sum(math.prod(t.shape) for t in tensors if t is not None),
    )
    return tensors


@pytest.mark.parametrize(("operation", "arguments", "options"), list(cases()))
def test_forward(benchmark, backend, operation, arguments, options):
    tensors = prepare(benchmark, operation, arguments, options, backend)

    def forward():
        with nnlib.no_grad():
            y = operation(*tensors, **options)
        backend.synchronize()
        return y

    y = benchmark(forward)
    assert y.backend is backend


@pytest.mark.parametrize(("operation", "arguments", "options"), list(cases()))
def test_backward(benchmark, backend, operation, arguments, options):
    tensors = prepare(benchmark, operation, arguments, options, backend)
    learned = [t for t in tensors if t is not None and t.requires_grad]
    y = operation(*tensors, **options)
    gradient = nnlib.tensor(Generator(1).normal(y.shape, backend="numpy"), backend=backend)

    def backward():
        for t in learned:
            t.grad = None
        y.backward(gradient, retain_graph=True)
        backend.synchronize()

    benchmark(backward)
    assert all(t.grad is not None for t in learned)


def test_every_size_belongs_to_an_operation():
    assert set(SIZES) <= {operation.name for operation in fused_operations()}
