"""One recording of a function, with what it depends on and what it leaves behind."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from nnlib import ops
from nnlib.autograd import Tensor, tensor
from nnlib.capture.arguments import Leaves, rebuilt, take_apart
from nnlib.errors import CaptureError
from nnlib.recording import Dependencies
from nnlib_backends import Backend
from nnlib_backends.contract import Array, Recorder, Recording

__all__ = ["Variant", "difference", "record"]


class Variant:
    """A recording that can be replayed while `holds` is true.

    Attributes
    ----------
    confirmed : bool
        Whether a second run of the function did the same.
    """

    def __init__(
        self, recording: Recording, noted: Dependencies, result: Any, returned: Leaves
    ) -> None:
        self.recording = recording
        self.holds = noted.freeze()
        self.confirmed = False
        self.result = result
        self._returned = returned
        self._results: list[Array] = []
        self._grads: list[tuple[Any, Tensor | None]] = []
        self._single: Array | None = None
        self._nodes = list(noted.left_grads)
        self._had_grad = [node.grad is not None for node in self._nodes]
        self._changed = list(noted.changed.values())
        self._backend = noted.backend
        self._ready = False

    def replay(self) -> Any:
        """Compute everything again; return new tensors."""
        if not self._ready:
            self._prepare()
        _replaying.add(self)
        try:
            if len(_replaying) > 1:
                self._refuse_clashes()
            self.recording.replay()
        finally:
            _replaying.discard(self)
        for node, grad in self._grads:
            node.grad = grad
        for cell in self._changed:
            cell[0] += 1
        if self._single is not None:  # the usual result, a loss
            return Tensor(self._single.copy(), self._backend)
        values = iter([Tensor(array.copy(), self._backend) for array in self._results])
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
        self.recording.release()
        self._results, self._grads, self._single = [], [], None

    def _prepare(self) -> None:
        """Find the arrays that replays leave values in."""
        arrays = self.recording.results()
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


_replaying: set[Variant] = set()  # in all threads
if hasattr(os, "register_at_fork"):  # the other threads do not exist in a child
    os.register_at_fork(after_in_child=_replaying.clear)

_PLACE = Tensor.__new__(Tensor)  # stands where a tensor of the result goes


def record(
    function: Callable[[], Any], backend: Backend, recorder: Recorder
) -> tuple[Variant, Any]:
    """Run a function; return what was recorded, and its result."""
    with Dependencies(backend, recorder) as noted:
        result = rebuilt(function(), lambda value: _own(value, recorder))
        returned: Leaves = []
        take_apart(result, returned)
        left = [node.grad.data for node in noted.left_grads if node.grad is not None]
        recording = recorder.finish([*[value.data for value in returned], *left])
    return Variant(recording, noted, result, returned), result


def _own(value: Any, recorder: Recorder) -> Tensor:
    """Return a result outside the graph; a copy, if it is an argument or a parameter."""
    result = tensor(value).detach()
    return result if recorder.made(result.data) else ops.copy(result)


def difference(first: Variant, second: Variant) -> str | None:
    """Say in what two recordings of a function differ, if they do."""
    what = first.recording.difference(second.recording)
    if what is None:
        mine, theirs = (take_apart(variant.result, []) for variant in (first, second))
        if mine != theirs:
            what = "another result: a Python value or a shape in it has changed"
    return what
