"""Streams, events, pools and captures in the order that CUDA wants, on a double of the driver."""

import contextlib
import gc

import fake_cuda
import numpy as np
import pytest

from nnlib_backends.common.trace import View
from nnlib_backends.cupy_backend.graph import GraphTracer
from nnlib_backends.cupy_backend.graph.cuda import CudaGraphs
from nnlib_backends.errors import CaptureError


@pytest.fixture
def cuda():
    return fake_cuda.CudaDouble()


@pytest.fixture
def graphs(cuda):
    return CudaGraphs(cuda, contextlib.nullcontext())


def test_work_comes_after_what_was_asked_for_and_before_what_follows(cuda, graphs):
    caller = cuda.current[-1]
    with graphs.working():
        stream = cuda.current[-1]
        assert stream is not caller
        stream.do(("kernel",))
    assert cuda.current == [caller]
    assert cuda.log == [
        (0, "record"),
        (stream.ptr, "waits", (0, 0)),
        (stream.ptr, "kernel"),
        (stream.ptr, "record"),
        (0, "waits", (stream.ptr, 2)),
    ]


def test_the_caller_waits_also_for_work_that_failed(cuda, graphs):
    with pytest.raises(ZeroDivisionError), graphs.working():
        cuda.current[-1].do(("kernel", 1 / 0))
    assert cuda.log[-1] == (0, "waits", (graphs._stream.ptr, 1))


def test_inside_its_own_stream_it_waits_for_nothing(cuda, graphs):
    with graphs.working():
        before = list(cuda.log)
        with graphs.working():
            pass
        assert cuda.log == before


@pytest.mark.parametrize("enabled", [True, False])
def test_capture(cuda, graphs, enabled):
    pool, seen = graphs.new_pool(), []

    def run():
        cuda.current[-1].do(("kernel",))
        graphs.check()
        seen.append((gc.isenabled(), cuda.allocators[-1], graphs.capturing))

    (gc.enable if enabled else gc.disable)()
    try:
        graph = graphs.capture(pool, run)
        assert gc.isenabled() is enabled
    finally:
        gc.enable()
    assert graph.captured == [("kernel",)]
    assert seen == [(False, pool._pool.malloc, True)]
    assert not graphs.capturing
    assert cuda.allocators == [cuda.default_pool.malloc]
    assert [entry[1] for entry in cuda.log if entry[0] == graphs._stream.ptr] == [
        "waits", "begin", "kernel", "end", "record",
    ]  # fmt: skip


@pytest.mark.parametrize("broken", [False, True])
def test_a_capture_that_fails_leaves_the_device_usable(cuda, graphs, broken):
    first = graphs._stream

    def run():
        cuda.current[-1].broken = broken
        raise KeyError("no")

    with pytest.raises(KeyError):
        graphs.capture(graphs.new_pool(), run)
    assert gc.isenabled()
    assert not graphs.capturing
    assert not first.capturing
    assert cuda.current[-1].ptr == 0
    assert graphs._stream.ptr != first.ptr  # never again the one that was left in the middle
    assert cuda.log[-1][:2] == (0, "waits")
    assert cuda.log[-1][2][0] == graphs._stream.ptr
    assert graphs.capture(graphs.new_pool(), lambda: None).captured == []


def test_an_error_that_shows_at_the_end_only(cuda, graphs):
    def run():
        cuda.current[-1].broken = True

    with pytest.raises(CaptureError, match="Invalidated"):
        graphs.capture(graphs.new_pool(), run)
    graphs.capture(graphs.new_pool(), lambda: None)


def test_what_invalidates_a_capture_is_noticed_at_once(cuda, graphs):
    def run():
        cuda.current[-1].broken = True
        with pytest.raises(RuntimeError, match="invalidated"):
            graphs.check()
        cuda.current[-1].broken = False
        cuda.current[-1].capturing = False
        with pytest.raises(RuntimeError, match="ended the capture"):
            graphs.check()

    graphs.capture(graphs.new_pool(), run)


