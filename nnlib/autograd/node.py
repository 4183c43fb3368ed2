"""A node of the tape: one value, and how its gradient is carried back to its inputs."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeAlias

from nnlib.autograd.hooks import RemovableHandle
from nnlib.errors import DTypeError, GradientError, describe
from nnlib_backends.base import Array, Backend
from nnlib_backends.dtypes import tf32_allowed

if TYPE_CHECKING:
    from nnlib.autograd.tensor import Tensor

__all__ = ["Gradient", "Node", "next_number"]

Gradient: TypeAlias = Any
"""An array, or a tensor while the backward pass is itself recorded."""

_numbers = itertools.count()


def next_number() -> int:
    """Return a number above those of all nodes so far, and below those of later ones."""
    return next(_numbers)


class Node:
    """One value of the graph that somebody may want the gradient of.

    Attributes
    ----------
    number : int
        Grows with time.
    inputs : tuple
        The node of each input, ``None`` for those that need no gradient.
    shape, dtype, backend
        Of the value: its gradient has the same.
    grad : Tensor or None
        Where the backward pass leaves the gradient, if this is a leaf or `keep_grad` is set.
    hooks : dict or None
        Key → function, called with the complete gradient (a tensor); may return another one.  A
        dict is never changed but replaced by another.
    home : array or None
        Where the gradient of a parameter shall lie: in the optimizer's flat buffer.
    tf32 : bool or None
        Whether products might be rounded where the value was computed, see `autocast`.
    """

    __slots__ = (
        "__weakref__", "backend", "buffered_grad", "dtype", "grad", "grad_buffer",
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
        self.grad_buffer_claimed = False
        self.buffered_grad: weakref.ref[Tensor] | None = None
        self.tf32 = tf32_allowed.get()

    def pull_back(self, g: Gradient, to_homes: bool) -> Iterable[tuple[Node | None, Gradient]]:
        """Return the inputs, each with its share of the gradient if it needs one.

        ``to_homes``: the gradients of parameters may be written where they shall lie in the end.
        """
        return ()  # a leaf has no inputs

    def claim_grad_buffer(self, adds: bool) -> Array | list[Array] | None:
        """Return `grad_buffer`, if a kernel may write the gradient there: once in a backward pass.

        In a list, if it shall be added to the gradient of earlier passes that is there; only for a
        kernel that ``adds``.
        """
        if self.grad_buffer is None or self.grad_buffer_claimed:
            return None
        if self.grad is None:
            if self.buffered_grad is not None and self.buffered_grad() is not None:
                self.release_grad_buffer()
            self.grad_buffer_claimed = True
            return self.grad_buffer
        if adds and self.grad.data is self.grad_buffer and not self.hooks:
            self.grad_buffer_claimed = True
            return [self.grad_buffer]
        return None

    def release_grad_buffer(self) -> None:
        """Let whoever holds the last gradient keep its values: what is at home will change."""
        held = None if self.buffered_grad is None else self.buffered_grad()
        if held is not None:
            held.data = held.data.copy()
        self.buffered_grad = None

    def release(self) -> None:
        """Forget what was kept for the backward pass."""

    def rebase(self, value: Array, backend: Backend) -> None:
        """Be the leaf of another array; hooks stay, the gradient goes."""
        hooks = self.hooks
        Node.__init__(self, value, backend)
        self.hooks = hooks

    def add_hook(self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Have a function called with the gradient, after those that were added before."""
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
        """Return what a copy of a leaf gets: all but its place in a flat buffer."""
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
