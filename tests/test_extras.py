"""What the extras for a GPU install: all that is loaded, of one CUDA, and nothing large besides.

What CuPy, nvmath and cuDNN load was looked up in CuPy 14.2 (``cupy_backends/cuda/libs``, where
cuda-pathfinder finds the libraries when they are first needed) and nvmath-python 1.0.
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]

#: Wheels of CUDA's libraries.  The headers that kernels include are in the runtime's.
NEEDED = {
    12: {
        "cupy-cuda12x", "nvidia-cublas-cu12", "nvidia-cuda-nvrtc-cu12", "nvidia-cuda-runtime-cu12",
        "nvidia-cudnn-cu12",
    },
    13: {
        "cupy-cuda13x", "nvidia-cublas", "nvidia-cuda-nvrtc", "nvidia-cuda-runtime",
        "nvidia-cudnn-cu13",
    },
}  # fmt: skip
#: Python packages beside them; nvmath's bindings need the last two.
PACKAGES = {
    "nvidia-cudnn-frontend", "nvidia-ml-py", "ml-dtypes", "nvmath-python", "cuda-bindings",
    "cuda-core",
}  # fmt: skip
#: For Fourier transforms, random numbers, decompositions and sparse matrices.
UNUSED = re.compile(r"cufft|curand|cusolver|cusparse|nvjitlink|cutensor|nccl")
NO_NETWORK = re.compile(r"\w*ConnectionError|NameResolutionError|ConnectTimeoutError|ProxyError")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="NVIDIA's wheels are for Linux")
@pytest.mark.parametrize("cuda", [12, 13])
def test_an_extra_resolves(cuda, tmp_path):
    requirements = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"][f"cuda{cuda}"]]
    report = tmp_path / "report.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed"),
            *("--only-binary=:all:", "--report", str(report), *requirements),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and (problem := NO_NETWORK.search(done.stdout + done.stderr)):
        pytest.skip(f"pip cannot reach an index of packages: {problem[0]}")
    assert done.returncode == 0, done.stderr
    found = {
        item["metadata"]["name"].lower().replace("_", "-"): item["metadata"]["version"]
        for item in json.loads(report.read_text())["install"]
    }
    assert (NEEDED[cuda] | PACKAGES) - found.keys() == set()
    assert [name for name in found if UNUSED.search(name)] == []
    of_cuda = ("cuda-toolkit", "cuda-bindings", *(n for n in NEEDED[cuda] if "nvrtc" in n))
    assert {name: found[name].split(".")[0] for name in of_cuda} == dict.fromkeys(
        of_cuda, str(cuda)
    )


@pytest.mark.parametrize("cuda", [12, 13])
def test_an_extra_keeps_to_its_cuda(cuda):
    extra = PROJECT["optional-dependencies"][f"cuda{cuda}"]
    (bindings,) = (line for line in extra if line.startswith("cuda-bindings"))
    assert bindings.endswith(f",<{cuda + 1}")
    assert not any("[ctk]" in line for line in extra)
