from dataclasses import replace

import pytest

from nnlib_benchmarks.comparison import geometric_mean, groups, standing
from nnlib_benchmarks.workloads import GROUPS


def test_ratios_are_over_pytorch_eager_and_over_the_fastest_peer(peers_run):
    tiny, wide, odd = (standing(peers_run, t) for t in peers_run.training)

    assert (tiny.over_eager, tiny.over_fastest) == (pytest.approx(4), pytest.approx(0.5))
    assert tiny.fastest == "jax"
    assert (wide.over_fastest, wide.fastest) == (pytest.approx(1), "torch")
    assert odd.over_eager == odd.over_fastest == pytest.approx(0.5)


def test_who_computes_something_else_has_no_speed(make):
    run = make.peers_run(losses=[2 * x for x in make.curve])

    at = standing(run, run.training[0])

    assert (at.fastest, at.over_fastest) == ("torch", pytest.approx(4))


def test_without_peers_there_are_no_ratios(cpu_run):
    at = standing(cpu_run, cpu_run.training[0])
    assert (at.over_eager, at.over_fastest, at.fastest) == (None, None, None)


def test_the_mean_of_nothing_is_nothing():
    assert geometric_mean([None]) is None
    assert geometric_mean([4.0, 1.0]) == pytest.approx(2)


def test_a_mean_is_over_one_group(peers_run, cpu_run):
    names = [(group, [t.workload for t in chosen]) for group, chosen in groups(peers_run)]
    assert names == [("compare", ["mlp-tiny", "mlp-wide"]), ("compare-odd", ["cnn-odd"])]
    assert [group for group, _ in groups(cpu_run)] == ["other workloads"]


def test_ratios_are_over_peers_on_the_same_device(gpu_peers_run):
    tiny, wide = (standing(gpu_peers_run, t) for t in gpu_peers_run.training)

    assert (tiny.over_eager, tiny.fastest) == (pytest.approx(5), "jax-cuda")  # torch is no rival
    assert tiny.over_fastest == pytest.approx(2)
    assert (wide.over_eager, wide.fastest) == (pytest.approx(1.5), "torch-cuda")


def test_what_is_in_two_groups_belongs_to_the_one_that_was_asked_for(gpu_peers_run):
    asked = replace(gpu_peers_run.settings, workloads=[*GROUPS["compare-gpu"], "lenet"])
    run = replace(gpu_peers_run, settings=asked)

    assert [group for group, _ in groups(run)] == ["compare-gpu"]
    assert [group for group, _ in groups(gpu_peers_run)] == ["compare", "compare-gpu"]
