import time

import pytest

from nnlib_benchmarks import timing
from nnlib_benchmarks.timing import Stopwatch, affordable, interleave


class Device:
    """An asynchronous device: work is queued at once and done when somebody waits for it."""

    def __init__(self, log):
        self.log, self.queued = log, 0.0

    def launch(self, seconds=0.002):
        self.log.append("launch")
        self.queued += seconds

    def synchronize(self):
        self.log.append("synchronize")
        time.sleep(self.queued)
        self.queued = 0.0

    def timer(self):
        log = self.log

        class Events:
            def start(self):
                log.append("start")

            def stop(self):
                log.append("stop")

            def seconds(self):
                return 0.25

        return Events()


@pytest.fixture
def log(monkeypatch):
    entries = []

    def clock(real=time.perf_counter_ns):
        entries.append("clock")
        return real()

    monkeypatch.setattr(timing.time, "perf_counter_ns", clock)
    return entries


def test_device_is_synchronised_before_every_clock_reading(log):
    device = Device(log)

    Stopwatch(device).measure(device.launch)

    assert log == ["synchronize", "clock", "launch", "synchronize", "clock"]


def test_queued_work_is_part_of_the_time():
    device = Device([])
    assert Stopwatch(device).measure(device.launch) >= 0.002


def test_device_clock_is_read_beside_the_wall_clock(log):
    device = Device(log)
    watch = Stopwatch(device, device_clock=True)

    watch.measure(device.launch)

    assert log == ["synchronize", "clock", "start", "launch", "stop", "synchronize", "clock"]
    assert watch.timing().device_samples == [0.25]


def test_without_a_device_clock_there_are_no_device_samples():
    device = Device([])
    watch = Stopwatch(device)
    watch.measure(device.launch)
    assert watch.timing().device_samples is None


def test_a_sample_is_the_mean_of_its_calls():
    device = Device([])
    watch = Stopwatch(device, device_clock=True, calls=5)

    seconds = watch.measure(device.launch)

    assert device.log.count("launch") == 5
    assert 0.002 <= seconds < 0.01
    assert watch.timing().calls_per_sample == 5
    assert watch.timing().device_samples == [0.05]


def test_calibration_makes_samples_long_enough_and_is_not_counted():
    device = Device([])
    watch = Stopwatch(device)

    watch.calibrate(device.launch, least=0.01)

    assert 3 <= watch.calls <= 5
    assert watch.wall == []


def test_calibration_leaves_slow_actions_alone():
    device = Device([])
    watch = Stopwatch(device)
    watch.calibrate(device.launch, least=0.0001)
    assert watch.calls == 1
    assert len(watch.wall) == 1  # and what was measured is not thrown away


def test_contestants_take_turns():
    assert list(interleave("AB", 3)) == list("ABABAB")


@pytest.mark.parametrize(
    ("seconds_each", "expected"), [(0.125, 40), (1e-12, 200), (100.0, 3), (5.0, 3)]
)
def test_repetitions_fit_the_budget_within_limits(seconds_each, expected):
    assert affordable(seconds_each, budget=5.0, least=3, most=200) == expected
