"""How fast the kernels go through memory, as a share of what copying reaches: ``pytest -m gpu``."""

import ml_dtypes
import numpy as np
import pytest

from nnlib.optim import UpdateRule
from nnlib_backends import load_backend
from nnlib_backends.base import anywhere

pytestmark = pytest.mark.gpu

NBYTES, COLUMNS = 512 << 20, 1 << 10  # a call must take longer than Python takes to make the next
REPEATS = 10
LEAST = 0.8  # of the bandwidth of a copy


@pytest.fixture(scope="module")
def cupy():
    return load_backend("cupy")


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def x(cupy, request):
    dtype = np.dtype(getattr(ml_dtypes, request.param, request.param))
    shape = NBYTES // dtype.itemsize // COLUMNS, COLUMNS
    numbers = np.random.default_rng(0).standard_normal(size=shape, dtype="float32")
    return cupy.asarray(numbers.astype(dtype))


def seconds(cupy, function):
    """Time of one call, the best of three series."""
    function()  # compiles
    times = []
    for _ in range(3):
        timer = cupy.timer()
        timer.start()
        for _ in range(REPEATS):
            function()
        timer.stop()
        times.append(timer.seconds() / REPEATS)
    return min(times)


@pytest.fixture(scope="module")
def copy_rate(cupy, x):
    """Bytes read and written a second."""
    target = cupy.xp.empty_like(x)
    return 2 * x.nbytes / seconds(cupy, lambda: cupy.xp.copyto(target, x))


def forward(name, *others, **options):
    return lambda cupy, x: lambda: cupy.kernels[name].forward(x, *others, **options)


def backward(name, *others, **options):
    def prepare(cupy, x):
        kernel = cupy.kernels[name]
        y, saved = kernel.forward(x, *others, **options)
        needed = (True, *(False for _ in others))
        return lambda: kernel.backward(y, saved, anywhere(needed), x, *others, **options)

    return prepare


def cross_entropy(direction):
    def prepare(cupy, x):
        kernel = cupy.kernels["softmax_cross_entropy"]
        arguments = (x, cupy.xp.zeros(len(x), dtype="int64"))
        loss, saved = kernel.forward(*arguments)
        if direction == "forward":
            return lambda: kernel.forward(*arguments)
        return lambda: kernel.backward(loss, saved, anywhere((True, False)), *arguments)

    return prepare


def dropout(cupy, x):
    key = cupy.asarray([1, 2])
    return lambda: cupy.kernels["dropout"].forward(x, key, p=0.1)


def softmax(direction):
    def prepare(cupy, x):
        kernel = cupy.primitives["softmax"]
        y = kernel.forward(x)
        if direction == "forward":
            return lambda: kernel.forward(x)
        return lambda: kernel.rules["x"](x, y, -1)

    return prepare


def shrink(cupy, x):
    norm = cupy.asarray(np.ones((), x.dtype))
    return lambda: cupy.updates["clip"]([x], norm, 1.0)


def pooling(cupy, x):
    image = x.reshape(-1, 64, 64, 64)
    options = {"size": (2, 2), "stride": (2, 2), "padding": (0, 0)}
    return lambda: cupy.kernels["max_pool2d"].forward(image, **options)


def adam(cupy, x):
    rule = UpdateRule.registry["adam"]
    p, m, v = (cupy.xp.ones_like(x) for _ in range(3))
    scalars = cupy.xp.full((len(rule.scalars),), 0.01, dtype="float32")
    update = cupy.updates["adam"]
    return lambda: update(p, x, m, v, None, scalars, decayed=True, decoupled=True)


NORM = {"eps": 1e-5}
#: what is measured → how, and how many arrays of 64 MiB must be read or written
KERNELS = {
    "gelu": (forward("gelu", approximate="tanh"), 2),
    "gelu backward": (backward("gelu", approximate="tanh"), 3),
    "cross-entropy": (cross_entropy("forward"), 1),
    "cross-entropy backward": (cross_entropy("backward"), 2),
    "layer norm": (forward("layer_norm", None, None, **NORM), 2),
    "layer norm backward": (backward("layer_norm", None, None, **NORM), 3),
    "batch norm": (forward("batch_norm", None, None, **NORM), 3),
    "batch norm backward": (backward("batch_norm", None, None, **NORM), 5),
    "dropout": (dropout, 2),
    "softmax": (softmax("forward"), 2),  # the second reading is from the cache
    "softmax backward": (softmax("backward"), 3),
    "max pooling": (pooling, 1.3125),  # the image, a quarter, and a byte for each of its numbers
    "adam": (adam, 7),
    "norm": (lambda cupy, x: lambda: cupy.updates["norm"]([x]), 1),
    "clipping": (shrink, 2),
}
FLOAT32 = {"adam", "norm", "clipping"}  # gradients and master weights


@pytest.mark.parametrize("name", KERNELS)
def test_kernel_is_as_fast_as_memory(name, cupy, x, copy_rate, record_property):
    if name in FLOAT32 and x.dtype != "float32":
        pytest.skip("of float32 only")
    prepare, passes = KERNELS[name]
    rate = passes * x.nbytes / seconds(cupy, prepare(cupy, x))
    record_property("share of the copy rate", rate / copy_rate)
    assert rate >= LEAST * copy_rate, f"{name}: {rate / copy_rate:.0%} of the rate of a copy"
