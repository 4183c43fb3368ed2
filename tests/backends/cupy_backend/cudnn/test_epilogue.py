import emulation
import numpy as np
import pytest
from emulation import build

from nnlib_backends.common.fused import activate, derive
from nnlib_backends.cupy_backend.cudnn import make_epilogue

pytestmark = pytest.mark.skipif(
    bool(emulation.missing_compiler()), reason=emulation.missing_compiler() or "none"
)
rng = np.random.default_rng(0)


@pytest.fixture(scope="module")
def backend(pytestconfig, tmp_path_factory):
    cache = getattr(pytestconfig, "cache", None)  # absent with -p no:cacheprovider
    folder = cache.mkdir if cache else tmp_path_factory.mktemp
    build.keep_in(folder("emulated_kernels"))
    return emulation.EmulatedBackend()


@pytest.fixture
def epilogue(backend):
    return make_epilogue(backend.launcher)


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_own_kernels_do_what_is_around_a_convolution(backend, epilogue, dtype, activation):
    z, g = (rng.normal(size=(2, 5, 7, 6)).astype(dtype) for _ in range(2))
    expected = activate(np, z, activation)
    y = epilogue.activate(backend.asarray(z), activation)
    tolerance = {"float16": 2e-3, "float32": 1e-5, "float64": 1e-12}[dtype]
    np.testing.assert_allclose(backend.to_numpy(y), expected, rtol=tolerance, atol=tolerance)
    for result, name in ((y, activation), (None, None)):
        home = backend.xp.empty((6,), dtype="float64" if dtype == "float64" else "float32")
        d, db = epilogue.sum_bias(backend.asarray(g), result, name, home)
        assert db is home
        before = derive(g, None if result is None else expected, name).astype("float64")
        np.testing.assert_allclose(backend.to_numpy(d), before, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(
            backend.to_numpy(db), before.sum(axis=(0, 1, 2)), rtol=tolerance, atol=10 * tolerance
        )


def test_what_they_are_not_made_for_is_left_to_others(backend, epilogue):
    y = backend.asarray(np.ones((1, 2, 2, 3), np.int32))
    assert epilogue.activate(y, "relu") is NotImplemented
    assert epilogue.sum_bias(y, None, None, None) is NotImplemented
    empty = backend.asarray(np.ones((0, 2, 2, 3), np.float32))
    assert epilogue.sum_bias(empty, None, None, None) is NotImplemented
