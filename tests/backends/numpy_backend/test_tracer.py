import numpy as np
import pytest

from nnlib_backends.numpy_backend import launch
from nnlib_backends.numpy_backend.codegen.arguments import Vector, kernel
from nnlib_backends.numpy_backend.tracer import NumpyTracer


@kernel
def times_for_test(chunk, start, stop, x: Vector, y: Vector, factor: float):
    x, y = x[start:stop], y[start:stop]
    for i in range(x.size):
        y[i] = x[i] * factor


@kernel
def scaled_for_test(chunk, start, stop, x: Vector, factor: Vector, y: Vector):
    x, y = x[start:stop], y[start:stop]
    for i in range(x.size):
        y[i] = x[i] * factor[0]


def times(x, factor):
    y = launch.empty(x.shape)
    launch.launch(times_for_test, launch.dense(x), y, factor, items=x.size)
    return y


def record(function, *args):
    tracer = NumpyTracer()
    with tracer:
        result = function(tracer, *args)
        values = result.copy()
        return tracer.finish([result]), values


def steps(tracer, x):
    a = times(x, 2.0)
    b = tracer.compute(np.add, a, a[::-1])
    tracer.call(np.add, b, 1.0, b)
    c = tracer.compute(np.reshape, b, (2, 3))  # a view
    d = times(c.T, 0.5)  # copied, for kernels take contiguous arrays
    total = tracer.compute(np.sum, d, axis=0)
    return tracer.compute(np.sqrt, total)


def test_replays_follow_the_arrays_from_outside():
    x = np.arange(6, dtype=np.float32)
    program, values = record(steps, x)
    program.replay()
    np.testing.assert_array_equal(program.results()[0], values)
    x *= 4
    expected = record(steps, x)[1]
    program.replay()
    np.testing.assert_array_equal(program.results()[0], expected)
    assert (expected != values).any()


def test_launches_in_a_row_are_one_program():
    x = np.ones(8, np.float32)

    def chain(tracer, x):
        for _ in range(100):
            x = times(x, 1.01)
        return x

    program, values = record(chain, x)
    program.replay()
    np.testing.assert_array_equal(program.results()[0], values)
    assert len(program._steps) == 1
    assert program.nbytes <= 3 * 64


def test_numbers_from_the_host_do_not_part_a_program():
    x, order = np.ones(8, np.float32), []

    def count(i):
        order.append(i)
        return [len(order)]

    def chain(tracer, x):
        for i in (0, 1, 0):
            factor = tracer.scalar_inputs(count, i, dtype="float32")
            y = launch.empty(x.shape)
            launch.launch(scaled_for_test, x, factor, y, items=x.size)
            x = y
        return x

    program, values = record(chain, x)
    assert values[0] == 1 * 2 * 3
    program.replay()
    assert program.results()[0][0] == 4 * 5 * 6
    assert order == [0, 1, 0] * 2
    assert (len(program._inputs), len(program._steps)) == (3, 1)


def test_functions_that_fill_a_given_array_are_repeated():
    x, home = np.ones(3), np.zeros(3)

    def fill(tracer, x):
        def into(x, target):
            target[...] = x * 2
            return (target,)

        tracer.compute(into, x, home)
        return tracer.compute(np.add, home, 1.0)

    program, _ = record(fill, x)
    x *= 5
    program.replay()
    np.testing.assert_array_equal(home, [10, 10, 10])
    np.testing.assert_array_equal(program.results()[0], [11, 11, 11])


def test_a_result_from_outside_is_itself():
    x = np.ones(3)
    tracer = NumpyTracer()
    with tracer:
        program = tracer.finish([x])
    assert program.results()[0] is x


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (lambda r, x: times(x, 3.0), "3.0 instead of 2.0"),
        (lambda r, x: times(times(x, 2.0), 2.0), "only one of the runs"),
        (lambda r, x: r.compute(np.exp, x), "another operation"),
        (lambda r, x: times(x[:3], 2.0), "another operation"),
        (lambda r, x: times(x + 1, 2.0), "other values"),
    ],
)
def test_differences_are_found_with_their_line(other, what):
    x = np.ones(6, np.float32)
    first, _ = record(lambda r, x: times(x, 2.0), x)
    assert first.difference(record(lambda r, x: times(x, 2.0), x)[0]) is None
    text = first.difference(record(other, x)[0])
    assert what in text
    assert text.startswith(__file__)


def test_memory_of_dead_arrays_is_not_mistaken_for_that_of_new_ones():
    x = np.ones(1000, np.float32)

    def many(tracer, x):
        for _ in range(50):
            del_me = tracer.compute(np.exp, -x)
            x = tracer.compute(np.log1p, del_me)
            del del_me
        return x

    program, values = record(many, x)
    program.replay()
    np.testing.assert_array_equal(program.results()[0], values)


def test_numbers_are_asked_for_outside_of_an_operation():
    tracer = NumpyTracer()

    def inside(x):
        return x * tracer.scalar_inputs(lambda: [2.0], dtype="float32")

    with tracer, pytest.raises(RuntimeError, match="outside of an operation"):
        tracer.compute(inside, np.ones(1, np.float32))
