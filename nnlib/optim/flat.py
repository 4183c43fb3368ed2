"""Parameters, gradients and optimizer state as views of one buffer each.

One update then serves all parameters, and the backward pass leaves gradients where the update finds
them.  A parameter stays the same tensor; only its array moves.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter, is_
from typing import Any

from nnlib.autograd import Tensor
from nnlib.tracing import perform
from nnlib_backends import Backend
from nnlib_backends.base import Array
from nnlib_backends.dtypes import is_half

__all__ = ["Flat", "Run", "flattened", "state_dtype"]

_BOUNDARY = 64  # bytes between which parameters begin: a cache line, and the widest vector


@dataclass(eq=False)
class Run:
    """Neighbouring parameters of one step count, which are changed at once.

    Attributes
    ----------
    group : int
        Position of their group.
    params : list of Tensor
    scalars : array or list of float
        Of their next update.  What changes from step to step is never baked into a recording, so
        it is an array where the host can write into arrays without waiting.
    """

    group: int
    params: list[Tensor]
    scalars: Any


class Flat:
    """Some parameters of one dtype on one backend, one after the other.

    A parameter that looks into somebody else's array is left where it is, in a `Flat` of its own.

    Attributes
    ----------
    params : list of Tensor
    places : list of slice
        Where each lies.
    moved : bool
        Whether the parameters are views of `data`, and their gradients shall be of `grad`.
    data, grad : arrays, one axis if ``moved``
    state_dtype : dtype
        Of the state, and of the scalars of an update.
    """

    def __init__(self, params: list[Tensor], moved: bool) -> None:
        self.params, self.moved = params, moved
        self.backend: Backend = params[0].backend
        self.dtype = params[0].dtype
        self.state_dtype = state_dtype(params[0])
        self.places: list[slice] = []
        self.homes: list[Array] = []
        self.arrays: list[Array] = []
        self.runs: dict[tuple[int, int], Run] = {}
        self._state: dict[str, tuple[Array, list[Array]]] = {}
        if not moved:
            self.data, self.places = params[0].data, [slice(None)]
            self.arrays = [self.data]
            return
        step = _BOUNDARY // self.dtype.itemsize
        start = 0
        for p in params:
            self.places.append(slice(start, start + p.size))
            start += -(-p.size // step) * step
        xp = self.backend.xp
        self.data = xp.zeros((start,), dtype=self.dtype)
        self.grad = xp.zeros((start,), dtype=self.dtype)
        for p, place in zip(params, self.places, strict=True):
            array = self.data[place].reshape(p.shape)
            array[...] = p.data
            p.data = array
            self.arrays.append(array)
            self.homes.append(self.grad[place].reshape(p.shape))
            if p.grad is not None and p.grad.dtype == p.dtype and p.grad.backend is p.backend:
                self.homes[-1][...] = p.grad.data
                p.grad = Tensor(self.homes[-1], p.backend)
        self.settle()

    def new_scalars(self, count: int) -> Any:
        """Return room for the scalars of an update."""
        if self.backend.host_memory:
            return self.backend.xp.zeros((count,), dtype=self.state_dtype)
        return [0.0] * count

    def is_intact(self) -> bool:
        """Tell whether the parameters still are where they were put."""
        return all(map(is_, map(attrgetter("data"), self.params), self.arrays))

    def settle(self) -> None:
        """Have the backward pass leave gradients in `grad`."""
        if self.moved:
            for p, grad_buffer in zip(self.params, self.homes, strict=True):
                if p.node is not None:
                    p.node.grad_buffer = grad_buffer

    def take_gradient(self, i: int, grad: Tensor) -> None:
        """Copy a parameter's gradient to its place."""
        node = self.params[i].node
        assert node is not None
        node.release_grad_buffer()
        perform(_copy, self.homes[i], grad.data)

    def state(self, name: str) -> list[Array]:
        """Return each parameter's part of a state array, which is made if there is none."""
        if name not in self._state:
            whole = self.backend.xp.zeros(self.data.shape, dtype=self.state_dtype)
            parts = [whole]
            if self.moved:
                pairs = zip(self.places, self.params, strict=True)
                parts = [whole[place].reshape(p.shape) for place, p in pairs]
            self._state[name] = (whole, parts)
        return self._state[name][1]

    def state_arrays(self) -> list[Array]:
        """Return the state of all parameters together, one array for each name."""
        return [whole for whole, _ in self._state.values()]

    def part(self, first: int, last: int, names: Iterable[str | None]) -> list[Array | None]:
        """Return data, gradients and state of the parameters ``first`` … ``last``, each as one."""
        part: Any = ...
        if self.moved:
            part = slice(self.places[first].start, self.places[last].stop)
            arrays = [self.data[part], self.grad[part]]
        else:
            grad = self.params[0].grad
            assert grad is not None
            arrays = [self.data, grad.data]
        for name in names:
            arrays.append(None if name is None else self._state[name][0][part])
        return arrays


def state_dtype(p: Tensor) -> Any:
    """Return the dtype in which a parameter is updated: float32 for one of 16 bits.

    Examples
    --------
    >>> import nnlib
    >>> state_dtype(nnlib.zeros(2, dtype="float16"))
    'float32'
    """
    return "float32" if is_half(p) else p.dtype


def flattened(params: list[Tensor]) -> list[Flat]:
    """Move parameters into flat buffers, one for each backend and dtype."""
    kinds: dict[tuple[Backend, Any], list[Tensor]] = {}
    loose = []
    for p in params:
        # its own array, or a place in the buffer of an earlier optimizer
        movable = p.data.base is None or (p.node is not None and p.node.grad_buffer is not None)
        if movable and math.prod(p.shape) > 0:
            kinds.setdefault((p.backend, p.dtype), []).append(p)
        else:
            loose.append(p)
    return [
        *[Flat(members, moved=True) for members in kinds.values()],
        *[Flat([p], moved=False) for p in loose],
    ]


def _copy(target: Array, source: Array) -> None:
    target[...] = source
