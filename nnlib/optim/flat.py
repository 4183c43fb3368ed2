"""`Flat`: parameters, gradients and optimizer state as views of one flat buffer each.

One call updates all parameters, and the backward pass writes gradients into the flat buffer.  A
parameter remains the same tensor: only its array is replaced.
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

_ALIGNMENT = 64  # of each parameter, in bytes: a cache line, and the widest SIMD vector


@dataclass(eq=False)
class Run:
    """Adjacent parameters with the same step count, which are updated in one call.

    Attributes
    ----------
    group : int
        Index of their group.
    params : list of Tensor
    scalars : array or list of float
        Scalar inputs of their next update: an array in host memory, else a list.
    """

    group: int
    params: list[Tensor]
    scalars: Any


class Flat:
    """Flat buffers of parameters of one dtype on one backend.

    A parameter that is a view of another array is not moved: it has a `Flat` of its own.

    Attributes
    ----------
    params : list of Tensor
    slices : list of slice
        Slice of the flat buffers for each parameter.
    moved : bool
        Whether the parameters are views of `data`, and their gradient buffers of `grad`.
    data, grad : arrays, one axis if ``moved``
    state_dtype : dtype
        Dtype of the state and of an update's scalars.
    """

    def __init__(self, params: list[Tensor], moved: bool) -> None:
        self.params, self.moved = params, moved
        self.backend: Backend = params[0].backend
        self.dtype = params[0].dtype
        self.state_dtype = state_dtype(params[0])
        self.slices: list[slice] = []
        self.grad_buffers: list[Array] = []
        self.arrays: list[Array] = []
        self.runs: dict[tuple[int, int], Run] = {}
        self._state: dict[str, tuple[Array, list[Array]]] = {}
        if not moved:
            self.data, self.slices = params[0].data, [slice(None)]
            self.arrays = [self.data]
            return
        step = _ALIGNMENT // self.dtype.itemsize
        start = 0
        for p in params:
            self.slices.append(slice(start, start + p.size))
            start += -(-p.size // step) * step
        xp = self.backend.xp
        self.data = xp.zeros((start,), dtype=self.dtype)
        self.grad = xp.zeros((start,), dtype=self.dtype)
        for p, part in zip(params, self.slices, strict=True):
            array = self.data[part].reshape(p.shape)
            array[...] = p.data
            p.data = array
            self.arrays.append(array)
            self.grad_buffers.append(self.grad[part].reshape(p.shape))
            if p.grad is not None and p.grad.dtype == p.dtype and p.grad.backend is p.backend:
                self.grad_buffers[-1][...] = p.grad.data
                p.grad = Tensor(self.grad_buffers[-1], p.backend)
        self.set_grad_buffers()

    def new_scalars(self, count: int) -> Any:
        """Return a buffer for the scalars of an update."""
        if self.backend.host_memory:
            return self.backend.xp.zeros((count,), dtype=self.state_dtype)
        return [0.0] * count

    def is_intact(self) -> bool:
        """Whether all parameters still have their arrays from here."""
        return all(map(is_, map(attrgetter("data"), self.params), self.arrays))

    def set_grad_buffers(self) -> None:
        """Make the backward pass write gradients into `grad`."""
        if self.moved:
            for p, grad_buffer in zip(self.params, self.grad_buffers, strict=True):
                if p.node is not None:
                    p.node.grad_buffer = grad_buffer

    def store_gradient(self, i: int, grad: Tensor) -> None:
        """Copy a parameter's gradient into its gradient buffer."""
        node = self.params[i].node
        assert node is not None
        node.release_grad_buffer()
        perform(_copy, self.grad_buffers[i], grad.data)

    def state(self, name: str) -> list[Array]:
        """Return each parameter's part of a state array, which is created on first use."""
        if name not in self._state:
            whole = self.backend.xp.zeros(self.data.shape, dtype=self.state_dtype)
            parts = [whole]
            if self.moved:
                pairs = zip(self.slices, self.params, strict=True)
                parts = [whole[part].reshape(p.shape) for part, p in pairs]
            self._state[name] = (whole, parts)
        return self._state[name][1]

    def state_arrays(self) -> list[Array]:
        """Return the state of all parameters, one array per name."""
        return [whole for whole, _ in self._state.values()]

    def part(self, first: int, last: int, names: Iterable[str | None]) -> list[Array | None]:
        """Return data, gradient and state arrays of the parameters ``first`` … ``last``."""
        part: Any = ...
        if self.moved:
            part = slice(self.slices[first].start, self.slices[last].stop)
            arrays = [self.data[part], self.grad[part]]
        else:
            grad = self.params[0].grad
            assert grad is not None
            arrays = [self.data, grad.data]
        for name in names:
            arrays.append(None if name is None else self._state[name][0][part])
        return arrays


def state_dtype(p: Tensor) -> Any:
    """Return the dtype in which a parameter is updated: float32 if it has 16 bits.

    Examples
    --------
    >>> import nnlib
    >>> state_dtype(nnlib.zeros(2, dtype="float16"))
    'float32'
    """
    return "float32" if is_half(p) else p.dtype


def flattened(params: list[Tensor]) -> list[Flat]:
    """Move parameters into flat buffers, one for each backend and dtype."""
    movable_params: dict[tuple[Backend, Any], list[Tensor]] = {}
    others = []
    for p in params:
        # an array of its own, or a view of an earlier optimizer's flat buffer
        movable = p.data.base is None or (p.node is not None and p.node.grad_buffer is not None)
        if movable and math.prod(p.shape) > 0:
            movable_params.setdefault((p.backend, p.dtype), []).append(p)
        else:
            others.append(p)
    return [
        *[Flat(members, moved=True) for members in movable_params.values()],
        *[Flat([p], moved=False) for p in others],
    ]


def _copy(target: Array, source: Array) -> None:
    target[...] = source
