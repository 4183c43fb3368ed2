import os
import signal
import threading

import pytest

from nnlib.train.interrupt import deferred_interrupt


def press():
    os.kill(os.getpid(), signal.SIGINT)


def test_first_waits_second_does_not():
    with deferred_interrupt() as interrupt:
        press()
        assert interrupt.asked
        with pytest.raises(KeyboardInterrupt):
            interrupt.check()
        interrupt.check()
        press()
        with pytest.raises(KeyboardInterrupt):
            press()
        interrupt.asked = False


def test_it_is_not_lost_at_the_end():
    with pytest.raises(KeyboardInterrupt), deferred_interrupt():
        press()
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
