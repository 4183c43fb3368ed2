"""The emulation finds what would go wrong on a GPU."""

import zlib

import emulation
import numpy as np
import pytest
from emulation import build

pytestmark = pytest.mark.skipif(
    bool(emulation.missing_compiler()), reason=emulation.missing_compiler()
)


@pytest.fixture
def run(monkeypatch):
    """Compile a kernel's body and run it on one block and an array."""
    from nnlib_backends.cupy_backend.kernels import sources

    def run(body, *arrays):
        names = "abc"[: len(arrays)]
        arguments = ", ".join(f"real* {name}" for name in names)
        text = sources.source("epilogue").partition("template <int N>\n__device__ void add")[0]
        text += f"KERNEL probe({arguments}) {{ unsigned i = threadIdx.x; {body} }}\n"
        monkeypatch.setattr(build, "source", lambda file: text)
        emulation.launch(f"probe_{zlib.crc32(text.encode())}", "probe", "float32", (1, 1), arrays)
        return arrays[-1]

    return run


def floats(n):
    return np.arange(n, dtype=np.float32)


def test_threads_see_each_other_after_a_barrier(run):
    body = "__shared__ real s[256]; s[i] = a[i]; __syncthreads(); b[i] = s[255 - i];"
    assert run(body, floats(256), np.zeros(256, "f4")).tolist() == floats(256)[::-1].tolist()


def test_shuffles_exchange_within_a_warp(run):
    body = "b[i] = __shfl_xor_sync(0xffffffffu, a[i], 3); b[i] += __shfl_xor_sync(~0u, b[i], 1);"
    x = floats(256)
    first = x[np.arange(256) ^ 3]
    assert (run(body, x, np.zeros(256, "f4")) == first + first[np.arange(256) ^ 1]).all()


def test_a_missing_barrier(run):
    with pytest.raises(AssertionError, match="depends on the order of threads"):
        run("__shared__ real s[256]; s[i] = a[i]; b[i] = s[255 - i];", floats(256), floats(256))


def test_a_race_for_one_place(run):
    with pytest.raises(AssertionError, match="depends on the order of threads"):
        run("a[0] = i;", floats(1))


@pytest.mark.parametrize("place", ["256 + i % 4", "-1 - (int)(i % 4)"])
def test_a_stray_write(run, place):
    with pytest.raises(AssertionError, match="writes outside"):
        run(f"a[{place}] = 1;", floats(256))


@pytest.mark.parametrize("body", [
    "if (i < 40) __syncthreads(); a[i] = 1;",
    "if (i % 2) a[i] = __shfl_xor_sync(0xffffffffu, a[i], 1);",
    "if (i / 32) __syncthreads(); else a[i] = __shfl_xor_sync(0xffffffffu, a[i], 1);",
])  # fmt: skip
def test_a_barrier_that_some_never_reach(run, body):
    with pytest.raises(AssertionError, match="never reach"):
        run(body, floats(256))
    assert run("a[i] = i;", floats(256))[7] == 7  # and it goes on working


def test_shared_memory_is_poisoned(run):
    assert np.isnan(run("__shared__ real s[256]; a[i] = s[i];", floats(256))).all()


def test_a_wrong_number_of_arguments():
    with pytest.raises(AssertionError, match="takes 6 arguments"):
        emulation.launch("dropout", "dropout", "float32", (1, 1), [floats(1)])


def test_a_broken_kernel_shows_the_compilers_words(run):
    with pytest.raises(RuntimeError, match="nonsense"):
        run("nonsense();", floats(1))
