"""Whether a kernel written in ``xp`` terms is worth its lines: the definition against it.

    python benchmarks/portable_tier.py [operation ...]

For each kernel of ``portable.py``, ``patches.py``, ``recurrent.py`` and ``attention.py``, forward
and backward of a tensor operation on the NumPy backend, once with the kernel and once by the
definition, in float64 and in float32, without compiled kernels (``NNLIB_NATIVE=0``): seconds (the
fastest of several), and the peak of what was allocated.  Launches are those that the operations
would be on a GPU, counted on the strict backend of the tests; what CuPy's own kernels replace there
is counted as the primitives of ``xp``.
"""

import os
import sys
import time
import tracemalloc
from pathlib import Path

os.environ["NNLIB_NATIVE"] = "0"
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "doubles"))

import numpy as np
import strict_backend
from strict_backend.kernels import capturing

import nnlib
from nnlib.ops.operation import Fused, Integers
from nnlib_backends import load_backend

POOL = {"size": (2, 2), "stride": (2, 2)}
LSTM = {"reverse": False}


def recurrent(batch, steps, inputs, hidden, gates, states):
    """Shapes of x, the weights, the biases, the first states, and no lengths."""
    shapes = [(batch, steps, inputs), (gates * hidden, inputs), (gates * hidden, hidden)]
    return [*shapes, (gates * hidden,), (gates * hidden,), *[(batch, hidden)] * states, None]


SIZES = {  # two sizes each: in the cache, and beyond it
    "linear": [
        ([(64, 784), (300, 784), (300,)], {"activation": "relu"}),
        ([(512, 1024), (1024, 1024), (1024,)], {"activation": "relu"}),
        ([(16, 128, 256), (256, 256), (256,)], {}),
    ],
    "conv2d": [
        ([(8, 28, 28, 1), (6, 5, 5, 1), (6,)], {"padding": (2, 2)}),
        ([(4, 56, 56, 32), (32, 3, 3, 32), (32,)], {"padding": (1, 1)}),
    ],
    "max_pool2d": [([(4, 28, 28, 8)], POOL), ([(4, 112, 112, 32)], POOL)],
    "avg_pool2d": [([(4, 28, 28, 8)], POOL), ([(4, 112, 112, 32)], POOL)],
    "softmax_cross_entropy": [
        ([(64, 10), Integers((64,), 10)], {}),
        ([(1024, 1000), Integers((1024,), 1000)], {}),
    ],
    "sigmoid_cross_entropy": [([(32, 256)] * 2, {}), ([(1024, 1024)] * 2, {})],
    "layer_norm": [([s, s[1:], s[1:]], {}) for s in [(32, 256), (2048, 1024)]],
    "rms_norm": [([s, s[1:]], {}) for s in [(32, 256), (2048, 1024)]],
    "batch_norm": [([s, s[-1:], s[-1:]], {}) for s in [(4, 14, 14, 16), (4, 112, 112, 64)]],
    "gelu": [
        ([(32, 256)], {}),
        ([(1024, 1024)], {}),
        ([(32, 256)], {"approximate": "tanh"}),
        ([(1024, 1024)], {"approximate": "tanh"}),
    ],
    "silu": [([(32, 256)], {}), ([(1024, 1024)], {})],
    "dropout": [([s, Integers((2,), 9)], {"p": 0.1}) for s in [(32, 256), (1024, 1024)]],
    "embedding": [
        ([(1000, 64), Integers((256,), 1000)], {}),
        ([(10000, 256), Integers((4096,), 10000)], {}),
    ],
    "attention": [
        ([(2, 32, 4, 16)] * 3, {"causal": True}),
        ([(4, 256, 8, 64)] * 3, {"causal": True}),
        ([(4, 256, 8, 64)] * 3, {}),
    ],
    "self_attention": [
        ([(2, 32, 3, 4, 16)], {"causal": True}),
        ([(4, 256, 3, 8, 64)], {"causal": True}),
    ],
    "rnn": [
        (recurrent(8, 16, 32, 32, 1, 1), {"nonlinearity": "tanh", **LSTM}),
        (recurrent(64, 64, 128, 128, 1, 1), {"nonlinearity": "tanh", **LSTM}),
    ],
    "gru": [
        (recurrent(8, 16, 32, 32, 3, 1), LSTM),
        (recurrent(64, 64, 128, 128, 3, 1), LSTM),
    ],
    "lstm": [
        ([*recurrent(8, 16, 32, 32, 4, 2), None], LSTM),
        ([*recurrent(64, 64, 128, 128, 4, 2), None], LSTM),
    ],
}


