"""One recording of a function, with what it depends on and what it leaves behind."""

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
from nnlib.jit.nested import Leaves, rebuilt, take_apart
from nnlib.jit.observer import Observer
from nnlib.tracing import Guards
from nnlib_backends import Backend
from nnlib_backends.base import Array, Program, Tracer

__all__ = ["Trace", "difference", "make_trace"]


class Trace:
    """A recording that can be replayed while `holds` is true.

    Attributes
    ----------
    confirmed : bool
        Whether a second run of the function did the same.
    check_due : bool
        Whether the next replay shall be compared with the function itself.
    checks, checked_at : int
        How often that was done, and how often replays had been made until then.
    streams : list of Generator
        Which replays draw from.
    changed_inputs : list of int
        Which arguments are changed in place.
    """

    def __init__(
        self,
        program: Program,
        noted: Guards,
        state: ValueGuards,
        result: Any,
        returned: Leaves,
    ) -> None:
        self.program = program
        self._noted, self._state = noted, state
        #: tells whether all that it depends on is as it was
        self.holds: Callable[[], bool] = noted.freeze(state.guard())
        self.confirmed = self.check_due = False
        self.checks = self.checked_at = 0
        self.changed_inputs: list[int] = []
        self.changed = noted.changed
        self.streams = list(noted.streams.values())
        self.result = result
        self._returned = list({id(value): value for value in returned}.values())
        places = {id(value): place for place, value in enumerate(self._returned)}
        self._order = [places[id(value)] for value in returned]
        self._results: list[Array] = []
        self._grads: list[tuple[Any, Tensor | None]] = []
        self._single: Array | None = None
        self._nodes = list(noted.left_grads)
        self._had_grad = [node.grad is not None for node in self._nodes]
        self._changed = list(noted.changed.values())
        self._backend = noted.backend
        self._ready = False

    def changes(self) -> str:
        """Say what is not as it was when the function read it; empty, if nothing is known of."""
        refused = self._state.refused or self._noted.unrepeatable
        return refused or next(chain(self._state.changes(), self._noted.changes()), "")

    def changes_own(self, leaves: Leaves) -> bool:
        """Tell whether an argument is a tensor that the function changes as one of its own."""
        for leaf in leaves if self.changed else ():
            if isinstance(leaf, Tensor) and id(leaf.version_cell) in self.changed:
                return True
        return False

    def replay(self) -> Any:
        """Compute everything again; return new tensors."""
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
        if self._single is not None:  # the usual result, a loss
            return Tensor(self._single.copy(), self._backend)
        made = [Tensor(array.copy(), self._backend) for array in self._results]
        values = iter([made[place] for place in self._order])
        return rebuilt(self.result, lambda _: next(values))

    def _refuse_clashes(self) -> None:
        """Refuse to change what another thread is changing: nobody could say what comes of it."""
        cells = set(map(id, self._changed))
        for other in list(_replaying):
            if other is not self and not cells.isdisjoint(map(id, other._changed)):
                raise CaptureError(
                    "a model must be trained in one thread at a time. Received: two compiled steps "
                    "at once that change the same tensors. Give each thread a model of its own, or "
                    "take a lock around the steps"
                )

    def release(self) -> None:
        """Give memory back, once replays that a device still works on are over."""
        self.program.release()
        self._results, self._grads, self._single = [], [], None

    def _prepare(self) -> None:
        """Find the arrays that replays leave values in."""
        arrays = self.program.results()
        self._results = arrays[: len(self._returned)]
        grads = iter(arrays[len(self._returned) :])
        self._grads = [
            (node, Tensor(next(grads), self._backend) if had else None)
            for node, had in zip(self._nodes, self._had_grad, strict=True)
        ]
        self._single = self._results[0] if isinstance(self.result, Tensor) else None
        self._returned = []  # they have served; their memory can go
        self.result = rebuilt(self.result, lambda _: _PLACE)
        self._ready = True


_replaying: set[Trace] = set()  # in all threads
if hasattr(os, "register_at_fork"):  # the other threads do not exist in a child
    os.register_at_fork(after_in_child=_replaying.clear)

_PLACE = Tensor.__new__(Tensor)  # stands where a tensor of the result goes


def make_trace(
    function: Callable[[], Any], backend: Backend, tracer: Tracer, arguments: Leaves
) -> tuple[Trace, Any]:
    """Run a function; return what was recorded, and its result."""
    noted = Guards(backend, tracer, arguments, next_number())
    observer = Observer(function, noted)
    with noted:
        with observer:
            given = function()
        _refuse_lazy(given)
        results: dict[int, Tensor] = {}
        result = rebuilt(given, lambda value: _own(value, tracer, results))
        returned: Leaves = []
        take_apart(result, returned)
        left = [node.grad.data for node in noted.left_grads if node.grad is not None]
        own = {id(value): value.data for value in returned}
        program = tracer.finish([*own.values(), *left])
    return Trace(program, noted, observer.state, result, returned), result


def _own(value: Any, tracer: Tracer, results: dict[int, Tensor]) -> Tensor:
    """Return a result outside the graph; a copy, if others have its memory.

    That is an argument, a parameter, or what another result looks into: each result of a replay has
    memory of its own.
    """
    if id(value) not in results:
        result = tensor(value).detach()
        others = [other.data for other in results.values()]
        shared = result.backend.xp.may_share_memory
        if not tracer.made(result.data) or any(shared(result.data, other) for other in others):
            result = ops.copy(result)
        results[id(value)] = result
    return results[id(value)]


def _refuse_lazy(result: Any) -> None:
    """Refuse a result that is only computed when somebody takes from it."""
    if hasattr(type(result), "__next__") or hasattr(type(result), "__await__"):
        raise CaptureError(
            "a compiled function must compute what it returns. Received: a "
            f"{type(result).__name__}, which computes later. Return a list"
        )


def difference(first: Trace, second: Trace) -> str | None:
    """Say in what two recordings of a function differ, if they do."""
    what = first.program.difference(second.program)
    if what is None:
        mine, theirs = (take_apart(trace.result, []) for trace in (first, second))
        if mine != theirs:
            what = "another result: a Python value or a shape in it has changed"
    return what
