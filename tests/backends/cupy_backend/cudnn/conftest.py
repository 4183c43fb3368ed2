import pytest
from fake_cudnn import World

from nnlib_backends.cupy_backend.tuning_cache import TuningCache


@pytest.fixture
def choices(tmp_path):
    return TuningCache("cudnn", "9.28", "NVIDIA H100", tmp_path / "choices")


@pytest.fixture
def world(choices):
    return World(choices)
