"""Where the kernels run: emulated on the CPU, and with ``pytest -m gpu`` on a GPU.

For the CPU they are compiled once for a content, and kept in pytest's cache.
"""

import emulation
import pytest
from emulation import build

from nnlib_backends import use_backend

emulation.register()


@pytest.fixture(autouse=True, scope="session")
def _compiled_kernels(pytestconfig, tmp_path_factory):
    cache = getattr(pytestconfig, "cache", None)  # absent with -p no:cacheprovider
    folder = cache.mkdir if cache else tmp_path_factory.mktemp
    build.keep_in(folder("emulated_kernels"))


@pytest.fixture
def emulated():
    """The backend that computes with emulated kernels."""
    if emulation.missing_compiler():
        pytest.skip(emulation.missing_compiler())
    with use_backend("emulated") as backend:
        backend.driver.log.clear()
        yield backend


@pytest.fixture(params=["emulated", pytest.param("cupy", marks=pytest.mark.gpu)])
def backend(request):
    """Each backend with these kernels, in the place of all others."""
    if request.param == "emulated":
        yield request.getfixturevalue("emulated")
    else:
        with use_backend("cupy") as chosen:
            yield chosen
