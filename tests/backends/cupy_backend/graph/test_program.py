"""What is recorded is captured once and launched from then on, on a double of a GPU.

That compiled functions then do what the function does is tested in tests/jit, which runs on
this double, too.
"""

import gc
import weakref

import numpy as np
import pytest
from strict_backend import StrictArray
from strict_backend.graphs import StrictGraphs
from strict_backend.namespace import NAMESPACE

import nnlib
from nnlib import nn, optim
from nnlib.errors import CaptureError
from nnlib_backends.cupy_backend.graph import GraphTracer

xp = NAMESPACE


class Graphs(StrictGraphs):
    """Keeps a log."""

    def __init__(self):
        self.log = []

    def capture(self, pool, run):
        self.log.append("capture")
        graph = super().capture(pool, run)
        self.log.append("captured")
        return graph

    def launch(self, graph, before):
        super().launch(graph, before)
        self.log.append("launch")

    def synchronize(self):
        self.log.append("synchronize")


@pytest.fixture
def graphs():
    return Graphs()


def array(*values):
    return StrictArray(np.array(values, np.float32))


def record(graphs, function, *args):
    tracer = GraphTracer(graphs)
    with tracer:
        return tracer.finish(function(tracer, *args))


def steps(tracer, x, out):
    a = tracer.compute(xp.multiply, x, 2.0)
    b = tracer.compute(xp.reshape, a, (2, 2))  # a view
    tracer.call(xp.add, b, 1.0, b)  # which changes a
    c = tracer.compute(xp.sum, b.T, axis=0)  # a view that nobody has recorded
    tracer.call(lambda target, value: target.__setitem__(..., value), out, a)
    return [c, out]


def test_replays_follow_the_arrays_from_outside(graphs):
    x, out = array(1, 2, 3, 4), array(0, 0, 0, 0)
    program = record(graphs, steps, x, out)
    assert graphs.log == []
    for factor in (1, 3, 5):
        x[...] = factor * array(1, 2, 3, 4)
        program.replay()
        c, same = program.results()
        assert same is out
        assert out.tolist() == [2 * factor * i + 1 for i in (1, 2, 3, 4)]
        assert c.tolist() == [6 * factor + 2, 14 * factor + 2]
    assert graphs.log == ["capture", "captured", "launch", "launch", "launch"]


def test_capturing_computes_nothing(graphs):
    x, out = array(1, 2, 3, 4), array(0, 0, 0, 0)
    program = record(graphs, steps, x, out)
    out[...] = 7.0
    program.results()
    assert graphs.log == ["capture", "captured"]
    assert out.tolist() == [7] * 4


def test_numbers_are_brought_before_each_launch(graphs):
    numbers = iter(range(100))

    def rule(tracer, x):
        scalar_inputs = tracer.scalar_inputs(lambda: (next(numbers), 0.5), dtype="float32")
        tracer.call(lambda: None)
        return [tracer.compute(lambda x, n: x * n[0] + n[1], x, scalar_inputs)]

    program = record(graphs, rule, array(10))
    values = []
    for _ in range(3):
        program.replay()
        values += program.results()[0].tolist()
    assert values == [10.5, 20.5, 30.5]
    assert program.nbytes >= 8


def test_a_profile_replays_piece_by_piece_with_new_numbers(graphs):
    numbers = iter(range(100))

    def rule(tracer, x, out):
        scalar_inputs = tracer.scalar_inputs(lambda: (next(numbers),), dtype="float32")
        scaled = tracer.compute(xp.multiply, x, scalar_inputs)
        tracer.call(lambda target, value: target.__iadd__(value), out, scaled)
        return [out]

    out = array(0, 0)
    program = record(graphs, rule, array(1, 10), out)
    assert out.tolist() == [0, 0]
    rows = program.profile(3)
    assert len(rows) == 2
    assert all(seconds >= 0 and "test_program.py" in line for _, line, seconds in rows)
    assert out.tolist() == [1 + 2 + 3, 10 * (1 + 2 + 3)]
    program.replay()
    assert out.tolist() == [10, 100]