def make(argument, dtype, backend):
    """A tensor for one argument of a row."""
    generator = np.random.default_rng(0)
    if argument is None:
        return None
    if isinstance(argument, Integers):
        return nnlib.tensor(generator.integers(0, argument.high, argument.shape), backend=backend)
    values = generator.normal(size=argument).astype(dtype) * 0.1
    return nnlib.tensor(values, backend=backend, requires_grad=True)


def step(operation, arguments, options, dtype, backend):
    """Return a function that goes forward and backward once."""
    tensors = [make(argument, dtype, backend) for argument in arguments]
    y = operation(*tensors, **options)
    gradient = nnlib.tensor(np.ones(y.shape, dtype), backend=backend)

    def run():
        for t in tensors:
            if t is not None:
                t.grad = None
        operation(*tensors, **options).backward(gradient)

    return run


def seconds(runs):
    """The fastest of several calls of each function, which take turns."""
    best = [float("inf")] * len(runs)
    end = time.perf_counter() + 1.5
    rounds = 0
    while rounds < 3 or time.perf_counter() < end:
        for i, run in enumerate(runs):
            begin = time.perf_counter()
            run()
            best[i] = min(best[i], time.perf_counter() - begin)
        rounds += 1
    return best


def peak(run):
    """Largest number of bytes that were allocated at once."""
    run()
    tracemalloc.start()
    run()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def launches(run):
    """How many of the operations on arrays are no views."""
    run()
    with capturing() as graph:
        run()
    in_place = ("compute", "set_item")
    return sum(bool(fresh) or f.__name__ in in_place for f, _, _, fresh in graph.launches)


def without(backend, name):
    """Have a backend compute an operation by its definition."""
    backend.kernels = {key: kernel for key, kernel in backend.kernels.items() if key != name}


def main(names):
    """Print a row for each operation, size and dtype."""
    strict_backend.register()
    numpy, strict = load_backend("numpy"), load_backend("strict")
    tables = dict(numpy.kernels), dict(strict.kernels)
    print("| operation | dtype | definition ms | kernel ms | ratio | definition MB | kernel MB "
          "| definition launches | kernel launches |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|")
    for name in names or SIZES:
        operation = Fused.registry[name]
        for arguments, options in SIZES[name]:
            shape = " ".join(
                "-" if a is None else "x".join(map(str, a if isinstance(a, tuple) else a.shape))
                for a in arguments[:2]
            )
            for dtype in ("float64", "float32"):
                found = []
                for defined in (True, False):
                    numpy.kernels, strict.kernels = tables
                    if defined:
                        without(numpy, name)
                        without(strict, name)
                    run = step(operation, arguments, options, dtype, numpy)
                    count = launches(step(operation, arguments, options, dtype, strict))
                    found.append((run, peak(run), count, numpy.kernels))

                def by(kernels, run):
                    def call():
                        numpy.kernels = kernels
                        run()

                    return call

                times = seconds([by(row[3], row[0]) for row in found])
                (_, m0, n0, _), (_, m1, n1, _) = found
                print(
                    f"| {name} {shape} {options or ''} | {dtype} | {times[0] * 1e3:.3f} "
                    f"| {times[1] * 1e3:.3f} | {times[0] / times[1]:.2f} | {m0 / 1e6:.2f} "
                    f"| {m1 / 1e6:.2f} | {n0} | {n1} |",
                    flush=True,
                )


if __name__ == "__main__":
    main(sys.argv[1:])
