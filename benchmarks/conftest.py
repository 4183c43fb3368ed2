"""Fixtures of `pytest benchmarks`: the available backends."""

import pytest

import nnlib
from nnlib.errors import BackendUnavailableError

collect_ignore = ["learning"]  # programs, run by hand; one needs PyTorch


@pytest.fixture(params=["numpy", "cupy"])
def backend(request):
    """Each available backend, made the current one."""
    try:
        with nnlib.use_backend(request.param) as chosen:
            yield chosen
    except BackendUnavailableError as error:
        pytest.skip(str(error))
