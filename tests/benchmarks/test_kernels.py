"""`pytest benchmarks --benchmark-only` must find every fused operation."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import nnlib  # noqa: F401 - registers the operations
from nnlib.ops.operation import fused_operations

ROOT = Path(__file__).parents[2]


def pytest_benchmarks(*arguments):
    command = [sys.executable, "-m", "pytest", "benchmarks", "--benchmark-only", "-q", *arguments]
    # a worker of pytest-xdist times nothing, and its children would not either
    alone = {name: value for name, value in os.environ.items() if "PYTEST_XDIST" not in name}
    done = subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_every_fused_operation_is_timed_forward_and_backward_on_each_backend():
    found = pytest_benchmarks("--collect-only")

    for operation in fused_operations():
        for direction in ("forward", "backward"):
            for backend in ("numpy", "cupy"):
                assert f"test_{direction}[{backend}-{operation.name}: " in found


@pytest.mark.slow
def test_the_command_times_and_passes():
    table = pytest_benchmarks("-k", "numpy and silu", "--benchmark-max-time=0.01")
    assert "Median" in table
    assert "test_backward[numpy-silu: 32x256]" in table
