import pytest

import nnlib
from nnlib.errors import ShapeError
from nnlib.nn import functional as F


def test_convolution_checks_its_parameters():
    x = nnlib.ones(1, 5, 5, 4)
    with pytest.raises(ShapeError, match=r"filters \(O, kh, kw, C / groups\). Received: .*\(3, 3"):
        F.conv2d(x, nnlib.ones(3, 3))
    with pytest.raises(ShapeError, match=r"4 channels|3 channels in 1 groups"):
        F.conv2d(x, nnlib.ones(2, 3, 3, 3))
    with pytest.raises(ShapeError, match="6 channels in 3 groups"):
        F.conv2d(x, nnlib.ones(4, 3, 3, 2), groups=3)
    with pytest.raises(ShapeError, match=r"bias of conv2d must have shape \(2,\)"):
        F.conv2d(x, nnlib.ones(2, 3, 3, 4), nnlib.ones(4))
    with pytest.raises(ShapeError, match=r"conv1d needs x \(N, T, C\)"):
        F.conv1d(x, nnlib.ones(2, 3, 4))
    with pytest.raises(ShapeError, match="Channels come last"):
        F.conv2d(nnlib.ones(1, 4, 5, 5), nnlib.ones(2, 3, 3, 4))


def test_convolution_along_time_is_convolution_of_flat_images(backend):
    x, weight, bias = nnlib.randn(2, 6, 3), nnlib.randn(4, 2, 3), nnlib.randn(4)
    a = F.conv1d(x, weight, bias, stride=2, padding=1, dilation=2)
    b = F.conv2d(
        x.reshape(2, 1, 6, 3),
        weight.reshape(4, 1, 2, 3),
        bias,
        stride=(1, 2),
        padding=(0, 1),
        dilation=(1, 2),
    )
    assert a.shape == (2, 3, 4)
    assert a.tolist() == b.reshape(2, 3, 4).tolist()


def test_pooling_needs_images():
    with pytest.raises(ShapeError, match=r"needs images \(N, H, W, C\)"):
        F.adaptive_avg_pool2d(nnlib.ones(3, 4, 4), 2)
