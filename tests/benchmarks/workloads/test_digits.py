import numpy as np

from nnlib import data
from nnlib_benchmarks.workloads.digits import enlarge, flat_digits, large_digits


def test_flat_digits_are_the_digits():
    train, test = flat_digits()
    expected, _ = data.digits()

    assert train.pixels.shape == (1442, 64)
    assert test.pixels.shape == (355, 64)
    np.testing.assert_allclose(
        train.prepare(train.pixels[:5]), expected.arrays[0][:5].reshape(5, 64), rtol=1e-6
    )


def test_enlarged_digits_repeat_each_pixel_thrice_within_a_margin_of_two():
    image = np.arange(64, dtype=np.uint8).reshape(1, 8, 8, 1)

    large = enlarge(image)[0, :, :, 0]

    np.testing.assert_array_equal(large[3:26:3, 3:26:3], image[0, :, :, 0])
    np.testing.assert_array_equal(large[2:5, 2:5], np.zeros((3, 3)))
    assert (large[2:5, 5:8] == 1).all()
    assert large[:2].sum() == large[-2:].sum() == large[:, :2].sum() == 0
    assert large_digits()[0].pixels.shape == (1442, 28, 28, 1)
