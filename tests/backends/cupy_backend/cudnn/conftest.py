import pytest
from fake_cudnn import World

from nnlib_backends.cupy_backend.choices import Choices


@pytest.fixture
def choices(tmp_path):
    return Choices("cudnn", "9.28", "NVIDIA H100", tmp_path / "choices")


@pytest.fixture
def world(choices):
    return World(choices)
