import pytest

from nnlib_benchmarks import flops


def test_vgg16_has_the_published_number_of_multiply_adds():
    assert sum(flops.vgg16(1)) / 2 == pytest.approx(15.47e9, rel=1e-3)
    assert len(flops.vgg16(1)) == 16


def test_operations_scale_with_the_batch():
    assert sum(flops.vgg16(4)) == 4 * sum(flops.vgg16(1))


def test_a_training_step_is_three_forwards_without_the_datas_gradient():
    assert flops.training_step([10, 20, 30]) == 3 * 60 - 10


def test_convolution():
    # 2 · images · positions · filters · (window · channels)
    assert flops.conv(2, (5, 7), (3, 4), (3, 2)) == 2 * 2 * 35 * 4 * (6 * 3)