def test_launch(cuda, graphs):
    graph = graphs.capture(graphs.new_pool(), lambda: cuda.current[-1].do(("kernel",)))
    cuda.log.clear()
    graphs.launch(graph, lambda: cuda.log.append(("host", "before")))
    ptr = graphs._stream.ptr
    assert [entry[:2] for entry in cuda.log] == [
        ("host", "before"), (0, "record"), (ptr, "waits"), (ptr, "launch"), (ptr, "record"),
        (0, "waits"),
    ]  # fmt: skip


def test_the_time_of_a_graph(cuda, graphs):
    graph = graphs.capture(graphs.new_pool(), lambda: cuda.current[-1].do(("kernel",)))
    cuda.log.clear()
    seconds = graphs.seconds(graph, lambda: cuda.log.append(("host", "before")))
    ptr = graphs._stream.ptr
    assert [entry[:2] for entry in cuda.log] == [
        ("host", "before"), (ptr, "record"), (ptr, "launch"), (ptr, "record"), ("host", "waits"),
    ]  # fmt: skip
    assert seconds == 2  # entries of the log from the first event to the second


def test_numbers_arrive_together_and_none_is_overwritten_on_its_way(cuda, graphs):
    inputs = graphs.new_scalar_inputs([3, 2], [np.float32, np.int64])
    assert inputs.nbytes == 32
    for step in range(6):
        cuda.log.clear()
        inputs.send([[step, 0.5, -1.0], (step, -(2**63))])
        np.testing.assert_array_equal(inputs.arrays[0].get(), np.float32([step, 0.5, -1]))
        np.testing.assert_array_equal(inputs.arrays[1].get(), [step, -(2**63)])
        waited, copied, recorded = cuda.log
        assert copied == (graphs._stream.ptr, "copy", 32)
        assert recorded == (graphs._stream.ptr, "record")
        # the fifth step uses the first one's pinned memory, and waits for its copy
        assert (waited[2] is None) == (step < 4)
    assert len(cuda.pinned) == 4


def test_places_in_memory(cuda, graphs):
    array = cuda.array(np.arange(12, dtype=np.float32).reshape(3, 4))
    view = fake_cuda.NdArray((3, 2), np.float32, array.data + 8, (16, 4), base=array)
    assert graphs.owner(view) is array
    assert graphs.belongs(view, array)
    assert graphs.address(view) - graphs.address(array) == 8
    again = graphs.at(array, View(0, 8, (3, 2), (16, 4), "<f4"))
    np.testing.assert_array_equal(again.get(), [[2, 3], [6, 7], [10, 11]])
    assert graphs.belongs(again, array)
    other = cuda.array(np.arange(12, dtype=np.float32).reshape(3, 4))
    assert not graphs.belongs(other, array)
    assert graphs.same(array, other)
    assert graphs.same(array, array)
    other.bare()[0, 0] = 9
    assert not graphs.same(array, other)
    assert not graphs.same(array, view)
    np.testing.assert_array_equal(graphs.copied([1, 2], "int64").get(), [1, 2])


def test_places_of_bfloat16(cuda, graphs):
    bfloat16 = np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    array = cuda.array(np.arange(4).astype(bfloat16))
    tracer = GraphTracer(graphs)
    with tracer:
        tracer.compute(lambda: array)
        program = tracer.finish([array])
    (view,) = program.trace.results
    again = graphs.at(array, view)
    assert again.dtype == bfloat16
    np.testing.assert_array_equal(again.get().astype(float), [0, 1, 2, 3])


def test_a_pool_counts_what_it_took(cuda, graphs):
    pool = graphs.new_pool()
    with pool.active():
        cuda.empty((5,), np.float32)
    cuda.empty((5,), np.float32)
    assert pool.nbytes == graphs.nbytes == 20
    del pool
    gc.collect()
    assert graphs.nbytes == 0
