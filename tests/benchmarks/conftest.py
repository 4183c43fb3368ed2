"""Runs as the harness would record them, with invented numbers."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from strict_backend.backend import StrictBackend

from nnlib import models
from nnlib_backends import DeviceInfo, MemoryInfo, Timer
from nnlib_benchmarks import field, operations, runner, workloads
from nnlib_benchmarks.claim import claim_of, make_claim, project
from nnlib_benchmarks.crossover import crossovers
from nnlib_benchmarks.fairness import compare_losses, speedups
from nnlib_benchmarks.records import (
    Blas,
    Breakdown,
    Contestant,
    Energy,
    Machine,
    Missing,
    Operation,
    Peak,
    Run,
    Settings,
    Target,
    Timing,
    Training,
    TrainingResult,
)
from nnlib_benchmarks.workloads import layers, ops, scaling
from nnlib_benchmarks.workloads.base import Budget, Optimizer, Plan, Samples, Workload

CPU, GPU = "Imaginary CPU 9000", "Imaginary GPU 1"


def noisy(median, count=9, seed=0, spread=0.02):
    """Samples around a median, the same for the same seed."""
    factors = 1 + spread * np.random.default_rng(seed).standard_normal(count)
    return [float(median * f) for f in factors / np.median(factors)]


def make_timing(median, *, gpu=False, **options):
    samples = noisy(median, **options)
    return Timing.from_samples(samples, [0.9 * s for s in samples] if gpu else None)


def make_result(name, step, losses, *, gpu=False, target=None, peak=1e12, seed=0):
    return TrainingResult(
        contestant=name,
        build_s=0.1,
        first_step_s=10 * step,
        warmup_s=[10 * step, step],
        compute=make_timing(step, gpu=gpu, seed=seed),
        end_to_end=make_timing(1.2 * step, gpu=gpu, seed=seed + 1),
        losses=losses,
        memory_before_bytes=2**27,
        memory_peak_bytes=2**30,
        flops=1e10 / step,
        peak_share=1e10 / step / peak,
        breakdown=Breakdown(0.3 * step, 0.6 * step, 0.1 * step),
        energy=Energy(250.0, 2.0, 100, 2.5, 125.0) if gpu else None,
        target=target,
    )


def make_training(name, steps, losses, *, batch=4, target=None, precision="fp32"):
    """One workload: contestant → step seconds, contestant → losses; the first is the reference."""
    results = [
        make_result(who, s, losses[who], gpu=who == "cupy", target=target)
        for who, s in steps.items()
    ]
    first, *others = steps
    agreements = [
        compare_losses((first, losses[first]), (who, losses[who]), precision) for who in others
    ]
    return Training(
        workload=name,
        title=f"the {name} of the tests",
        data="no data",
        model=f"model {name}",
        optimizer="SGD",
        parameters=1234567,
        batch=batch,
        dtype="float32",
        warmup_steps=2,
        compute_steps=9,
        end_to_end_steps=9,
        flops_per_step=1e10,
        results=results,
        agreements=agreements,
        speedups=speedups(results, agreements),
    )


def make_operation(size, times, *, operation="matmul", direction="forward", agreements=()):
    return Operation(
        operation=operation,
        direction=direction,
        size=size,
        unit="n",
        shape=f"{size}×{size}",
        bytes=12 * size**2,
        flops=2.0 * size**3,
        times={name: make_timing(t, gpu=name == "cupy") for name, t in times.items()},
        agreements=list(agreements),
    )


def make_machine(**changes):
    machine = Machine(
        cpu=CPU,
        cores=2,
        threads=4,
        memory_bytes=16 * 2**30,
        gpus=[],
        system="Linux-test",
        python="CPython 3.13.0",
        blas=[Blas("openblas", "0.3.31", 4, "Zen", "libopenblas.so")],
        packages={"numpy": "2.4.0"},
        environment={"OMP_NUM_THREADS": "4"},
        nnlib_version="0.1.0",
        git_commit="0123abc",
    )
    return replace(machine, **changes)


CURVE = [2.3 / (1 + 0.1 * i) for i in range(20)]


def make_run(*, gpu, losses=None, quick=False, step=0.5):
    """A run with mlp and vgg16; ``losses`` replaces those of cupy."""
    names = ["numpy", "cupy"] if gpu else ["numpy"]
    curves = {"numpy": CURVE, "cupy": CURVE if losses is None else losses}
    target = Target(0.97, True, 1.5, 2, 30, [0.9, 0.975])
    steps = {"numpy": step, "cupy": step / 25}
    training = [
        make_training("mlp", {n: steps[n] / 1000 for n in names}, curves, batch=64, target=target),
        make_training("vgg16", {n: steps[n] for n in names}, curves),
    ]
    points = [
        make_operation(n, {"numpy": 1e-9 * n**2, **({"cupy": 2e-5} if gpu else {})})
        for n in (32, 128, 512, 2048)
    ]
    kinds = {"numpy": "cpu", "cupy": "gpu"}
    contestants = [
        Contestant("numpy", "cpu", CPU, 4, 16 * 2**30, "fp32", {"numpy": "2.4.0"}, {},
                   Peak(1e11, 1024, {"512": 9e10, "1024": 1e11})),
        Contestant("cupy", "gpu", GPU, 108, 80 * 2**30, "tf32", {"cupy": "14.2"},
                   {"float32_precision": "TF32"}, Peak(1e13, 4096, {"4096": 1e13})),
    ]  # fmt: skip
    failures = [f"{t.workload}: {a.message}" for t in training for a in t.agreements if not a.agree]
    reason = "CuPy is not installed."
    missing = Missing("cupy", "not-installed", reason, "pip install 'nnlib-xp[cuda12]'")
    return Run(
        schema="nnlib-bench",
        version=2,
        created="2026-01-02T03:04:05+00:00",
        duration_s=12.5,
        cpu_used_by_others=0.02,
        settings=Settings(["mlp", "vgg16", "ops"], ["auto"], [], quick, 74, 0),
        machine=make_machine(gpus=[GPU] if gpu else []),
        contestants=contestants[: len(names)],
        missing=[] if gpu else [missing],
        training=training,
        operations=points,
        crossovers=crossovers(points, "numpy", ["cupy"]),
        claim=make_claim(
            [
                project(r.contestant, kinds[r.contestant], r.end_to_end.median / 4, 74)
                for r in training[1].results
            ],
            74,
        ),
        failures=failures,
    )


def make_peers_run(losses=None):
    """A comparison: numpy, numpy-eager, torch and jax; ``losses`` replaces those of jax."""
    kinds = {"numpy": "cpu", "numpy-eager": "cpu", "torch": "peer", "jax": "peer"}
    curves = dict.fromkeys(kinds, CURVE) | ({} if losses is None else {"jax": losses})
    training = [
        make_training("mlp-tiny", {"numpy": 1e-4, "numpy-eager": 3e-4, "torch": 4e-4, "jax": 5e-5},
                      curves),
        make_training("mlp-wide", {"numpy": 2e-2, "numpy-eager": 2e-2, "torch": 2e-2, "jax": 4e-2},
                      curves),
        make_training("cnn-odd", {"numpy": 2e-2, "numpy-eager": 3e-2, "torch": 1e-2}, curves),
    ]  # fmt: skip
    reason = "too slow to compile"
    training[2] = replace(training[2], absent=[Missing("jax", "unsuitable", reason, "")])
    points = [
        replace(
            make_operation(n, {"numpy": t, "torch": 1e-5 * n}, operation="mlp depth"),
            direction="training step",
        )
        for n, t in ((10, 1e-4), (100, 2e-3), (1000, 1e-2))
    ]
    base = make_run(gpu=False)
    return replace(
        base,
        settings=replace(
            base.settings, workloads=["compare", "scaling"], peers=["torch", "jax"], eager=True
        ),
        contestants=[
            replace(base.contestants[0], name=name, kind=kind, peak=Peak(rate, 64, {"64": rate}))
            for (name, kind), rate in zip(kinds.items(), (1e11, 1e11, 2e11, 5e10), strict=True)
        ],
        missing=[],
        training=training,
        operations=points,
        crossovers=[],
        claim=None,
        failures=[],
    )


def make_gpu_peers_run():
    """cupy first, beside numpy and torch on the CPU, and torch and jax on the GPU."""
    kinds = {"cupy": "gpu", "numpy": "cpu", "torch": "peer", "torch-cuda": "peer",
             "jax-cuda": "peer"}  # fmt: skip
    curves = dict.fromkeys(kinds, CURVE)
    tiny = make_training(
        "mlp-tiny",
        {"cupy": 1e-4, "numpy": 3e-4, "torch": 2e-5, "torch-cuda": 5e-4, "jax-cuda": 2e-4},
        curves,
    )
    large = make_training(
        "vgg16-b64@bf16", {"cupy": 2e-2, "torch-cuda": 3e-2}, curves, batch=64, precision="bf16"
    )
    absent = [Missing(name, "unsuitable", "left to the GPU", "") for name in ("numpy", "torch")]
    large = replace(large, precision="bf16", unit="images", units_per_step=64, absent=absent)
    base = make_run(gpu=True)
    chosen = [
        replace(base.contestants[kind == "gpu"], name=name, kind=kind, precision="fp32")
        for name, kind in kinds.items()
    ]
    return replace(
        base,
        settings=replace(
            base.settings,
            workloads=["mlp-tiny", "vgg16-b64@bf16"],
            peers=["torch", "torch-cuda", "jax-cuda"],
        ),
        contestants=chosen,
        training=[tiny, large],
        operations=[],
        crossovers=[],
        claim=claim_of([tiny, large], {c.name: c for c in chosen}, 74),
    )


@pytest.fixture
def make():
    """The functions of this file, for tests that need a run of their own."""
    return SimpleNamespace(
        timing=make_timing,
        training=make_training,
        operation=make_operation,
        machine=make_machine,
        run=make_run,
        peers_run=make_peers_run,
        curve=CURVE,
        cpu=CPU,
        gpu=GPU,
    )


@pytest.fixture
def cpu_run():
    return make_run(gpu=False)


@pytest.fixture
def gpu_run():
    return make_run(gpu=True)


@pytest.fixture
def peers_run():
    return make_peers_run()


@pytest.fixture
def gpu_peers_run():
    return make_gpu_peers_run()


@pytest.fixture
def failed_run():
    return make_run(gpu=True, losses=[2 * x for x in CURVE])


# Small enough to be trained in a test ------------------------------------------------------------


def tiny_samples(count, seed):
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 16, (count, 6), dtype=np.uint8)
    return Samples(pixels, pixels[:, :3].argmax(axis=1).astype(np.int64), 1 / 16)


def make_tiny(name="mlp", epochs=2):
    """A workload like `mlp`, of a few milliseconds."""
    sizes = (6, 8, 3)
    steps = Budget(seconds=0.0, least=4, most=4)
    return Workload(
        name=name,
        title="a tiny network",
        data_text="forty rows",
        model_text="MLP 6-8-3",
        layers=layers.mlp(sizes),
        build=lambda: models.MLP(sizes),
        train=tiny_samples(40, seed=1),
        test=tiny_samples(20, seed=2),
        target=2.0,  # never reached
        optimizer=Optimizer("sgd", 0.1, momentum=0.9),
        plan=Plan(8, 2, steps, steps, block=2, breakdown=1, epochs=epochs),
    )


@pytest.fixture
def tiny():
    return make_tiny()


@pytest.fixture
def small_harness(monkeypatch):
    """The harness with tiny workloads in place of all others, so that whole runs take a second."""
    budget = Budget(seconds=0.0, least=2, most=2)
    monkeypatch.setattr(field, "SETTLE", 0.0)
    monkeypatch.setattr(operations, "BUDGET", budget)
    monkeypatch.setattr(operations, "QUICK_BUDGET", budget)
    monkeypatch.setattr(operations, "LEAST_SAMPLE", 1e-6)
    for name in workloads.TRAINING:
        monkeypatch.setitem(workloads.TRAINING, name, lambda quick, seed, n=name: make_tiny(n))
    small = [ops.matmul_case(4), ops.matmul_case(8), ops.activation_case("relu", 1024)]
    monkeypatch.setattr(runner, "cases", lambda quick: iter(small))
    points = [scaling.SweepPoint("mlp width", w, "w", (6, w, 3), 8) for w in (4, 8)]
    monkeypatch.setattr(scaling, "SECONDS", 0.0)
    for name in ("crossover_points", "scaling_points"):
        monkeypatch.setattr(runner, name, lambda quick: iter(points))
    monkeypatch.setattr(runner, "matmul_sizes", lambda kind, quick: (16,))


@pytest.fixture
def gpu_like(monkeypatch):
    """The strict backend says that it is a GPU, with a memory meter and a clock of its own."""

    class DeviceTimer(Timer):
        def seconds(self):
            return 0.5 * super().seconds()  # unmistakably not the wall clock

    info = DeviceInfo(
        "gpu", GPU, 108, 2**33, {"strict": "1"}, {"float32_precision": "FP32", "uuid": "GPU-1"}
    )
    monkeypatch.setattr(StrictBackend, "device_info", lambda self: info)
    monkeypatch.setattr(StrictBackend, "memory_info", lambda self: MemoryInfo(10, 77, 100))
    monkeypatch.setattr(StrictBackend, "timer", lambda self: DeviceTimer())
