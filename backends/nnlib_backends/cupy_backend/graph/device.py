"""Interface to the CUDA driver: streams, pools, capture and launch of graphs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

from nnlib_backends.base import Array
from nnlib_backends.common.trace import Memory, View

__all__ = ["GraphDevice", "Pool", "ScalarInputs"]

Graph: TypeAlias = Any


class Pool(ABC):
    """Memory of one program, whose graph keeps the addresses."""

    @abstractmethod
    def active(self) -> AbstractContextManager[Any]:
        """Allocate new arrays of this thread from the pool."""

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Memory that the pool has allocated, in bytes."""


class ScalarInputs(ABC):
    """Arrays on the device for all scalar inputs of a program, filled by one copy.

    Attributes
    ----------
    arrays : list of array
        Always the same ones.
    nbytes : int
    """

    arrays: list[Array]
    nbytes: int

    @abstractmethod
    def send(self, numbers: Sequence[Sequence[float]]) -> None:
        """Copy numbers to each of the arrays, in the order of the graphs' stream."""


class GraphDevice(Memory):
    """The functions of a device that tracing and replaying use."""

    # Arrays

    @abstractmethod
    def belongs(self, array: Array, owner: Any) -> bool:
        """Tell whether an array lies in an owner's memory."""

    @abstractmethod
    def at(self, owner: Any, view: View) -> Array:
        """Return the array that a view describes, in an owner's memory."""

    @abstractmethod
    def copied(self, numbers: Sequence[float], dtype: Any) -> Array:
        """Return a new array of these numbers."""

    # Driver

    @abstractmethod
    def working(self) -> AbstractContextManager[Any]:
        """Compute in the graphs' stream, ordered with the caller's; one thread at a time."""

    @abstractmethod
    def new_pool(self) -> Pool:
        """Return an empty pool."""

    @abstractmethod
    def new_scalar_inputs(self, counts: Sequence[int], dtypes: Sequence[Any]) -> ScalarInputs:
        """Return arrays of these lengths and dtypes for scalar inputs."""

    @abstractmethod
    def capture(self, pool: Pool, run: Callable[[], None]) -> Graph:
        """Call a function and return a graph of its launches, which are not carried out.

        Raises
        ------
        CaptureError
            If the device cannot make a graph of them.
        Exception
            Any error of the function.  The device can be used again after either.
        """

    @abstractmethod
    def check(self) -> None:
        """Raise an exception if the last call has invalidated the capture."""

    @abstractmethod
    def launch(self, graph: Graph, before: Callable[[], None]) -> None:
        """Call ``before()`` and launch a graph, ordered with the caller's stream.

        No other thread captures meanwhile.
        """

    @abstractmethod
    def seconds(self, graph: Graph, before: Callable[[], None]) -> float:
        """Launch a graph, wait for it, and return its time on the device; see `launch`."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until the graphs' stream has finished."""
