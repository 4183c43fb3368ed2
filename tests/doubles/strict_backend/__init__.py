"""A test double of CuPy, as strict as CuPy where NumPy is more permissive.

`StrictArray` wraps a NumPy array, but cannot be converted to NumPy implicitly or combined with host
arrays, and results of reductions and indexing stay on the "device".  Its namespace has CuPy's names
and parameters only (``cupy_names.txt``, made by ``list_cupy_names.py``).  Reads by the host, for
which a GPU must wait, and copies to the "device" are counted::

    with counting() as counts:
        step()
    assert counts.reads == 0, counts.where
"""

from strict_backend.arrays import StrictArray
from strict_backend.backend import StrictBackend, register
from strict_backend.counts import Counts, counting

__all__ = ["Counts", "StrictArray", "StrictBackend", "counting", "register"]
