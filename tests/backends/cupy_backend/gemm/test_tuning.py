import numpy as np
import pytest
from fake_cublaslt import World

from nnlib_backends.cupy_backend.gemm.cublaslt import CANDIDATES
from nnlib_backends.cupy_backend.gemm.make_gemm import make_products
from nnlib_backends.cupy_backend.gemm.tuning import Tuner
from nnlib_backends.cupy_backend.tuning_cache import TuningCache

A, B = (np.random.default_rng(i).standard_normal((8, 8)).astype(np.float32) for i in range(2))


class FakeClock:
    """A clock for algorithms whose times are known."""

    def __init__(self, *times):
        self.times, self.is_ready, self.world, self.measured = times, True, None, 0

    def ready(self):
        return self.is_ready

    def seconds(self, run):
        run()
        self.measured += 1
        return self.times[self.world.lt.calls[-1].algorithm % 100]


@pytest.fixture
def choices(tmp_path):
    return lambda: TuningCache("cublaslt", "1", "a GPU", tmp_path)


@pytest.fixture
def make(choices):
    def made(*times):
        clock = FakeClock(*times)
        clock.world = World(Tuner(choices(), clock))
        clock.world.lt.proposals = [0] * len(times)
        return clock.world, clock

    return made


def used(world):
    return world.lt.calls[-1].algorithm % 100


def test_the_fastest_algorithm_is_used_from_the_first_call_on(make):
    world, clock = make(3.0, 1.0, 2.0)
    np.testing.assert_allclose(world.products.matmul(A, B), A @ B, rtol=1e-5, atol=1e-5)
    assert used(world) == 1
    measured = clock.measured
    for _ in range(3):
        world.products.matmul(A, B)
        assert used(world) == 1
    assert clock.measured == measured
    assert world.lt.plans == 1


def test_what_is_hardly_faster_is_not_taken(make):
    world, _ = make(1.0, 0.98, 2.0)
    world.products.matmul(A, B)
    assert used(world) == 0


def test_the_next_run_makes_the_same_choice_without_measuring(make):
    world, _ = make(3.0, 1.0, 2.0)
    world.products.matmul(A, B)
    world, clock = make(1.0, 3.0, 2.0)  # today another one would be faster
    world.products.matmul(A, B)
    assert (used(world), clock.measured) == (1, 0)
    world.products.matmul(A, B[:, :5])  # another problem
    assert (used(world), clock.measured > 0) == (0, True)


def test_while_a_graph_is_captured_nothing_is_measured(make):
    world, clock = make(3.0, 1.0)
    clock.is_ready = False
    world.products.matmul(A, B)
    assert (used(world), len(world.lt.calls)) == (0, 1)
    clock.is_ready = True
    world.products.matmul(A, B)  # what was captured and what is not must compute the same
    assert (used(world), len(world.lt.calls)) == (0, 2)


def test_a_known_choice_is_used_while_a_graph_is_captured(make):
    world, _ = make(3.0, 1.0)
    world.products.matmul(A, B)
    world, clock = make(3.0, 1.0)
    clock.is_ready = False
    world.products.matmul(A, B)
    assert used(world) == 1


def test_what_is_added_to_is_added_to_once(make):
    world, clock = make(3.0, 1.0)
    out = A.copy()
    world.products.product(A, B, out, accumulate=True)
    np.testing.assert_allclose(out, A + A @ B, rtol=1e-5, atol=1e-5)
    assert (used(world), world.lt.calls[-1].beta, clock.measured > 0) == (1, 1, True)
    measured, calls = clock.measured, len(world.lt.calls)
    world.products.product(A, B, out, accumulate=True)
    np.testing.assert_allclose(out, A + 2 * (A @ B), rtol=1e-5, atol=1e-5)
    assert (clock.measured, len(world.lt.calls)) == (measured, calls + 1)


@pytest.mark.parametrize("first", [False, True])
def test_adding_up_needs_no_other_algorithm_in_this_process_or_the_next(make, first):
    for times in ((3.0, 1.0, 2.0), (1.0, 3.0, 2.0)):  # in the next process others are fast
        world, _ = make(*times)
        for accumulate in (first, not first):
            world.products.product(A, B, B.copy(), accumulate=accumulate)
            assert (used(world), world.lt.calls[-1].beta) == (1, accumulate)


def test_batches_of_several_calls_are_added_to_once(make):
    world, _ = make(3.0, 1.0)
    a, b = (np.stack([x, 2 * x] * 3).reshape(2, 3, 8, 8).swapaxes(0, 1) for x in (A, B))
    out = np.ones((3, 2, 8, 8), np.float32)
    world.products.product(a, b, out, accumulate=True)
    np.testing.assert_allclose(out, 1 + a @ b, rtol=1e-5, atol=1e-4)
    assert world.lt.calls[-1].batch < 6