def test_memory_can_be_used_again_when_no_call_needs_it(graphs):
    def chain(tracer, x):
        first = tracer.compute(xp.exp, x)
        y = first
        for _ in range(5):
            y = tracer.compute(xp.add, y, 1.0)
        return [tracer.compute(xp.add, y, first)]

    program = record(graphs, chain, array(1))
    held, owners = [], {}
    graphs.check = lambda: held.append(sorted(owners))
    graphs.capture(graphs.new_pool(), lambda: program._make_calls(owners))
    # the first is needed to the end; of the others what was there, and what is made of it
    assert held == [[0], [0, 1], [0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 5], [0, 5, 6]]
    assert sorted(owners) == [6]


def test_release_waits_for_the_last_replay_and_drops_everything(graphs):
    x, out = array(1, 2, 3, 4), array(0, 0, 0, 0)
    program = record(graphs, steps, x, out)
    program.replay()
    graph, pool = (weakref.ref(thing) for thing in (program._graph, program._pool))
    program.release()
    assert graphs.log[-1] == "synchronize"
    gc.collect()
    assert graph() is None
    assert pool() is None
    assert program.nbytes == 0
    with pytest.raises(CaptureError, match="released"):
        program.replay()
    program.release()


def test_a_recording_that_was_never_replayed_has_nothing_to_wait_for(graphs):
    record(graphs, steps, array(1, 2, 3, 4), array(0, 0, 0, 0)).release()
    assert graphs.log == []


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: x * float(x[0]), "D2H"),
        (lambda x: x + xp.asarray(np.ones(1, np.float32)), "H2D"),
        (lambda x: x[x > 0], "D2H"),
    ],
)
def test_what_cannot_be_captured_names_the_line(graphs, function, words):
    def wrapped(tracer, x):
        return [tracer.compute(function, x)]

    program = record(graphs, wrapped, array(1))
    for _ in range(2):
        with pytest.raises(CaptureError) as caught:
            program.replay()
        assert words in str(caught.value)
        assert f"{__file__}:" in str(caught.value)
    assert "launch" not in graphs.log


def test_a_function_that_does_something_else_when_captured_is_refused(graphs):
    shapes = iter([(2,), (3,), (2,)])

    def moody(x):
        return xp.zeros(next(shapes), dtype="float32")

    program = record(graphs, lambda tracer, x: [tracer.compute(moody, x)], array(1))
    with pytest.raises(CaptureError, match=r"other memory or of another layout \(\(3,\)"):
        program.replay()
    program.replay()  # the third time it is what it was


def test_copies_instead_of_views_are_refused(graphs):
    views = iter([True, False])

    def moody(x):
        return x.reshape(1, 2) if next(views) else x.reshape(1, 2).copy()

    def wrapped(tracer, x):
        y = tracer.compute(xp.add, x, 1.0)
        return [tracer.compute(moody, y)]

    program = record(graphs, wrapped, array(1, 2))
    with pytest.raises(CaptureError, match="other memory"):
        program.replay()


def test_differences(graphs):
    def pair(one, other):
        return record(graphs, one).difference(record(graphs, other))

    x = array(1, 2)
    assert pair(lambda r: [r.compute(xp.exp, x)], lambda r: [r.compute(xp.exp, x)]) is None
    same = array(1, 2)
    assert pair(lambda r: [r.compute(xp.exp, x)], lambda r: [r.compute(xp.exp, same)]) is None
    other = array(1, 3)
    what = pair(lambda r: [r.compute(xp.exp, x)], lambda r: [r.compute(xp.exp, other)])
    assert "other values" in what
    what = pair(lambda r: [r.compute(xp.add, x, 1)], lambda r: [r.compute(xp.add, x, 2)])
    assert "2 instead of 1" in what
    what = pair(lambda r: [r.compute(xp.exp, x)], lambda r: [r.compute(xp.log, x)])
    assert "another operation" in what
    what = pair(lambda r: [], lambda r: [r.compute(xp.exp, x)])
    assert "only one of the runs" in what
    what = pair(lambda r: [r.compute(xp.add, x, 1)], lambda r: [r.compute(xp.add, 1, x)])
    assert "in place of" in what


