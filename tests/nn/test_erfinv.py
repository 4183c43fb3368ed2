import numpy as np
from scipy import special

from nnlib.nn.erfinv import erfinv


def test_like_scipy():
    x = np.linspace(-1, 1, 10_001, dtype=np.float32)[1:-1]
    y = erfinv(np, x)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, special.erfinv(x.astype(float)), rtol=1e-6)


def test_ends_are_finite():
    y = erfinv(np, np.array([-1.0, 1.0], np.float32))
    assert np.isfinite(y).all()
    assert y[1] == -y[0] > 4
