"""A test double of `GraphDevice`: streams, pools, capture and graphs."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from nnlib_backends.common.trace import View
from nnlib_backends.cupy_backend.graph.device import GraphDevice, Pool, ScalarInputs
from strict_backend.arrays import StrictArray
from strict_backend.kernels import Graph, capturing


class StrictPool(Pool):
    """A pool that only counts its active blocks: NumPy's allocator cannot be replaced."""

    nbytes = 0  # type: ignore[assignment]
    depth = 0

    @contextmanager
    def active(self) -> Iterator[None]:
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1


class StrictScalarInputs(ScalarInputs):
    def __init__(self, counts: Sequence[int], dtypes: Sequence[Any]) -> None:
        arrays = [np.zeros(n, dtype) for n, dtype in zip(counts, dtypes, strict=True)]
        self.arrays = [StrictArray(array) for array in arrays]
        self.nbytes = sum(array.nbytes for array in arrays)

    def send(self, numbers: Sequence[Sequence[float]]) -> None:
        for array, values in zip(self.arrays, numbers, strict=True):
            array._array[:] = values


class StrictGraphs(GraphDevice):
    array_type = StrictArray

    def owner(self, array: StrictArray) -> np.ndarray:
        bare = array._array
        while isinstance(bare.base, np.ndarray):
            bare = bare.base
        return bare

    def belongs(self, array: StrictArray, owner: np.ndarray) -> bool:
        return self.owner(array) is owner

    def address(self, array: StrictArray | np.ndarray) -> int:
        return getattr(array, "_array", array).ctypes.data

    def to_host(self, array: StrictArray) -> np.ndarray:
        return array._array

    def at(self, owner: np.ndarray, view: View) -> StrictArray:
        # order "K": "C" would copy the result of a transposed array's operation
        flat = owner.ravel(order="K").view(np.uint8)
        assert not flat.size or np.may_share_memory(flat, owner)
        return StrictArray(
            np.ndarray(view.shape, view.dtype, flat, view.offset, view.strides)
            if flat.size
            else owner.reshape(view.shape)
        )

    def copied(self, numbers: Sequence[float], dtype: Any) -> StrictArray:
        return StrictArray(np.array(numbers, dtype))

    @contextmanager
    def working(self) -> Iterator[None]:
        yield

    def new_pool(self) -> StrictPool:
        return StrictPool()

    def new_scalar_inputs(self, counts: Sequence[int], dtypes: Sequence[Any]) -> StrictScalarInputs:
        return StrictScalarInputs(counts, dtypes)

    def capture(self, pool: Pool, run: Callable[[], None]) -> Graph:
        with pool.active(), capturing() as graph:
            run()
        pool.nbytes = sum(a.nbytes for *_, fresh in graph.launches for a in fresh)
        return graph

    def check(self) -> None:
        pass

    def launch(self, graph: Graph, before: Callable[[], None]) -> None:
        before()
        graph.launch()

    def seconds(self, graph: Graph, before: Callable[[], None]) -> float:
        before()
        begin = time.perf_counter()
        graph.launch()
        return time.perf_counter() - begin

    def synchronize(self) -> None:
        pass
