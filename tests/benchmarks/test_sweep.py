from nnlib_benchmarks.progress import SilentProgress
from nnlib_benchmarks.runner import describe_backend
from nnlib_benchmarks.sweep import run_sweep
from nnlib_benchmarks.workloads.base import Budget
from nnlib_benchmarks.workloads.mlp import SweepPoint, sweep


def test_steps_of_every_size_on_every_backend():
    points = [SweepPoint("mlp width", w, "units", (6, w, 3), 8) for w in (4, 16)]
    who = [describe_backend(name) for name in ("numpy", "strict")]

    results = run_sweep(points, who, Budget(0.0, 2, 2), passes=1, seed=0, progress=SilentProgress())

    assert [r.size for r in results] == [4, 16]
    assert all(set(r.times) == {"numpy", "strict"} for r in results)
    assert all(r.agreements[0].agree for r in results)
    assert results[0].flops == 3 * 2 * 8 * (6 * 4 + 4 * 3) - 2 * 8 * 6 * 4


def test_width_and_batch_are_swept():
    for quick in (False, True):
        by_name = {}
        for point in sweep(quick):
            by_name.setdefault(point.operation, []).append(point.size)
        assert set(by_name) == {"mlp width", "mlp batch"}
        assert all(sizes == sorted(sizes) for sizes in by_name.values())
