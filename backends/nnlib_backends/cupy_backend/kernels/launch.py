"""How a launcher launches: arguments, grids, memory, and for which dtypes there are kernels.

A kernel gets arrays as pointers, ``None`` as a null pointer, an ``int`` as ``Size`` and a ``float``
as ``double``.  Launchers choose grids by shapes alone: the order of a sum, and so its last bit, is
the same on every card.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

from nnlib_backends.base import Array
from nnlib_backends.dtypes import LOW_DTYPES

__all__ = ["DTYPES", "Driver", "Launcher", "known", "mixed", "real", "wide"]

DTYPES = ("float32", "float64")  #: in which kernels compute
THREADS = 256  #: of every block, see ``common.cuh``
WARP = 32
MAX_BLOCKS = 4096  # several waves even on the largest card; loops do the rest
_LONGEST_WARP_ROW = 1024  # a longer row gets a whole block
_CHUNKS = 1024  # blocks of a sum over rows
_LEAST_ROWS = 8  # that each thread of such a block adds up


class Driver(Protocol):
    """The seam where CUDA's driver is called."""

    def launch(
        self, file: str, kernel: str, dtype: str, grid: tuple[int, int], args: Sequence[Any]
    ) -> None:
        """Start a kernel on ``grid`` blocks in the current stream.

        Parameters
        ----------
        file : str
            Name of its ``.cu`` file, without the suffix.
        kernel : str
        dtype : str
            For which the file is compiled.
        grid : (int, int)
            Blocks, of `THREADS` threads each.
        args : sequence of array, int, float or None
            Arrays are C-contiguous.
        """

    def address(self, array: Array) -> int:
        """Return where an array begins in the device's memory."""


