import contextlib

import fake_cuda
import numpy as np
import pytest

from nnlib_backends.cupy_backend.graph.inputs import CudaInputs


@pytest.fixture
def cuda():
    return fake_cuda.CudaDouble()


@pytest.fixture
def stream(cuda):
    return cuda.cuda.Stream(non_blocking=True)


def make(cuda, stream, *arrays):
    class Backend:
        asarray = staticmethod(lambda value: cuda.array(np.asarray(value, np.float32)))

    return CudaInputs(Backend(), arrays, cuda, contextlib.nullcontext(), stream)


def test_values_arrive(cuda, stream):
    x, y = cuda.empty((2, 3), np.float32), cuda.empty((2,), np.int64)
    inputs = make(cuda, stream, x, y)
    for i in range(5):
        labels = np.arange(2) + i
        inputs.fill([np.full((3, 2), i, np.float32).T, labels])
        assert (x.get() == i).all()
        np.testing.assert_array_equal(y.get(), labels)
    assert len(cuda.pinned) == 4  # two for each


def test_a_copy_waits_for_its_own_place_alone(cuda, stream):
    x = cuda.empty((4,), np.float32)
    inputs = make(cuda, stream, x)
    logs = []
    for _ in range(3):
        cuda.log.clear()
        inputs.fill([np.ones(4, np.float32)])
        logs.append(list(cuda.log))
    made, host, taken, copy, arrived, waits, kernel, left = logs[0][1:]
    assert logs[0][0] == made == (0, "record")  # when each of the two places was made
    assert copy == (stream.ptr, "copy", 16)
    assert arrived == (stream.ptr, "record")
    assert waits[:2] == (0, "waits")
    assert waits[2][0] == stream.ptr  # the caller waits for the copy …
    assert kernel == (0, "kernel", "copy")
    assert left == (0, "record")
    # … but the copy not for the caller, beyond what he did until the place was made …
    assert host[2] is logs[1][0][2] is None
    assert taken[2] == (0, 0)
    assert logs[1][1][2] == (0, 1)
    # … or used, two calls before
    assert logs[2][0][2][0] == stream.ptr
    assert logs[2][1][2][0] == 0


def test_a_new_place_is_not_filled_while_the_caller_works_in_its_memory(cuda, stream):
    """The pool gives out memory that was freed in the caller's stream before that is over."""
    x = cuda.empty((4,), np.float32)
    inputs = make(cuda, stream, x)
    cuda.current[-1].do(("kernel",), x.data.mem)
    inputs.fill([np.ones(4, np.float32)])
    (wait,) = [entry for entry in cuda.log if entry[:2] == (stream.ptr, "waits")]
    kernel = [entry for entry in cuda.log if entry[0] == 0].index((0, "kernel"))
    assert wait[2][1] > kernel


def test_the_double_knows_an_access_that_nothing_orders(cuda, stream):
    x = cuda.empty((4,), np.float32)
    event = cuda.cuda.Event()
    stream.wait_event(event)  # not recorded: it waits for nothing
    with pytest.raises(AssertionError, match="does not wait"):
        stream.do(("kernel",), x.data.mem)
    event.record(cuda.current[-1])
    stream.wait_event(event)
    stream.do(("kernel",), x.data.mem)
    with pytest.raises(AssertionError, match="does not wait"):
        cuda.current[-1].do(("kernel",), x.data.mem)
    event.record(stream)
    event.synchronize()  # by the host: all that it asks for later comes later
    cuda.current[-1].do(("kernel",), x.data.mem)


def test_what_is_on_the_gpu_already_goes_no_other_way(cuda, stream):
    x = cuda.empty((2,), np.float32)
    make(cuda, stream, x).fill([[1.0, 2.0]])
    np.testing.assert_array_equal(x.get(), [1, 2])
    assert cuda.pinned == {}
    assert all(entry[0] != stream.ptr for entry in cuda.log)
