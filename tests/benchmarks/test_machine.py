import time

import pytest

from nnlib_benchmarks.machine import CpuMeter, describe_machine


def test_everything_that_a_reader_needs_is_there(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setenv("MY_SECRET", "password")

    machine = describe_machine(gpus=["A GPU"])

    assert machine.cpu
    assert machine.threads >= 1
    assert machine.memory_bytes > 2**28
    assert machine.gpus == ["A GPU"]
    assert machine.packages["numpy"].startswith("2.")
    assert machine.environment["OPENBLAS_NUM_THREADS"] == "1"
    assert "MY_SECRET" not in machine.environment


def test_what_others_use_of_the_processor_is_told_apart_from_our_own_work(monkeypatch):
    readings = iter([(100.0, 20.0, 5.0), (200.0, 80.0, 55.0)])
    monkeypatch.setattr(CpuMeter, "_read", lambda self: next(readings))

    # of 100 s of all processors 60 were busy, 50 of them with our work
    assert CpuMeter().used_by_others() == pytest.approx(0.1)


def test_our_own_work_does_not_count():
    meter = CpuMeter()
    begin = time.process_time()
    while time.process_time() - begin < 0.3:
        pass

    _, _, own = meter._read()
    assert own - meter._own > 0.25
    assert meter.used_by_others() < 1
