import asyncio
import threading

import pytest

import nnlib
from nnlib.autograd.mode import half_dtype


@pytest.fixture
def x():
    return nnlib.ones(2, requires_grad=True)


def test_no_grad_records_nothing(x):
    with nnlib.no_grad():
        assert not nnlib.is_grad_enabled()
        assert not (x * x).requires_grad
    assert nnlib.is_grad_enabled()
    assert (x * x).requires_grad


def test_enable_grad_inside(x):
    with nnlib.no_grad():
        with nnlib.enable_grad():
            assert (x * x).requires_grad
        assert not (x * x).requires_grad


def test_modes_that_end_in_another_order(x):
    def recorded_nothing():
        with nnlib.no_grad():
            yield

    paused = recorded_nothing()
    with nnlib.autocast("bf16"):
        next(paused)
    assert half_dtype() is None
    assert not nnlib.is_grad_enabled()
    paused.close()
    assert half_dtype() is None
    assert nnlib.is_grad_enabled() is True


def test_a_mode_that_another_thread_ends(x):
    def recorded_nothing():
        with nnlib.no_grad():
            yield

    paused = recorded_nothing()
    thread = threading.Thread(target=next, args=(paused,))
    thread.start()
    thread.join()
    paused.close()
    assert nnlib.is_grad_enabled() is True


def test_left_by_an_exception(x):
    with pytest.raises(KeyError), nnlib.no_grad():
        raise KeyError
    assert nnlib.is_grad_enabled()


def test_as_decorators(x):
    @nnlib.no_grad()
    def plain(depth):
        if depth:
            plain(depth - 1)
        assert not nnlib.is_grad_enabled()
        return recorded()

    @nnlib.enable_grad()
    def recorded():
        return x * x

    for _ in range(2):
        assert plain(3).requires_grad
        assert nnlib.is_grad_enabled()


def test_one_object_entered_twice():
    mode = nnlib.no_grad()
    with mode:
        with mode:
            assert not nnlib.is_grad_enabled()
        assert not nnlib.is_grad_enabled()
    assert nnlib.is_grad_enabled()


def run_in_thread(function):
    errors = []

    def run():
        try:
            function()
        except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return lambda: (thread.join(), errors and pytest.fail(repr(errors[0])))


def test_each_thread_has_its_own_mode(x):
    with nnlib.no_grad():

        def elsewhere():
            assert (x * x).requires_grad

        run_in_thread(elsewhere)()
        assert not nnlib.is_grad_enabled()


def test_decorated_function_in_two_threads_at_once():
    """The thread that came first leaves first."""
    first_in, second_in, first_out = (threading.Event() for _ in range(3))

    @nnlib.no_grad()
    def function(mine, others):
        mine.set()
        assert others.wait(5)
        assert not nnlib.is_grad_enabled()

    def first():
        function(first_in, second_in)
        assert nnlib.is_grad_enabled()
        first_out.set()

    def second():
        assert first_in.wait(5)
        function(second_in, first_out)
        assert nnlib.is_grad_enabled()

    for join in [run_in_thread(first), run_in_thread(second)]:
        join()


def test_each_task_has_its_own_mode():
    async def quiet(started, checked):
        with nnlib.no_grad():
            started.set()
            await checked.wait()
            assert not nnlib.is_grad_enabled()

    async def loud(started, checked):
        await started.wait()
        assert nnlib.is_grad_enabled()
        checked.set()

    async def both():
        events = asyncio.Event(), asyncio.Event()
        await asyncio.gather(quiet(*events), loud(*events))

    asyncio.run(both())


def test_recorded_pass_inside_no_grad():
    """``create_graph=True`` means what it says, wherever it is said."""
    x = nnlib.tensor(2.0, requires_grad=True)
    y = x**3
    with nnlib.no_grad():
        y.backward(create_graph=True)
    assert x.grad.requires_grad
    g, x.grad = x.grad, None
    g.backward()
    assert x.grad.item() == 12.0
