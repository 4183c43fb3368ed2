"""`Node`: a value on the tape, which propagates its gradient to its inputs."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeAlias

from nnlib.autograd.hooks import RemovableHandle
from nnlib.errors import DTypeError, GradientError, describe
from nnlib_backends.base import ANYWHERE, Array, Backend, GradOut
from nnlib_backends.dtypes import tf32_allowed

if TYPE_CHECKING:
    from nnlib.autograd.tensor import Tensor

__all__ = ["Gradient", "Node", "next_number"]

Gradient: TypeAlias = Any
"""An array; a tensor if the backward pass is itself on the tape, or traced."""

_numbers = itertools.count()


def next_number() -> int:
    """Return a number between those of existing and of later nodes."""
    return next(_numbers)


class Node:
    """A value on the tape: a leaf, or the result of an operation.

    Attributes
    ----------
    number : int
        Increases in the order of creation.
    inputs : tuple
        Node of each input; ``None`` for an input without gradient.
    shape, dtype, backend
        Those of the value and of its gradient.
    grad : Tensor or None
        Gradient that the backward pass accumulates, in leaves and where `keep_grad` is set.
    hooks : dict or None
        Key → function that is called with the complete gradient (a tensor) and may return another.
        The dict is replaced, never changed.
    grad_buffer : array or None
        Buffer for the gradient of a parameter: a view of the optimizer's flat buffer.
    tf32 : bool or None
        Whether the value was computed with TF32, see `autocast`.
    """

    __slots__ = (
        "__weakref__", "_grad_out", "backend", "buffered_grad", "dtype", "grad", "grad_buffer",
        "grad_buffer_claimed", "hooks", "inputs", "keep_grad", "number", "shape", "tf32",
    )  # fmt: skip

    def __init__(
        self, value: Array, backend: Backend, inputs: tuple[Node | None, ...] = ()
    ) -> None:
        self.number = next(_numbers)
        self.inputs = inputs
        self.shape = value.shape
        self.dtype = value.dtype
        self.backend = backend
        self.grad: Tensor | None = None
        self.keep_grad = not inputs
        self.hooks: dict[object, Callable[[Tensor], Tensor | None]] | None = None
        self.grad_buffer: Array | None = None
        self._grad_out = ANYWHERE  # of `grad_buffer`, once a kernel has written there
        self.grad_buffer_claimed = False
        self.buffered_grad: weakref.ref[Tensor] | None = None
        self.tf32 = tf32_allowed.get()

    def pull_back(self, g: Gradient, into_buffers: bool) -> Iterable[tuple[Node | None, Gradient]]:
        """Return (input, gradient) for each input that needs a gradient.

        ``into_buffers``: the gradients of parameters may be written into their gradient buffers.
        """
        return ()  # a leaf has no inputs

    def claim_grad_buffer(self, accumulates: bool) -> GradOut:
        """Return where a kernel leaves the gradient: in `grad_buffer`, once in a backward pass.

        A kernel that ``accumulates`` adds it to the gradient of earlier passes that is there.
        """
        array = self.grad_buffer
        if array is None or self.grad_buffer_claimed:
            return ANYWHERE
        if self.grad is None:
            if self.buffered_grad is not None and self.buffered_grad() is not None:
                self.release_grad_buffer()
            self.grad_buffer_claimed = True
            if self._grad_out.array is not array:
                self._grad_out = GradOut(array)
            return self._grad_out
        if accumulates and self.grad.data is array and not self.hooks:
            self.grad_buffer_claimed = True
            return GradOut(array, accumulate=True)
        return ANYWHERE

    def release_grad_buffer(self) -> None:
        """Copy the last gradient out of the buffer if other code holds its tensor."""
        held = None if self.buffered_grad is None else self.buffered_grad()
        if held is not None:
            held.data = held.data.copy()
        self.buffered_grad = None

    def release(self) -> None:
        """Free the arrays for the backward pass."""

    def rebase(self, value: Array, backend: Backend) -> None:
        """Become the leaf of another array: keep the hooks, drop the gradient."""
        hooks = self.hooks
        Node.__init__(self, value, backend)
        self.hooks = hooks

    def add_hook(self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Add a function that is called with the gradient, after earlier hooks."""
        if not callable(hook):
            raise DTypeError(f"a hook must be a function. Received: {describe(hook)}")
        key = object()
        self.hooks = {**(self.hooks or {}), key: hook}
        return RemovableHandle(self, key)

    def _remove_hook(self, key: object) -> None:
        old = self.hooks or {}
        if key in old:
            self.hooks = {k: hook for k, hook in old.items() if k is not key} or None

    def __getstate__(self) -> tuple[Any, ...]:
        """Return the state of a leaf without its gradient buffer."""
        if self.inputs:
            raise GradientError(
                "only leaves can be pickled or copied deeply: a copy would be cut off from the "
                f"graph. Received: a recorded {self.dtype} {self.shape}. Use detach() on it"
            )
        grad = None if self.grad is None else self.grad.detach()
        return self.shape, self.dtype, self.backend, grad, self.hooks

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        shape, dtype, backend, grad, hooks = state
        Node.__init__(self, SimpleNamespace(shape=shape, dtype=dtype), backend)
        self.grad, self.hooks = grad, hooks
