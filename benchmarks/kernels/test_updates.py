"""Times the optimizers' update of one large parameter, on every available backend."""

import pytest

import nnlib
from nnlib import nn, optim
from nnlib.random import Generator

OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, lr=1e-3),
    "SGD momentum": lambda p: optim.SGD(p, lr=1e-3, momentum=0.9),
    "RMSprop": lambda p: optim.RMSprop(p, lr=1e-3),
    "Adagrad": lambda p: optim.Adagrad(p, lr=1e-3),
    "Adam": lambda p: optim.Adam(p, lr=1e-3),
    "AdamW": lambda p: optim.AdamW(p, lr=1e-3),
}


@pytest.mark.parametrize("size", [2**10, 2**16, 2**22], ids="{:,}".format)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_update(benchmark, backend, name, size):
    values = Generator(0).normal((2, size), backend="numpy")
    parameter = nn.Parameter(nnlib.tensor(values[0], backend=backend))
    parameter.grad = nnlib.tensor(values[1], backend=backend)
    optimizer = OPTIMIZERS[name]([parameter])
    benchmark.group = f"update of {size:,} values"
    benchmark.extra_info.update(backend=backend.name, bytes=4 * size)

    def step():
        optimizer.step()
        backend.synchronize()

    benchmark(step)
    assert parameter.backend is backend
