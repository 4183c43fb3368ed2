import numpy as np
import pytest

from nnlib_benchmarks.records import Timing


def test_median_and_quartiles_are_numpys():
    samples = [5.0, 1.0, 4.0, 2.0, 100.0, 3.0]

    timing = Timing.from_samples(samples)

    q1, median, q3 = np.percentile(samples, [25, 50, 75])
    assert (timing.q1, timing.median, timing.q3) == (q1, median, q3)
    assert timing.iqr == q3 - q1
    assert timing.samples == samples  # raw, in the order of measurement


def test_one_outlier_moves_the_median_little():
    calm = Timing.from_samples([1.0, 1.1, 0.9, 1.0, 1.05])
    disturbed = Timing.from_samples([1.0, 1.1, 0.9, 1.0, 50.0])

    assert disturbed.median == pytest.approx(calm.median, rel=0.06)


def test_passes_are_joined_with_all_their_samples():
    first = Timing.from_samples([1.0, 2.0], [0.5, 0.6], calls_per_sample=7)
    second = Timing.from_samples([9.0], [0.7], calls_per_sample=6)

    joined = Timing.joined([first, second])

    assert joined == Timing.from_samples([1.0, 2.0, 9.0], [0.5, 0.6, 0.7], 7)
    host_only = [Timing.from_samples([1.0]), Timing.from_samples([2.0])]
    assert Timing.joined(host_only).device_samples is None


def test_device_median_is_of_the_devices_own_clock():
    timing = Timing.from_samples([2.0, 2.0, 2.0], [1.0, 1.5, 9.0])

    assert timing.device_median == 1.5
    assert Timing.from_samples([2.0]).device_median is None
