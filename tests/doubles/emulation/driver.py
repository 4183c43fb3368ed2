"""Launching emulated kernels, in place of CUDA's driver.

Every array is copied into memory with guard zones around it.  Each launch is done twice, the second
time with threads and blocks in the opposite order: both must produce the same bits.
"""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from emulation.build import library

THREADS = 256
GUARD = 64  # bytes before and after an array
FILL = 0xA5


class Guarded:
    """A copy of an array between guard zones, as far from a 16-byte boundary as the original."""

    def __init__(self, array: np.ndarray) -> None:
        assert array.flags.c_contiguous, "kernels take C-contiguous arrays"
        self.nbytes = array.nbytes
        self._memory = np.full(array.nbytes + 2 * GUARD + 32, FILL, np.uint8)
        self.start = GUARD + (array.ctypes.data - self._memory.ctypes.data - GUARD) % 16
        self.data[:] = array.reshape(-1).view(np.uint8)

    @property
    def data(self) -> np.ndarray:
        return self._memory[self.start : self.start + self.nbytes]

    @property
    def address(self) -> int:
        return int(self._memory.ctypes.data) + self.start

    def is_intact_around(self) -> bool:
        before, after = self._memory[: self.start], self._memory[self.start + self.nbytes :]
        return bool((before == FILL).all() and (after == FILL).all())


def launch(file: str, kernel: str, dtype: str, grid: tuple[int, int], args: Sequence[Any]) -> None:
    """Run a kernel on NumPy's arrays.

    Raises
    ------
    AssertionError
        If the kernel writes outside of its arrays, deadlocks, depends on the order of threads, or
        takes another number of arguments.
    """
    assert all(0 < n < 1 << 16 for n in grid[1:]), grid
    assert 0 < grid[0] < 1 << 31, grid
    compiled = library(file, dtype)
    count = getattr(compiled, f"count_{kernel}")()
    assert count == len(args), f"{kernel} takes {count} arguments. Received: {len(args)}"
    orders = []
    for backwards in (False, True):
        guarded = {id(a): Guarded(a) for a in args if isinstance(a, np.ndarray)}
        values = [_argument(a, guarded) for a in args]
        pointers = (ctypes.c_void_p * len(args))(*(ctypes.addressof(value) for value in values))
        done = getattr(compiled, f"emulate_{kernel}")(*grid, THREADS, int(backwards), pointers)
        assert done, f"{kernel}: threads wait at a barrier that others never reach"
        for memory in guarded.values():
            assert memory.is_intact_around(), f"{kernel} writes outside of its arrays"
        orders.append(guarded)
    for array in args:
        if isinstance(array, np.ndarray):
            one, other = (guarded[id(array)].data for guarded in orders)
            assert (one == other).all(), f"{kernel} depends on the order of threads"
            memory = array.reshape(-1).view(np.uint8)
            if not np.array_equal(memory, one):  # an array that is only read may be read-only
                memory[:] = one


def _argument(value: Any, guarded: dict[int, Guarded]) -> Any:
    if value is None:
        return ctypes.c_void_p(0)
    if isinstance(value, np.ndarray):
        return ctypes.c_void_p(guarded[id(value)].address)
    assert type(value) in (int, float), f"CuPy would pass {type(value)} as something else"
    return ctypes.c_longlong(value) if type(value) is int else ctypes.c_double(value)


class EmulatedDriver:
    """A test double of CUDA's driver, see `launch.Driver`."""

    def __init__(self) -> None:
        self.log: list[tuple[str, str, tuple[int, int]]] = []

    def launch(
        self, file: str, kernel: str, dtype: str, grid: tuple[int, int], args: Sequence[Any]
    ) -> None:
        self.log.append((kernel, dtype, grid))
        launch(file, kernel, dtype, grid, [getattr(a, "_array", a) for a in args])

    def address(self, array: Any) -> int:
        return int(array._array.ctypes.data)
