import pytest

from nnlib_benchmarks import field, sweep
from nnlib_benchmarks.contestants import BackendContestant
from nnlib_benchmarks.errors import PeerError
from nnlib_benchmarks.progress import SilentProgress
from nnlib_benchmarks.runner import describe_backend
from nnlib_benchmarks.sweep import run_sweep
from nnlib_benchmarks.workloads import scaling
from nnlib_benchmarks.workloads.scaling import SweepPoint, crossover_points, scaling_points


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(field, "SETTLE", 0.0)
    monkeypatch.setattr(scaling, "SECONDS", 0.0)


def run(points, names, processes=()):
    who = [describe_backend(name) for name in names]
    return run_sweep(points, who, processes, seed=0, progress=SilentProgress())


def test_steps_of_every_size_for_everybody():
    points = [SweepPoint("mlp width", w, "units", (6, w, 3), 8) for w in (4, 16)]

    results, failed = run(points, ("numpy", "strict", "numpy-eager"))

    assert failed == []
    assert [r.size for r in results] == [4, 16]
    assert all(set(r.times) == {"numpy", "strict", "numpy-eager"} for r in results)
    assert all(len(r.times["numpy"].samples) == 9 for r in results)
    assert all(a.agree for r in results for a in r.agreements)
    assert results[0].flops == 3 * 2 * 8 * (6 * 4 + 4 * 3) - 2 * 8 * 6 * 4


def test_one_process_serves_all_points(monkeypatch):
    started = []

    class Process(sweep.PeerProcess):
        def __init__(self, name):
            started.append(name)
            super().__init__(name)

    monkeypatch.setattr(sweep, "PeerProcess", Process)
    points = [SweepPoint("mlp width", w, "units", (6, w, 3), 8) for w in (4, 16)]

    results, _ = run(points, ("numpy", "numpy-eager"), ["numpy"])

    assert started == ["numpy"]
    assert all(r.agreements[0].agree for r in results)


def test_who_fails_at_a_point_is_named(monkeypatch):
    warm_up = BackendContestant.warm_up

    def broken(self, steps):
        if self.name == "strict":
            raise PeerError("no luck")
        return warm_up(self, steps)

    monkeypatch.setattr(BackendContestant, "warm_up", broken)

    (result,), failed = run([SweepPoint("mlp width", 4, "w", (6, 4, 3), 8)], ("numpy", "strict"))

    assert set(result.times) == {"numpy"}
    assert [(where, m.name, m.detail) for where, m in failed] == [
        ("mlp width 4", "strict", "no luck")
    ]


@pytest.mark.parametrize(
    ("points", "names"),
    [(crossover_points, {"width", "batch"}), (scaling_points, {"width", "batch", "depth"})],
)
@pytest.mark.parametrize("quick", [False, True])
def test_sizes_grow(points, names, quick):
    by_name = {}
    for point in points(quick):
        by_name.setdefault(point.operation, []).append(point.size)

    assert set(by_name) == {f"mlp {name}" for name in names}
    assert all(sizes == sorted(sizes) for sizes in by_name.values())


def test_who_compiles_slowly_is_spared_the_deepest_networks():
    deep = [p for p in scaling_points(quick=False) if p.operation == "mlp depth"]

    assert [p.size for p in deep if p.takes_part("numpy")] == [10, 30, 100, 300, 1000]
    assert [p.size for p in deep if p.takes_part("torch-compile")] == [10, 30, 100]
    assert deep[-1].shape == "1000 layers of 8, batch 4"
