import sys
from types import ModuleType, SimpleNamespace

from nnlib_backends.cupy_backend.tf32 import tf32_is_allowed
from nnlib_backends.dtypes import tf32_allowed


def test_the_library_decides_unless_somebody_has_said_something(monkeypatch):
    linalg = SimpleNamespace(COMPUTE_TYPE_TF32=7, get_compute_type=lambda dtype: 1)
    core = ModuleType("cupy._core")
    core._routines_linalg = linalg
    cupy = ModuleType("cupy")
    cupy._core = core
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "cupy._core", core)
    assert not tf32_is_allowed()
    linalg.get_compute_type = lambda dtype: 7  # CUPY_TF32=1
    assert tf32_is_allowed()
    for said in (False, True):
        token = tf32_allowed.set(said)
        assert tf32_is_allowed() == said
        tf32_allowed.reset(token)
