"""Who uses the memory, and what happens when there is not enough."""

import gc

import numpy as np
import pytest
import strict_backend

import nnlib
from nnlib import nn, optim
from nnlib.errors import OutOfMemoryError
from nnlib.memory import ROLES, MemorySummary, out_of_memory
from nnlib_backends import MemoryInfo


@pytest.fixture
def grown(backend):
    """A function that returns by how much each role has grown since the test began."""
    gc.collect()
    before = nnlib.memory_summary().to_dict()

    def since():
        gc.collect()
        after = nnlib.memory_summary().to_dict()
        return {name: after[name] - before[name] for name in ROLES}

    return since


def block(nbytes, backend):
    """What an array of so many bytes takes: CuPy's pool gives blocks of 512."""
    return -(-nbytes // 512) * 512 if backend.name == "cupy" else nbytes


def test_a_training_step(grown, backend):
    model = nn.Sequential(nn.Linear(128, 64, bias=False), nn.Tanh(), nn.Linear(64, 16, bias=False))
    weights = 4 * (128 * 64 + 64 * 16)
    assert grown()["parameters"] == weights
    x = nnlib.ones(32, 128)
    assert grown()["tensors"] == 4 * 32 * 128
    loss = model(x).sum()
    held = grown()
    # the batch and the hidden layer before and after tanh, and the outputs
    assert held["activations"] >= 4 * 32 * 64
    assert held["gradients"] == 0
    loss.backward()
    assert grown()["gradients"] == weights
    optimizer = optim.Adam(model.parameters())
    optimizer.step()
    held = grown()
    assert held["parameters"] == held["gradients"] == weights
    assert held["state"] == 2 * weights
    assert held["activations"] <= block(4, backend)  # the loss itself
    optimizer.zero_grad()
    del optimizer, model, loss, x
    assert set(grown().values()) == {0}


def test_views_are_counted_once(grown, backend):
    x = nnlib.zeros(64, 128)
    parts = [x[i] for i in range(64)]
    assert grown()["tensors"] == x.data.nbytes
    del parts


def test_frozen_parameters_are_parameters(grown):
    layer = nn.Linear(64, 64, bias=False).requires_grad_(False)
    assert grown()["parameters"] == layer.weight.data.nbytes


def test_recordings(grown):
    double = nnlib.compile(lambda x: x + x)
    for _ in range(3):
        double(nnlib.zeros(256, 128))
    assert grown()["recordings"] >= 2 * 4 * 256 * 128  # the argument and the result
    double.clear()
    assert grown()["recordings"] == 0


def test_only_this_backends_arrays_count(grown, backend):
    other = "strict" if backend.name != "strict" else "numpy"
    with nnlib.use_backend(other):
        x = nnlib.zeros(1000)
    assert grown()["tensors"] == 0
    assert nnlib.memory_summary(other).tensors >= x.data.nbytes


def test_nothing_is_read():
    with nnlib.use_backend("strict"):
        x = nnlib.zeros(10, requires_grad=True)
        y = (x * 2).sum()
        with strict_backend.counting() as counts:
            nnlib.memory_summary()
    assert (counts.reads, counts.transfers) == (0, 0)
    del y


def test_rest_is_what_is_used_besides(monkeypatch):
    backend = nnlib.get_backend()
    info = MemoryInfo(used=10 << 30, peak=0, free=5, cached=7)
    monkeypatch.setattr(type(backend), "memory_info", lambda self: info)
    summary = nnlib.memory_summary()
    assert sum(summary.to_dict().values()) == (10 << 30) + 5 + 7
    assert (summary.cached, summary.free) == (7, 5)
    monkeypatch.setattr(type(backend), "memory_info", lambda self: MemoryInfo(0, 0, 0))
    assert nnlib.memory_summary().rest == 0


def test_a_table():
    text = str(MemorySummary("cupy", 1 << 30, 0, 0, 0, 0, 0, 3, 0, 0))
    assert text.splitlines() == [
        "memory of 'cupy'", "  parameters         1.0 GiB", "  rest                   3 B",
        "  free                   0 B",
    ]  # fmt: skip


class TestOutOfMemory:
    HUGE = 1 << 24  # squared, and four bytes each: a pebibyte

    @pytest.fixture(autouse=True)
    def _here(self, backend):
        pass

    def message(self, function):
        with pytest.raises(OutOfMemoryError) as caught:
            function()
        assert isinstance(caught.value, MemoryError)
        return str(caught.value)

    def test_an_operation(self, backend):
        ballast = nn.Linear(512, 512, bias=False)
        column, row = nnlib.ones(self.HUGE, 1, dtype="int8"), nnlib.ones(1, self.HUGE, dtype="int8")
        text = self.message(lambda: column + row)
        assert text.startswith("add of int8 (16777216, 1)")
        assert repr(backend.name) in text
        assert "256. TiB" in text or "Out of memory allocating" in text
        assert "parameters 1.0 MiB" in text
        assert "tensors 32.0 MiB" in text
        del ballast

    def test_new_tensors(self):
        assert self.message(lambda: nnlib.zeros(self.HUGE, self.HUGE)).startswith("zeros of")

    def test_the_backward_pass(self, backend, monkeypatch):
        layer = nn.Linear(4, 3)
        optimizer = optim.SGD(layer.parameters(), lr=0.02)

        def step():
            optimizer.zero_grad()
            loss = (layer(nnlib.ones(2, 4)) ** 2).sum()
            loss.backward()
            optimizer.step()
            return loss.item()

        step()
        expected = [p.numpy() for p in layer.parameters()]
        kernel = backend.kernels["linear"]

        def full(*args, **options):
            raise MemoryError("no room")

        broken = type(kernel)(kernel.forward, full)
        monkeypatch.setitem(backend.kernels, "linear", broken)
        text = self.message(step)
        assert text.startswith("the backward pass needs more memory")
        assert "no room" in text
        monkeypatch.setitem(backend.kernels, "linear", kernel)
        for p, value in zip(layer.parameters(), expected, strict=True):
            np.testing.assert_array_equal(p.numpy(), value)
        first, second = step(), step()  # as if nothing had happened
        assert first > second

    def test_an_update(self, monkeypatch):
        layer = nn.Linear(4, 3)
        optimizer = optim.Adam(layer.parameters())
        layer(nnlib.ones(2, 4)).sum().backward()

        def full(*args):
            raise MemoryError

        monkeypatch.setattr(type(optimizer), "_store_state", full)
        assert self.message(optimizer.step).startswith("Adam, for its state")

    def test_a_compiled_function_forgets_what_does_not_fit(self):
        @nnlib.compile
        def outer(x, y):
            return x + y

        small = nnlib.ones(3, 1, dtype="int8"), nnlib.ones(1, 3, dtype="int8")
        outer(*small)
        column, row = nnlib.ones(self.HUGE, 1, dtype="int8"), nnlib.ones(1, self.HUGE, dtype="int8")
        for _ in range(2):
            self.message(lambda: outer(column, row))
        assert len(outer._specializations) == 1
        for _ in range(3):
            assert outer(*small).tolist() == [[2] * 3] * 3

    def test_what_a_pool_keeps_is_given_back(self, backend, monkeypatch):
        calls = []
        monkeypatch.setattr(type(backend), "release_memory", lambda self: calls.append(self))
        self.message(lambda: nnlib.zeros(self.HUGE, self.HUGE))
        assert calls == [backend]

    def test_it_is_explained_once(self, backend):
        error = out_of_memory(MemoryError("first"), backend, "this")
        assert out_of_memory(error, backend, "that") is error
