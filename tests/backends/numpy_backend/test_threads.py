import os
import subprocess
import sys

import pytest

PROGRAM = """
import os, sys
from nnlib_backends import load_backend
load_backend("numpy")
import numba
assert "nnlib_backends.numpy_backend.codegen.dispatch" not in sys.modules
if child := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
from nnlib_backends.numpy_backend import threads
os._exit(0 if threads.alone else 1)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_child_is_alone_if_another_library_had_started_numbas_threads():
    """The first kernel is compiled in the child: the parent has launched none."""
    pytest.importorskip("numba")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
