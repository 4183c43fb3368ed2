import signal
import threading

import pytest

from nnlib.train.interrupt import deferred_interrupt


def test_first_waits_second_does_not(control_c):
    with deferred_interrupt() as interrupt:
        control_c()
        assert interrupt.requested
        with pytest.raises(KeyboardInterrupt):
            interrupt.check()
        interrupt.check()
        control_c()
        with pytest.raises(KeyboardInterrupt):
            control_c()
        interrupt.requested = False


def test_it_is_not_lost_at_the_end(control_c):
    with pytest.raises(KeyboardInterrupt), deferred_interrupt():
        control_c()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_handlers_of_others_are_left_alone():
    def own(number, frame):
        raise RuntimeError("own handler")

    before = signal.signal(signal.SIGINT, own)
    try:
        with deferred_interrupt():
            assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_can_train():
    results = []

    def work():
        with deferred_interrupt() as interrupt:
            interrupt.check()
            results.append("done")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert results == ["done"]


def test_where_it_is_ignored_it_stays_so():
    """A job in the background is not interrupted by what was meant for another."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with deferred_interrupt() as interrupt:
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            interrupt.check()
    finally:
        signal.signal(signal.SIGINT, before)
