"""What `pytest benchmarks` needs to know: which backends to time, and what not to import."""

import pytest

import nnlib
from nnlib.errors import BackendUnavailableError

collect_ignore = ["learning"]  # programs, run by hand; one needs PyTorch


@pytest.fixture(params=["numpy", "cupy"])
def backend(request):
    """Each backend that works here; new tensors go there."""
    try:
        with nnlib.use_backend(request.param) as chosen:
            yield chosen
    except BackendUnavailableError as error:
        pytest.skip(str(error))
