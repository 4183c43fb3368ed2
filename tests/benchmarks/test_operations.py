import numpy as np
import pytest

import nnlib
from nnlib_benchmarks import operations
from nnlib_benchmarks.operations import _prepare, run_operations
from nnlib_benchmarks.progress import SilentProgress
from nnlib_benchmarks.runner import describe_backend
from nnlib_benchmarks.workloads import ops
from nnlib_benchmarks.workloads.base import Budget


def run(cases, *names):
    who = [describe_backend(name) for name in names]
    budget = Budget(seconds=0.0, least=2, most=2)
    return run_operations(cases, who, budget, passes=2, seed=0, progress=SilentProgress())


def test_both_directions_are_timed_for_everybody_and_agree():
    forward, both = run([ops.matmul_case(8)], "numpy", "strict")

    assert (forward.direction, both.direction) == ("forward", "forward+backward")
    for point in (forward, both):
        assert set(point.times) == {"numpy", "strict"}
        assert point.agreements[0].agree
        assert len(point.times["numpy"].samples) == 2 * 2  # two in each of two passes
    assert (forward.flops, both.flops) == (2 * 8**3, 6 * 8**3)
    assert forward.bytes == 4 * 3 * 64


@pytest.mark.parametrize("backward", [False, True])
def test_the_work_happens_where_it_is_said_to(backward):
    """Arrays on the host, timed under a GPU's name, would be the worst of mistakes."""
    action, _ = _prepare(ops.matmul_case(4), "strict", backward, seed=0)
    assert action().backend.name == "strict"


def test_a_wrong_result_is_found(monkeypatch):
    wrong = ops.Case(
        "wrong", 4, "n", "4", ((4,),), (4,),
        lambda x: x * (2.0 if x.backend.name == "strict" else 1.0), None,
    )  # fmt: skip

    points = run([wrong], "numpy", "strict")

    found = operations.disagreements(points)
    assert [(p.direction, a.contestant) for p, a in found] == [
        ("forward", "strict"), ("forward+backward", "strict"),
    ]  # fmt: skip


def test_a_wrong_gradient_is_found_even_if_the_result_is_right():
    def call(x):
        return x.detach() + 0.0 * x if x.backend.name == "strict" else x + 0.0

    points = run([ops.Case("wrong", 4, "n", "4", ((4,),), (4,), call, None)], "numpy", "strict")

    assert [p.direction for p, _ in operations.disagreements(points)] == ["forward+backward"]


@pytest.mark.parametrize("name", ops.ACTIVATIONS)
def test_every_activation_can_be_measured(name):
    points = run([ops.activation_case(name, 1024)], "numpy")
    assert all(p.times["numpy"].median > 0 for p in points)


def test_convolution_keeps_the_image_size():
    case = ops.conv_case(5)
    x, w = (nnlib.tensor(np.ones(shape, np.float32)) for shape in case.inputs)
    assert case.call(x, w).shape == case.output


@pytest.mark.parametrize("quick", [False, True])
def test_sizes_go_from_cache_resident_to_large(quick):
    cases = list(ops.cases(quick))
    names = {case.operation for case in cases}

    assert names == {"matmul", "conv2d", *ops.ACTIVATIONS}
    for name in names:
        sizes = [case.size for case in cases if case.operation == name]
        assert sizes == sorted(sizes)
        assert len(sizes) >= 2
    if not quick:
        assert max(4 * c.size for c in cases if c.operation == "relu") >= 2**25  # 32 MiB
