"""What only a CUDA device can show."""

import numpy as np
import pytest

from nnlib_benchmarks import field
from nnlib_benchmarks.runner import Request, run


@pytest.mark.gpu
def test_numpy_and_cupy_agree_and_both_clocks_run(monkeypatch):
    monkeypatch.setattr(field, "SETTLE", 0.0)

    result = run(Request(workloads=["mlp", "lenet", "ops"], backends=["numpy", "cupy"], quick=True))

    assert result.failures == []
    assert [c.kind for c in result.contestants] == ["cpu", "gpu"]
    for workload in result.training:
        cupy = workload.results[1]
        assert cupy.memory_peak_bytes > 0
        for timing in (cupy.compute, cupy.end_to_end):
            device, wall = np.median(timing.device_samples), timing.median
            assert 0 < device < 1.1 * wall
    assert {c.contestant for c in result.crossovers} == {"cupy"}


@pytest.mark.gpu
@pytest.mark.slow
def test_vgg16_agrees():
    result = run(Request(workloads=["vgg16"], backends=["numpy", "cupy"], quick=True))

    assert result.failures == []
    assert [p.kind for p in result.claim.projections] == ["cpu", "gpu"]
