"""Grids, the texts of kernels, and the way through CuPy to the driver."""

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from emulation.nvrtc import added_by_cupy

from nnlib_backends.cupy_backend.kernels import epilogue, sources
from nnlib_backends.cupy_backend.kernels.launch import Launcher


class Shaped:
    """An array too large to be there."""

    def __init__(self, *shape, dtype="float32"):
        self.shape, self.dtype, self.size = shape, np.dtype(dtype), int(np.prod(shape))


class Grids:
    """A driver that writes down what it is asked for."""

    def __init__(self):
        self.log = []

    def launch(self, file, kernel, dtype, grid, args):
        self.log.append((file, kernel, dtype, grid, args))


@pytest.fixture
def driver():
    return Grids()


@pytest.fixture
def launcher(driver):
    return Launcher(np, driver)


@pytest.mark.parametrize("shape", [
    (1, 1), (1, 1 << 28), (1 << 28, 1), (1 << 22, 64), (8, 50257), (50257, 8), (3, 127), (127, 3),
], ids=str)  # fmt: skip
def test_grids_are_within_cudas_limits(shape, launcher, driver):
    like = Shaped(*shape)
    chunks = launcher.chunks(shape, like)
    launcher.elementwise("f", "k", n=like.size, like=like)
    launcher.rows("f", "k", shape=shape, like=like)
    launcher.columns("f", "k", shape=shape, chunks=chunks, like=like)
    launcher.runs("f", "k", count=shape[0], columns=shape[1], like=like)
    for *_, (x, y), _ in driver.log:
        assert 0 < x < 1 << 16
        assert 0 < y < 1 << 16
    assert chunks * driver.log[2][3][0] <= 2 * 4096  # not many more sums than blocks can be busy


def test_large_arrays_get_blocks_enough_and_small_ones_no_more_than_they_need(launcher, driver):
    launcher.elementwise("f", "k", n=1 << 24, like=Shaped(1 << 24))
    launcher.elementwise("f", "k", n=1025, like=Shaped(1025))
    launcher.elementwise("f", "k", n=1025, like=Shaped(1025, dtype="float64"))
    launcher.rows("f", "k", shape=(64, 1024), like=Shaped(64, 1024))
    launcher.rows("f", "k", shape=(64, 1025), like=Shaped(64, 1025))
    assert [grid for _, _, _, grid, _ in driver.log] == [
        (4096, 1), (2, 1), (3, 1), (8, 1), (64, 1),
    ]  # fmt: skip
    assert [kernel for _, kernel, *_ in driver.log[3:]] == ["k_warp", "k_block"]


def test_one_chunk_needs_no_second_sum(launcher, driver):
    _, sums = epilogue.sum_bias(launcher, np.ones((8, 4), "f4"), None, None)
    assert sums.shape == (4,)
    assert len(driver.log) == 1
    epilogue.sum_bias(launcher, np.ones((5000, 4), "f4"), None, None)
    assert len(driver.log) == 3


def test_nothing_is_launched_without_bias_and_activation(launcher, driver):
    epilogue.add_bias(launcher, np.ones((8, 4), "f4"), None, None)
    assert not driver.log


def test_a_text_holds_each_header_once():
    text = sources.source("batch_norm")
    assert text.count("using Vector = ") == text.count("struct bfloat16") == 1
    assert "#include" not in text
    assert "#pragma once" not in text


def test_the_documentation_lists_every_file():
    text = (Path(__file__).parents[4] / "docs/cuda.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)\.cu` \|", text, re.MULTILINE)
    assert sorted(listed) == sources.files()


@pytest.fixture
def cupy(monkeypatch):
    """A double of CuPy that writes down what is compiled and launched."""
    log = []

    class RawModule:
        def __init__(self, code, options, backend):
            assert not set(options) & set(added_by_cupy("sm_90")), "NVRTC takes no option twice"
            log.append(("compile", code, options, backend))

        def get_function(self, name):
            return lambda grid, block, args: log.append((name, grid, block, args))

    double = ModuleType("cupy")
    double.RawModule, double.log = RawModule, log
    monkeypatch.setitem(sys.modules, "cupy", double)
    name = "nnlib_backends.cupy_backend.kernels.nvrtc"
    monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module(name)
    monkeypatch.setitem(sys.modules, name, module)  # so that it is gone after the test
    double.driver = module.CudaDriver()
    return double


def test_a_file_is_compiled_once_for_a_dtype(cupy):
    launch, args = cupy.driver.launch, (np.zeros(2), None, 3, 0.5)
    launch("dropout", "dropout", "float32", (4, 2), args)
    launch("dropout", "dropout", "float32", (1, 1), ())
    launch("dropout", "dropout", "float64", (1, 1), ())
    kinds = [entry[0] for entry in cupy.log]
    assert kinds == ["compile", "dropout", "dropout", "compile", "dropout"]
    _, code, options, backend = cupy.log[0]
    assert (code, options) == (sources.source("dropout"), sources.options("float32"))
    assert backend == "nvrtc"
    _, grid, block, (array, null, n, p) = cupy.log[1]
    assert (grid, block) == ((4, 2), (256,))
    assert array is args[0]
    assert [type(value) for value in (null, n, p)] == [np.uintp, np.int64, np.float64]
    assert (null, n, p) == (0, 3, 0.5)
