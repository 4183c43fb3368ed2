"""Every kernel compiles for the GPUs that there are, and keeps its numbers in registers.

Needs NVRTC, but no GPU: ``pip install nvidia-cuda-nvrtc-cu12``.
"""

import pytest
from emulation import build, nvrtc

from nnlib_backends.cupy_backend.kernels import sources
from nnlib_backends.dtypes import LOW_DTYPES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        nvrtc.nvrtc() is None, reason="NVRTC is missing: pip install nvidia-cuda-nvrtc-cu12"
    ),
]


#: Files whose kernels know no data of 16 bits.
FULL = {"recurrent", "sorting", "updates"}
FILES = [
    (file, dtype)
    for file in sources.files()
    for dtype in sources.REALS
    if file not in FULL or dtype not in LOW_DTYPES
]


@pytest.mark.parametrize(("file", "dtype"), FILES)
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_100"])
def test_every_file_compiles_without_spills(file, dtype, architecture):
    report = nvrtc.compile_for(file, dtype, architecture)
    assert report
    if not build.missing_compiler():
        assert set(build.kernels_in(file)) == set(report)
    assert not {name: bytes for name, bytes in report.items() if any(bytes)}
