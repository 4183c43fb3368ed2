"""Launching CUDA kernels: arguments, grids, memory, and the dtypes with kernels.

A kernel gets arrays as pointers, ``None`` as a null pointer, an ``int`` as ``Size`` and a ``float``
as ``double``.  Grids depend on shapes alone, so the order of a sum is the same on every GPU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

from nnlib_backends.base import Array, GradOut
from nnlib_backends.dtypes import LOW_DTYPES

__all__ = ["DTYPES", "Driver", "Launcher", "known", "mixed", "real", "wide"]

DTYPES = ("float32", "float64")  #: dtypes of computation
THREADS = 256  #: of every block, see ``common.cuh``
WARP = 32
MAX_BLOCKS = 4096  # several waves even on the largest GPU; kernels loop over the rest
_LONGEST_WARP_ROW = 1024  # a longer row gets a whole block
_CHUNKS = 1024  # blocks of a sum over rows
_LEAST_ROWS = 8  # rows that each thread of such a block adds up, at least


class Driver(Protocol):
    """Interface to CUDA's driver."""

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
            The value of ``REAL`` in the file.
        grid : (int, int)
            Numbers of blocks, of `THREADS` threads each.
        args : sequence of array, int, float or None
            Arrays are C-contiguous.
        """

    def address(self, array: Array) -> int:
        """Return the address of an array in the device's memory."""


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
        """Return the address of an array in the device's memory."""
        return self._driver.address(array)

    def dense(self, x: Array, dtype: Any) -> Array:
        """Return a C-contiguous array of a dtype: the array itself or a copy."""
        if x.dtype != dtype:
            x = x.astype(dtype)
        if x.flags.c_contiguous:
            return x
        copy = self.empty(x.shape, dtype)
        copy[...] = x
        return copy

    def grad_memory(self, out: GradOut | None, shape: Sequence[int], dtype: Any) -> Array | None:
        """Return where a kernel writes a gradient: the given array, new memory, or ``None``.

        Examples
        --------
        >>> import numpy as np
        >>> launcher, array = Launcher(np, None), np.zeros(2)
        >>> launcher.grad_memory(GradOut(array), (2,), "float64") is array
        True
        >>> launcher.grad_memory(GradOut(), (2,), "float64").shape
        (2,)
        """
        if out is None:
            return None
        return self.empty(shape, dtype) if out.array is None else out.array

    def elementwise(self, file: str, kernel: str, *args: Any, n: int, like: Array) -> None:
        """Launch a kernel on ``n`` numbers of the dtype of ``like``."""
        self.blocks(file, kernel, *args, blocks=_blocks(n, THREADS * _pack(like)), like=like)

    def blocks(self, file: str, kernel: str, *args: Any, blocks: int, like: Array) -> None:
        """Launch a kernel on a number of blocks."""
        self._driver.launch(file, kernel, like.dtype.name, (blocks, 1), args)

    def integers(self, file: str, kernel: str, *args: Any, blocks: int) -> None:
        """Launch a kernel without floating-point arguments."""
        self._driver.launch(file, kernel, DTYPES[0], (blocks, 1), args)

    def rows(self, file: str, kernel: str, *args: Any, shape: tuple[int, int], like: Array) -> None:
        """Launch a kernel with a warp for each short row, or a block for each long one.

        ``_warp`` or ``_block`` is appended to the kernel's name, and the matrix's shape to its
        arguments.
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

        The shape of the matrix is appended to its arguments.
        """
        grid = (_tiles(shape[1], like), chunks)
        self._driver.launch(file, kernel, like.dtype.name, grid, (*args, *shape))

    def runs(
        self, file: str, kernel: str, *args: Any, count: int, columns: int, like: Array
    ) -> None:
        """Launch a block for each tile of columns of each of ``count`` rows that may begin a run.

        ``columns`` is appended to the kernel's arguments.
        """
        grid = (min(count, MAX_BLOCKS), _tiles(columns, like))
        self._driver.launch(file, kernel, like.dtype.name, grid, (*args, columns))

    def chunks(self, shape: tuple[int, int], like: Array) -> int:
        """Return the number of chunks into which a matrix's rows are divided."""
        rows, columns = shape
        lanes = THREADS // min(_units(columns, like), WARP)
        most = max(_CHUNKS // _tiles(columns, like), 1)
        return min(_ceil(rows, lanes * _LEAST_ROWS), most)


def real(*arrays: Array | None, **_: Any) -> bool:
    """Tell whether all arrays have one of `DTYPES`, and none is empty."""
    first = next(array for array in arrays if array is not None)
    return first.dtype.name in DTYPES and all(
        array is None or (array.dtype == first.dtype and array.size > 0) for array in arrays
    )


def mixed(data: Array, *parameters: Array | None, **_: Any) -> bool:
    """Tell whether kernels support these dtypes, half data included, and no array is empty.

    Parameters must have the dtype of computation, see `wide`.

    Examples
    --------
    >>> import numpy as np
    >>> half, weight = np.ones(1, "float16"), np.ones(1, "float32")
    >>> mixed(half, weight), mixed(half, half), mixed(weight, weight), mixed(weight, half)
    (True, False, True, False)
    """
    return (
        data.dtype.name in (*DTYPES, *LOW_DTYPES)
        and data.size > 0
        and all(p is None or (p.dtype == wide(data.dtype) and p.size > 0) for p in parameters)
    )


def known(x: Any, *others: Any) -> bool:
    """Tell whether all are arrays of one shape and one dtype that kernels support, or a half dtype.

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
    """Return the dtype of computation: float32 for half dtypes, else the dtype itself.

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
    """Return how many numbers 16 bytes have."""
    return 16 // int(like.dtype.itemsize)


def _units(columns: int, like: Array) -> int:
    """Return how many vectors a row has."""
    return columns // _pack(like) if columns % _pack(like) == 0 else columns


def _tiles(columns: int, like: Array) -> int:
    return min(_ceil(_units(columns, like), WARP), MAX_BLOCKS)


def _blocks(items: int, a_block: int) -> int:
    return min(_ceil(items, a_block), MAX_BLOCKS)


def _ceil(a: int, b: int) -> int:
    return max(-(-a // b), 1)
