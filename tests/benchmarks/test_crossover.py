import pytest

from nnlib_benchmarks.crossover import crossovers, find_crossover
from nnlib_benchmarks.fairness import compare_results

SIZES = [10, 100, 1000, 10000]


def test_the_smallest_size_from_which_the_gpu_wins():
    cpu, gpu = [1.0, 10.0, 100.0, 1000.0], [50.0, 50.0, 50.0, 60.0]

    verdict, size, estimate = find_crossover(SIZES, cpu, gpu)

    assert (verdict, size) == ("from", 1000)
    assert estimate == pytest.approx(500)  # where 0.1·n meets 50


def test_a_win_that_does_not_last_does_not_count():
    cpu, gpu = [1.0, 10.0, 100.0, 1000.0], [0.5, 20.0, 50.0, 60.0]
    assert find_crossover(SIZES, cpu, gpu)[:2] == ("from", 1000)


def test_always_and_never():
    assert find_crossover(SIZES, [4.0] * 4, [1.0] * 4) == ("always", 10, None)
    assert find_crossover(SIZES, [1.0] * 4, [4.0] * 4) == ("never", None, None)
    assert find_crossover(SIZES, [1.0, 1, 1, 1], [0.5, 0.5, 0.5, 2]) == ("never", None, None)
    assert find_crossover([], [], []) == ("never", None, None)


def test_a_tie_is_no_win():
    assert find_crossover(SIZES, [1.0] * 4, [1.0] * 4)[0] == "never"


def test_each_operation_and_direction_has_its_own(make):
    points = [
        make.operation(n, {"numpy": t, "cupy": 1e-3}, operation=operation, direction=direction)
        for operation, direction, scale in (
            ("matmul", "forward", 1e-6),
            ("matmul", "forward+backward", 1e-5),
            ("conv2d", "forward", 1e-9),
        )
        for n, t in ((10, 10 * scale), (100, 100 * scale), (10000, 10000 * scale))
    ]

    found = {
        (c.operation, c.direction): (c.verdict, c.size)
        for c in crossovers(points, "numpy", ["cupy"])
    }

    assert found == {
        ("matmul", "forward"): ("from", 10000),
        ("matmul", "forward+backward"): ("from", 10000),
        ("conv2d", "forward"): ("never", None),
    }


def test_a_wrong_result_has_no_speed(make):
    import numpy as np

    wrong = compare_results(("numpy", np.ones(3)), ("cupy", np.zeros(3)))
    points = [
        make.operation(10, {"numpy": 1.0, "cupy": 2.0}),
        make.operation(100, {"numpy": 10.0, "cupy": 2.0}),
        make.operation(1000, {"numpy": 100.0, "cupy": 200.0}, agreements=[wrong]),
    ]

    (crossover,) = crossovers(points, "numpy", ["cupy"])

    assert (crossover.verdict, crossover.size) == ("from", 100)


def test_nothing_to_cross_without_a_second_contestant(make):
    assert crossovers([make.operation(10, {"numpy": 1.0})], "numpy", ["cupy"]) == []
