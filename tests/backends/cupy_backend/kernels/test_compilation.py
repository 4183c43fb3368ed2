"""Every kernel compiles for the GPUs that there are, and keeps its numbers in registers.

Needs NVRTC, but no GPU: ``pip install nvidia-cuda-nvrtc-cu12``.
"""

import pytest
from emulation import build, nvrtc

from nnlib_backends.cupy_backend.kernels import sources

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        nvrtc.nvrtc() is None, reason="NVRTC is missing: pip install nvidia-cuda-nvrtc-cu12"
    ),
]


@pytest.mark.parametrize("file", sources.files())
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_100"])
def test_every_file_compiles_without_spills(file, architecture):
    report = nvrtc.compile_for(file, "float32", architecture)
    assert report
    if not build.missing_compiler():
        assert set(build.kernels_in(file)) == set(report)
    assert not {name: bytes for name, bytes in report.items() if any(bytes)}


@pytest.mark.parametrize("file", sources.files())
def test_every_file_compiles_for_float64(file):
    assert nvrtc.compile_for(file, "float64", "sm_90")
