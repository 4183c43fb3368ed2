"""A backend for the tests, whose arrays are as unforgiving as CuPy's.

`StrictArray` wraps a NumPy array but behaves as ``cupy.ndarray`` does where a program that was
only ever run on NumPy goes wrong: no implicit conversion to NumPy, no operation with host arrays,
results of reductions and of indexing stay on the "device", and its namespace has only what CuPy
has, with CuPy's parameters (``cupy_names.txt``, made by ``list_cupy_names.py``).  Each time that
a value is read by the host, which makes a GPU wait, and each time that data is copied to the
"device" is counted::

    with counting() as counts:
        step()
    assert counts.reads == 0, counts.where
"""

from strict_backend.arrays import StrictArray
from strict_backend.backend import StrictBackend, register
from strict_backend.counts import Counts, counting

__all__ = ["Counts", "StrictArray", "StrictBackend", "counting", "register"]