def test_epilogues_are_measured_with_what_they_read_and_write(make):
    world, _ = make(3.0, 1.0)
    out, aux, bias = np.empty_like(A), world.empty(A.shape, np.float32), B[0]
    assert world.products.fused(A, B, out, "GELU_AUX_BIAS", bias, aux)
    np.testing.assert_allclose(aux, A @ B + bias, rtol=1e-5, atol=1e-5)
    assert (used(world), world.lt.calls[-1].epilogue) == (1, "GELU_AUX_BIAS")


def test_algorithms_that_cannot_run_are_no_candidates(make):
    world, _ = make(1.0, 1.0, 1.0)
    world.lt.proposals = [15, 0, 15]  # CUBLAS_STATUS_NOT_SUPPORTED
    world.products.matmul(A, B)
    assert {call.algorithm % 100 for call in world.lt.calls} == {1}
    assert len(world.lt.calls) == 1  # nor is there anything to choose


def test_a_proposal_that_does_not_run_is_none(make):
    world, _ = make(3.0, 1.0, 2.0)
    world.lt.broken = {1}
    np.testing.assert_allclose(world.products.matmul(A, B), A @ B, rtol=1e-5, atol=1e-5)
    assert used(world) == 2
    world, _ = make(3.0, 2.0)
    world.lt.broken = {0, 1}
    with pytest.raises(world.lt.cuBLASLtError):
        world.products.matmul(A, B[:, :5])


def test_only_so_many_algorithms_are_asked_for(make):
    times = [2.0] * CANDIDATES + [1.0]
    world, _ = make(*times)
    world.products.matmul(A, B)
    assert used(world) == 0


@pytest.mark.parametrize("stored", [7, -1, "1", None, [1], 1.5])
def test_a_choice_that_is_none_of_the_algorithms_is_made_anew(make, choices, stored):
    world, _ = make(3.0, 1.0)
    world.products.matmul(A, B)
    (problem,) = choices()._read()
    choices().path.unlink()
    choices().store(problem, stored)
    world, clock = make(3.0, 1.0)
    world.products.matmul(A, B)
    assert (used(world), clock.measured > 0) == (1, True)
    assert choices().load(problem) == 1


def test_a_choice_that_cannot_be_stored_is_not_made(make, tmp_path):
    """The next run would have to compute the same."""
    clock = FakeClock(3.0, 1.0)
    (tmp_path / "file").write_text("")
    clock.world = World(Tuner(TuningCache("cublaslt", "1", "a GPU", tmp_path / "file"), clock))
    clock.world.lt.proposals = [0, 0]
    clock.world.products.matmul(A, B)
    assert used(clock.world) == 0
    measured = clock.measured
    clock.world.products.matmul(A, B[:, :5])
    assert (used(clock.world), clock.measured) == (0, measured)  # nor is it tried again


class FakeCupy:
    """So much of CuPy as it takes to make products, with NumPy's arrays and a clock of its own."""

    class Event:
        clock = 0.0

        def record(self):
            FakeCupy.Event.clock += 1.0
            self.at = FakeCupy.Event.clock

        def synchronize(self):
            assert self.at

    def __init__(self):
        self.cuda, self.capturing = self, False
        self.runtime = self

    def __getattr__(self, name):
        return getattr(np, name)

    def getDeviceProperties(self, number):
        assert number == 3
        return {"name": b"a GPU"}

    def get_current_stream(self):
        class Stream:
            ptr = 5
            is_capturing = staticmethod(lambda: self.capturing)

        return Stream

    @staticmethod
    def get_elapsed_time(begin, end):
        return (end.at - begin.at) * 1000


class Device:
    id = 3

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.mark.parametrize(("switch", "measured"), [(None, True), ("1", True), ("0", False)])
@pytest.mark.parametrize("capturing", [False, True])
def test_it_can_be_switched_off(monkeypatch, tmp_path, switch, measured, capturing):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if switch is None:
        monkeypatch.delenv("NNLIB_CUBLASLT_AUTOTUNE", raising=False)
    else:
        monkeypatch.setenv("NNLIB_CUBLASLT_AUTOTUNE", switch)
    lt, cupy = World().lt, FakeCupy()
    lt.get_version = lambda: 120901
    cupy.capturing = capturing
    products = make_products(lt, cupy, Device(), lambda: False)
    monkeypatch.setattr(products, "_pointer", lambda array: array.ctypes.data)
    monkeypatch.setattr(products._lt, "_workspace", lambda stream, nbytes: 0)
    lt.proposals = [0, 0]
    products.matmul(A, B)
    assert (len(lt.calls) > 1) == (measured and not capturing)
    files = [path.name for path in tmp_path.rglob("*.json")]
    assert files == (["cublaslt-120901-a_GPU.json"] if measured and not capturing else [])