def test_numbers_of_another_kind_are_a_difference(graphs):
    def one(tracer):
        return [tracer.scalar_inputs(list_of, 1, dtype="float32")]

    def other(tracer):
        return [tracer.scalar_inputs(list_of, 2, dtype="float32")]

    assert "scalar inputs" in record(graphs, one).difference(record(graphs, other))
    assert record(graphs, one).difference(record(graphs, one)) is None


def list_of(number):
    return [number]


def test_what_an_operation_calls_is_part_of_it(graphs):
    tracer = GraphTracer(graphs)

    def outer(x):
        y = tracer.compute(xp.exp, x)
        tracer.call(xp.add, y, 1.0, y)
        with pytest.raises(RuntimeError, match="outside of an operation"):
            tracer.scalar_inputs(list_of, 1, dtype="float32")
        return y

    with tracer:
        y = tracer.compute(outer, array(0))
        program = tracer.finish([y])
    assert len(program.trace.calls) == 1
    assert y.tolist() == [2.0]


def test_a_kernel_that_declines_adds_no_call(graphs):
    tracer = GraphTracer(graphs)
    with tracer:
        assert tracer.compute(lambda: NotImplemented) is NotImplemented
        assert tracer.finish([]).trace.calls == []


class TestCompiled:
    @pytest.fixture(autouse=True)
    def _strict(self):
        with nnlib.use_backend("strict"):
            yield

    def step(self, **options):
        model = nn.Linear(3, 1)
        optimizer = optim.SGD(model.parameters(), lr=0.1)

        @nnlib.compile
        def step(x):
            optimizer.zero_grad()
            loss = (model(x) ** 2).mean()
            loss.backward()
            optim.clip_grad_norm_(model.parameters(), 1.0, **options)  # the line
            optimizer.step()
            return loss

        return step, optimizer

    def test_a_read_inside_nnlib_is_named_by_the_users_line(self):
        step, _ = self.step(error_if_nonfinite=True)
        x = nnlib.ones(4, 3)
        for _ in range(2):
            step(x)
        with pytest.raises(CaptureError) as caught:
            step(x)
        number = int(str(caught.value).partition(f"{__file__}:")[2].partition(":")[0])
        with open(__file__) as file:
            assert "# the line" in file.readlines()[number - 1]

    def test_nothing_is_read_or_copied_in_a_replay(self):
        from strict_backend import counting

        step, optimizer = self.step()
        x = nnlib.ones(4, 3)
        for _ in range(3):
            step(x)
        with counting() as counts:
            for _ in range(3):
                step(x)
        assert (counts.reads, counts.transfers) == (0, 0), counts.where
        optimizer.param_groups[0]["lr"] = -1.0
        before = [p.numpy() for p in optimizer.param_groups[0]["params"]]
        with pytest.raises(nnlib.errors.OptionError):
            step(x)  # before anything was launched
        for p, values in zip(optimizer.param_groups[0]["params"], before, strict=True):
            np.testing.assert_array_equal(p.numpy(), values)
        optimizer.param_groups[0]["lr"] = 0.1
        step(x)

    def test_profile(self):
        step, _ = self.step()
        for _ in range(3):
            step(nnlib.ones(4, 3))
        rows = step.profile(2)
        assert {"linear", "sgd"} <= {name for name, *_ in rows}
        assert all(seconds > 0 for *_, seconds in rows)
        step(nnlib.ones(4, 3))

    def test_clear_releases_graphs(self):
        step, _ = self.step()
        for _ in range(3):
            step(nnlib.ones(4, 3))
        assert step.memory_bytes > 0
        step.clear()
        assert step.memory_bytes == 0
        step(nnlib.ones(4, 3))  # recorded anew