class Launcher:
    """Launches kernels on arrays of one namespace.

    Parameters
    ----------
    xp : namespace
    driver : Driver
    """

    def __init__(self, xp: Any, driver: Driver) -> None:
        self.xp = xp
        self._driver = driver

    def empty(self, shape: Sequence[int], dtype: Any) -> Array:
        """Return memory with arbitrary contents."""
        return self.xp.empty(tuple(shape), dtype=dtype)

    def address(self, array: Array) -> int:
        """Return where an array begins in the device's memory."""
        return self._driver.address(array)

    def dense(self, x: Array, dtype: Any) -> Array:
        """Return an array as kernels take it: itself if it is so, else a copy."""
        if x.dtype != dtype:
            x = x.astype(dtype)
        if x.flags.c_contiguous:
            return x
        copy = self.empty(x.shape, dtype)
        copy[...] = x
        return copy

    def home(self, need: Any, shape: Sequence[int], dtype: Any) -> Array | None:
        """Return where a kernel shall leave a gradient, by what `KernelPair.backward` was told.

        New memory, the array that is given, or ``None`` for a gradient that nobody wants.

        Examples
        --------
        >>> import numpy as np
        >>> launcher, target = Launcher(np, None), np.zeros(2)
        >>> launcher.home(target, (2,), "float64") is target
        True
        >>> launcher.home(True, (2,), "float64").shape, launcher.home(False, (2,), "float64")
        ((2,), None)
        """
        if need is False:
            return None
        return self.empty(shape, dtype) if need is True else need

    def elementwise(self, file: str, kernel: str, *args: Any, n: int, like: Array) -> None:
        """Launch a kernel on ``n`` numbers of the dtype of ``like``."""
        self.blocks(file, kernel, *args, blocks=_blocks(n, THREADS * _pack(like)), like=like)

    def blocks(self, file: str, kernel: str, *args: Any, blocks: int, like: Array) -> None:
        """Launch a kernel on so many blocks."""
        self._driver.launch(file, kernel, like.dtype.name, (blocks, 1), args)

    def integers(self, file: str, kernel: str, *args: Any, blocks: int) -> None:
        """Launch a kernel that works on no floating-point numbers."""
        self._driver.launch(file, kernel, DTYPES[0], (blocks, 1), args)

    def rows(self, file: str, kernel: str, *args: Any, shape: tuple[int, int], like: Array) -> None:
        """Launch a kernel with a warp or a block for each row, whichever suits its length.

        The name of the kernel ends in ``_warp`` or ``_block``, and its last arguments are the shape
        of the matrix.
        """
        rows, columns = shape
        short = columns <= _LONGEST_WARP_ROW
        blocks = _blocks(rows, THREADS // WARP if short else 1)
        kernel += "_warp" if short else "_block"
        self._driver.launch(file, kernel, like.dtype.name, (blocks, 1), (*args, rows, columns))

    def columns(
        self, file: str, kernel: str, *args: Any, shape: tuple[int, int], chunks: int, like: Array
    ) -> None:
        """Launch a kernel on tiles of columns and ``chunks`` of rows (see ``columns.cuh``).

        Its last arguments are the shape of the matrix.
        """
        grid = (_tiles(shape[1], like), chunks)
        self._driver.launch(file, kernel, like.dtype.name, grid, (*args, *shape))

    def runs(
        self, file: str, kernel: str, *args: Any, count: int, columns: int, like: Array
    ) -> None:
        """Launch a block for each of ``count`` rows that may begin a run, and tile of columns.

        The last argument of the kernel is ``columns``.
        """
        grid = (min(count, MAX_BLOCKS), _tiles(columns, like))
        self._driver.launch(file, kernel, like.dtype.name, grid, (*args, columns))

    def chunks(self, shape: tuple[int, int], like: Array) -> int:
        """Into how many chunks of rows a matrix is cut."""
        rows, columns = shape
        lanes = THREADS // min(_units(columns, like), WARP)
        most = max(_CHUNKS // _tiles(columns, like), 1)
        return min(_ceil(rows, lanes * _LEAST_ROWS), most)


def real(*arrays: Array | None, **_: Any) -> bool:
    """Tell whether arrays are of one dtype that kernels know, and none is empty."""
    first = next(array for array in arrays if array is not None)
    return first.dtype.name in DTYPES and all(
        array is None or (array.dtype == first.dtype and array.size > 0) for array in arrays
    )


def mixed(data: Array, *parameters: Array | None, **_: Any) -> bool:
    """Tell whether kernels know these dtypes, data of 16 bits included, and no array is empty.

    Parameters must be what the data are computed in.

    Examples
    --------
    >>> import numpy as np
    >>> low, weight = np.ones(1, "float16"), np.ones(1, "float32")
    >>> mixed(low, weight), mixed(low, low), mixed(weight, weight), mixed(weight, low)
    (True, False, True, False)
    """
    return (
        data.dtype.name in (*DTYPES, *LOW_DTYPES)
        and data.size > 0
        and all(p is None or (p.dtype == wide(data.dtype) and p.size > 0) for p in parameters)
    )


def known(x: Any, *others: Any) -> bool:
    """Tell whether these are arrays of one shape and one dtype that kernels know, 16 bits included.

    Examples
    --------
    >>> import numpy as np
    >>> known(np.ones(1, "float16")), known(np.ones(1), np.ones(2)), known(1.5)
    (True, False, False)
    """
    return (
        hasattr(x, "dtype")
        and mixed(x)
        and all(getattr(a, "dtype", None) == x.dtype and a.shape == x.shape for a in others)
    )


def wide(dtype: Any) -> Any:
    """Return the dtype in which kernels compute with numbers of a dtype.

    Examples
    --------
    >>> import numpy as np
    >>> wide(np.dtype("float16")), wide(np.dtype("float64"))
    ('float32', dtype('float64'))
    """
    return "float32" if dtype.name in LOW_DTYPES else dtype


def as_matrix(shape: Sequence[int]) -> tuple[int, int]:
    """(…, D) → (N, D)."""
    return math.prod(shape[:-1]), shape[-1]


def _pack(like: Array) -> int:
    """Numbers in 16 bytes."""
    return 16 // int(like.dtype.itemsize)


def _units(columns: int, like: Array) -> int:
    """How many vectors a row has."""
    return columns // _pack(like) if columns % _pack(like) == 0 else columns


def _tiles(columns: int, like: Array) -> int:
    return min(_ceil(_units(columns, like), WARP), MAX_BLOCKS)


def _blocks(items: int, a_block: int) -> int:
    return min(_ceil(items, a_block), MAX_BLOCKS)


def _ceil(a: int, b: int) -> int:
    return max(-(-a // b), 1)
