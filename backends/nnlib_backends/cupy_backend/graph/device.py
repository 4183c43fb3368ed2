"""The seam to the driver: streams, pools, capture and launch, and how arrays lie in memory."""

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
    """Memory that belongs to one recording alone, so that its graph may keep the addresses."""

    @abstractmethod
    def active(self) -> AbstractContextManager[Any]:
        """Take new arrays from here, in this thread."""

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """What it has taken from the device, in bytes."""


class ScalarInputs(ABC):
    """Brings the numbers of a step to the device, all in one copy.

    Attributes
    ----------
    arrays : list of array
        Where they arrive; always the same ones.
    nbytes : int
    """

    arrays: list[Array]
    nbytes: int

    @abstractmethod
    def send(self, numbers: Sequence[Sequence[float]]) -> None:
        """Copy numbers for each of the arrays, after what was launched and before what comes."""


class GraphDevice(Memory):
    """What tracing and replaying need of a device."""

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
        """Compute in the device's own stream, after what the caller asked for and before the rest.

        One thread at a time.
        """

    @abstractmethod
    def new_pool(self) -> Pool:
        """Return an empty pool."""

    @abstractmethod
    def new_feeder(self, counts: Sequence[int], dtypes: Sequence[Any]) -> ScalarInputs:
        """Return a feeder of arrays with so many numbers of these dtypes."""

    @abstractmethod
    def capture(self, pool: Pool, run: Callable[[], None]) -> Graph:
        """Call a function whose launches are written down instead of done; return them as a graph.

        Raises
        ------
        CaptureError
            If the device cannot make a graph of them.
        Exception
            What the function raised.  Either way the device can be used again.
        """

    @abstractmethod
    def check(self) -> None:
        """Raise an exception if what was called last has made the capture impossible."""

    @abstractmethod
    def launch(self, graph: Graph, before: Callable[[], None]) -> None:
        """Do what a graph holds, after what the caller asked for and before what comes.

        ``before()`` is called when no other thread captures.
        """

    @abstractmethod
    def seconds(self, graph: Graph, before: Callable[[], None]) -> float:
        """Launch a graph, wait for it, and return its time on the device; see `launch`."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until everything that was launched is done."""
