"""`Trace`: one run of a function as a program, with its guards and its side effects."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import chain
from typing import Any

from nnlib import ops
from nnlib.autograd import Tensor, tensor
from nnlib.autograd.node import next_number
from nnlib.errors import CaptureError
from nnlib.jit.guards import ValueGuards
from nnlib.jit.nested import Leaves, flatten, map_leaves
from nnlib.jit.observer import Observer
from nnlib.tracing import Guards
from nnlib_backends import Backend
from nnlib_backends.base import Array, Program, Tracer

__all__ = ["Trace", "difference", "make_trace"]


class Trace:
    """A traced run of a function, which can be replayed while `holds` is true.

    Attributes
    ----------
    confirmed : bool
        Whether a second run of the function computed the same.
    check_due : bool
        Whether the next replay is compared with the function itself.
    checks, checked_at : int
        Number of such comparisons, and the number of replays before the last one.
    streams : list of Generator
        Random generators that replays draw from.
    changed_inputs : list of int
        Indices of the arguments that are changed in place.
    """

    def __init__(
        self,
        program: Program,
        guards: Guards,
        values: ValueGuards,
        result: Any,
        returned: Leaves,
    ) -> None:
        self.program = program
        self._guards, self._values = guards, values
        #: checks all guards
        self.holds: Callable[[], bool] = guards.freeze(values.guard())
        self.confirmed = self.check_due = False
        self.checks = self.checked_at = 0
        self.changed_inputs: list[int] = []
        self.changed = guards.changed
        self.streams = list(guards.streams.values())
        self.result = result
        self._returned = list({id(value): value for value in returned}.values())
        positions = {id(value): position for position, value in enumerate(self._returned)}
        self._order = [positions[id(value)] for value in returned]
        self._results: list[Array] = []
        self._grads: list[tuple[Any, Tensor | None]] = []
        self._single: Array | None = None
        self._nodes = list(guards.written_grads)
        self._had_grad = [node.grad is not None for node in self._nodes]
        self._changed = list(guards.changed.values())
        self._backend = guards.backend
        self._ready = False

    def changes(self) -> str:
        """Say why this run cannot be replayed, such as a value that it changed; empty if it can."""
        refused = self._values.refused or self._guards.unrepeatable
        return refused or next(chain(self._values.changes(), self._guards.changes()), "")

    def changes_own(self, leaves: Leaves) -> bool:
        """Whether an argument is also a tensor that the function uses and changes."""
        for leaf in leaves if self.changed else ():
            if isinstance(leaf, Tensor) and id(leaf.version_cell) in self.changed:
                return True
        return False

    def replay(self) -> Any:
        """Run the program; return new tensors."""
        if not self._ready:
            self._prepare()
        _replaying.add(self)
        try:
            if len(_replaying) > 1:
                self._refuse_clashes()
            self.program.replay()
        finally:
            _replaying.discard(self)
        for node, grad in self._grads:
            node.grad = grad
        for cell in self._changed:
            cell[0] += 1
        if self._single is not None:  # the usual case: a loss
            return Tensor(self._single.copy(), self._backend)
        made = [Tensor(array.copy(), self._backend) for array in self._results]
        values = iter([made[position] for position in self._order])
        return map_leaves(self.result, lambda _: next(values))

    def _refuse_clashes(self) -> None:
        """Refuse to change a tensor that another thread is changing."""
        cells = set(map(id, self._changed))
        for other in list(_replaying):
            if other is not self and not cells.isdisjoint(map(id, other._changed)):
                raise CaptureError(
                    "a model must be trained in one thread at a time. Received: two compiled steps "
                    "at once that change the same tensors. Give each thread a model of its own, or "
                    "take a lock around the steps"
                )

    def release(self) -> None:
        """Free the memory once the device has finished pending replays."""
        self.program.release()
        self._results, self._grads, self._single = [], [], None

    def _prepare(self) -> None:
        """Find the arrays in which replays leave results and gradients."""
        arrays = self.program.results()
        self._results = arrays[: len(self._returned)]
        grads = iter(arrays[len(self._returned) :])
        self._grads = [
            (node, Tensor(next(grads), self._backend) if had else None)
            for node, had in zip(self._nodes, self._had_grad, strict=True)
        ]
        self._single = self._results[0] if isinstance(self.result, Tensor) else None
        self._returned = []  # frees the results of the traced run
        self.result = map_leaves(self.result, lambda _: _PLACEHOLDER)
        self._ready = True


_replaying: set[Trace] = set()  # in all threads
if hasattr(os, "register_at_fork"):  # the other threads do not exist in a child
    os.register_at_fork(after_in_child=_replaying.clear)

_PLACEHOLDER = Tensor.__new__(Tensor)  # for each tensor of the result


def make_trace(
    function: Callable[[], Any], backend: Backend, tracer: Tracer, arguments: Leaves
) -> tuple[Trace, Any]:
    """Run a function; return its trace and its result."""
    guards = Guards(backend, tracer, arguments, next_number())
    observer = Observer(function, guards)
    with guards:
        with observer:
            given = function()
        _refuse_lazy(given)
        results: dict[int, Tensor] = {}
        result = map_leaves(given, lambda value: _own(value, tracer, results))
        returned: Leaves = []
        flatten(result, returned)
        left = [node.grad.data for node in guards.written_grads if node.grad is not None]
        own = {id(value): value.data for value in returned}
        program = tracer.finish([*own.values(), *left])
    return Trace(program, guards, observer.values, result, returned), result


def _own(value: Any, tracer: Tracer, results: dict[int, Tensor]) -> Tensor:
    """Return a detached result; copy one that shares memory with an input or another result."""
    if id(value) not in results:
        result = tensor(value).detach()
        others = [other.data for other in results.values()]
        shared = result.backend.xp.may_share_memory
        if not tracer.made(result.data) or any(shared(result.data, other) for other in others):
            result = ops.copy(result)
        results[id(value)] = result
    return results[id(value)]


def _refuse_lazy(result: Any) -> None:
    """Refuse an iterator or a coroutine as result."""
    if hasattr(type(result), "__next__") or hasattr(type(result), "__await__"):
        raise CaptureError(
            "a compiled function must compute what it returns. Received: a "
            f"{type(result).__name__}, which computes later. Return a list"
        )


def difference(first: Trace, second: Trace) -> str | None:
    """Say how two traces of a function differ; None if they do not."""
    what = first.program.difference(second.program)
    if what is None and flatten(first.result, []) != flatten(second.result, []):
        what = "another result: a Python value or a shape in it has changed"
    return what
