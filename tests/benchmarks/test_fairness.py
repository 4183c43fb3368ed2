import numpy as np
import pytest

from nnlib_benchmarks.fairness import COMPARED_STEPS, compare_losses, compare_results


def curve(steps=50):
    return [2.3 / (1 + 0.1 * i) for i in range(steps)]


def test_rounding_is_forgiven():
    other = [x * (1 + 1e-5) for x in curve()]

    agreement = compare_losses(("numpy", curve()), ("cupy", other))

    assert agreement.agree
    assert agreement.compared == 50
    assert 0 < agreement.worst < 1


def test_another_first_loss_is_not_forgiven_even_if_small():
    other = curve()
    other[0] *= 1.001  # the same weights and the same batch cannot give this

    agreement = compare_losses(("numpy", curve()), ("cupy", other))

    assert not agreement.agree
    assert agreement.where == 0
    assert "disagree" in agreement.message


def test_a_later_difference_is_found_and_located():
    other = curve()
    other[30] *= 1.1

    agreement = compare_losses(("numpy", curve()), ("cupy", other))

    assert not agreement.agree
    assert agreement.where == 30
    assert "at step 31 of 50" in agreement.message


def test_the_tolerance_is_stated():
    agreement = compare_losses(("a", curve()), ("b", curve()))
    assert (agreement.rtol, agreement.atol) == (0.02, 0.002)
    assert "tolerance 2% + 0.002, first step 0.0002" in agreement.message


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_disagrees(bad):
    other = curve()
    other[5] = bad
    assert not compare_losses(("a", curve()), ("b", other)).agree


def test_different_numbers_of_steps_disagree():
    assert not compare_losses(("a", curve(50)), ("b", curve(49))).agree
    assert not compare_losses(("a", []), ("b", [])).agree


def test_only_the_first_steps_are_compared():
    long = curve(COMPARED_STEPS + 50)
    other = list(long)
    other[COMPARED_STEPS] *= 3

    agreement = compare_losses(("a", long), ("b", other))

    assert agreement.agree
    assert agreement.compared == COMPARED_STEPS


def test_tf32_has_a_wider_tolerance():
    other = [x * 1.001 for x in curve()]

    assert not compare_losses(("a", curve()), ("b", other), "fp32").agree
    assert compare_losses(("a", curve()), ("b", other), "tf32").agree


def test_results_are_compared_relative_to_their_largest_value():
    a = np.array([1000.0, 0.0])

    difference = np.array([0.0, 0.5])

    assert compare_results(("a", a), ("b", a + difference)).agree
    assert not compare_results(("a", a / 1000), ("b", a / 1000 + difference)).agree


def test_results_of_different_shape_or_with_nan_disagree():
    a = np.ones((2, 3))
    assert not compare_results(("a", a), ("b", a.T)).agree
    assert not compare_results(("a", a), ("b", a * float("nan"))).agree
    assert compare_results(("a", a[:0]), ("b", a[:0])).agree


def test_no_speedup_without_agreement(make):
    steps = {"numpy": 1.0, "cupy": 0.1, "torch": 0.5}
    wrong = [2 * x for x in make.curve]
    curves = {"numpy": make.curve, "cupy": wrong, "torch": make.curve}

    training = make.training("mlp", steps, curves)

    assert [s.contestant for s in training.speedups] == ["torch"]
    assert training.speedups[0].compute == pytest.approx(2.0)


def test_speedup_to_target_needs_both_to_reach_it(make):
    steps, curves = {"numpy": 1.0, "cupy": 0.1}, dict.fromkeys(["numpy", "cupy"], make.curve)
    assert make.training("mlp", steps, curves).speedups[0].to_target is None
