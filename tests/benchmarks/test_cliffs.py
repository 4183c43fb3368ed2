import pytest

from nnlib_benchmarks.cliffs import curve, largest_cliff, seconds_per_layer
from nnlib_benchmarks.fairness import compare_losses


def test_a_power_law_has_no_cliff():
    sizes = [3, 8, 30, 77, 200]
    cliff = largest_cliff(sizes, [1e-6 * n**1.7 for n in sizes])
    assert cliff.ratio == pytest.approx(1)


def test_two_points_have_no_inside():
    assert largest_cliff([1, 2], [1.0, 2.0]) is None


def test_the_cliff_that_stands_out_most_is_found():
    cliff = largest_cliff([1, 2, 4, 8, 16], [1.0, 1.0, 1.0, 2.5, 1.0])
    assert (cliff.size, cliff.ratio) == (8, 2.5)


def test_a_curve_is_in_order_and_leaves_out_what_disagrees(make):
    wrong = compare_losses(("numpy", [1.0]), ("cupy", [2.0]))
    points = [
        make.operation(8, {"numpy": 2.0, "cupy": 1.0}),
        make.operation(4, {"numpy": 1.0, "cupy": 1.0}, agreements=[wrong]),
        make.operation(4, {"numpy": 1.0}, operation="other"),
    ]

    assert curve(points, "matmul", "numpy")[0] == [4, 8]
    assert curve(points, "matmul", "numpy")[1] == pytest.approx([1.0, 2.0], rel=1e-3)
    assert curve(points, "matmul", "cupy")[0] == [8]


def test_one_depth_says_nothing_about_a_layer():
    assert seconds_per_layer([10], [1.0]) is None
