"""`Specialization`: the traces of a compiled function for one kind of arguments."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from nnlib.autograd import Tensor, tensor
from nnlib.errors import CaptureError, describe
from nnlib.jit.nested import Leaves, array_of, flatten, map_leaves
from nnlib.jit.trace import Trace, difference, make_trace
from nnlib.memory import Held, holders
from nnlib_backends import get_backend
from nnlib_backends.base import Tracer
from nnlib_backends.user_line import user_line

__all__ = ["Specialization"]

_MAX_TRACES = 4  # kept at a time, such as for modes and frozen layers; each has its own memory
_MAX_FAILURES = 3  # runs in a row that cannot be replayed, since first steps may initialize state
_MAX_UNPAID_TRACES = 16  # traces that may be made before they must pay in replays


class Specialization:
    """The traces of a function for one kind of arguments, and buffers for these arguments.

    Attributes
    ----------
    problem : str
        Why the function cannot be compiled; empty if it can.
    replayed : int
        Number of replays.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        options: dict[str, Any],
        leaves: Leaves,
    ) -> None:
        if any(isinstance(leaf, Tensor) and leaf.requires_grad for leaf in leaves):
            raise CaptureError(
                "arguments of a compiled function must not require a gradient: it would be left "
                f"in a copy. Received: {user_line()}. Use the tensor from inside the function "
                "without passing it, or pass x.detach()"
            )
        buffers = {id(leaf): _own_copy(leaf) for leaf in leaves}
        self.inputs = [buffers[id(leaf)] for leaf in leaves]
        self.backend = self.inputs[0].backend if self.inputs else get_backend()
        for buffer in self.inputs:
            if buffer.backend is not self.backend:
                raise CaptureError(
                    "arguments of a compiled function must be on one backend. Received: "
                    f"{self.backend.name!r} and {buffer.backend.name!r}, in {user_line()}"
                )
        self._arrays = [buffer.data for buffer in self.inputs]
        self._static = self.backend.inputs(self._arrays)
        buffers_in_order = iter(self.inputs)
        self._function = function
        self._arguments = map_leaves((args, options), lambda _: next(buffers_in_order))
        self.problem = ""
        self.traces: list[Trace] = []
        self._failures = self._traced = self.replayed = 0

    def fill(self, leaves: Leaves) -> None:
        """Copy the arguments into the buffers of the traces."""
        self._static.fill(list(map(array_of, leaves)))

    def replay(self, trace: Trace, leaves: Leaves) -> Any:
        """Replay a trace; write changes in place back to the arguments."""
        self.replayed += 1
        changes_own = trace.changes_own(leaves)
        if not trace.changed_inputs and not changes_own:
            return trace.replay()
        self._refuse_shared(trace.changed_inputs, changes_own, leaves)
        try:
            return trace.replay()
        finally:
            self._write_back(trace.changed_inputs, leaves)

    def make_trace(self, tracer: Tracer, first: Trace | None, leaves: Leaves) -> Any:
        """Run and trace the function; a second trace, equal to ``first``, confirms it."""
        arguments = map_leaves(self._arguments, lambda buffer: buffer)  # copies lists and dicts
        held: Leaves = []
        before = flatten(arguments, held)
        versions = [buffer.version_cell[0] for buffer in self.inputs]
        call = functools.partial(self._function, *arguments[0], **arguments[1])
        try:
            trace, result = make_trace(call, self.backend, tracer, self.inputs)
        except BaseException:  # the caller sees the arguments as the function left them
            self._write_back(self._changed(versions), leaves)
            self._restore_buffers()
            raise
        changed = self._changed(versions)
        self._write_back(changed, leaves)
        self._check_arguments(before, held, arguments)
        trace.changed_inputs = changed
        self._refuse_shared(changed, trace.changes_own(leaves), leaves)
        self._traced += 1
        what = trace.changes()
        if first is None:
            if not what and self.traces and self._changes_often():
                what = self.traces[0].changes() or "gradients are in other arrays"
                self.problem = f"the values that it reads change often. Received: {what}"
            if not what:
                for old in self.traces[_MAX_TRACES - 1 :]:
                    old.release()
                self.traces = [trace, *self.traces[: _MAX_TRACES - 1]]
                return result
        else:
            what = what or first.changes() or difference(first, trace) or ""
            index = self.traces.index(first)
            first.release()
            if not what:
                self._failures = 0
                trace.confirmed = True
                self.traces[index] = trace
                return result
            del self.traces[index]
        trace.release()
        self._failures += 1
        if self._failures >= _MAX_FAILURES and not self.problem:
            self.problem = f"a compiled function must do the same at every call. Received: {what}"
        return result

    def _changes_often(self) -> bool:
        """Whether tracing costs more than replaying saves."""
        return self._traced >= _MAX_UNPAID_TRACES and self._traced > self.replayed

    def _changed(self, versions: list[int]) -> list[int]:
        """Return the indices of the arguments that were changed in place since these versions."""
        now = [buffer.version_cell[0] for buffer in self.inputs]
        return [i for i, version in enumerate(versions) if now[i] != version]

    def _write_back(self, changed: list[int], leaves: Leaves) -> None:
        """Copy changed buffers to the caller's arguments."""
        for i in changed:
            leaf, value = leaves[i], self._arrays[i]
            array = array_of(leaf)
            if not self.backend.owns(array):
                value = self.backend.to_numpy(value)
            try:
                array[...] = value
            except (ValueError, TypeError) as error:
                raise CaptureError(
                    "an argument that a compiled function changes must be writable. Received: "
                    f"{describe(leaf)}: {error}. Pass a copy"
                ) from error
            if isinstance(leaf, Tensor):
                leaf.bump_version()

    def _refuse_shared(self, changed: list[int], changes_own: bool, leaves: Leaves) -> None:
        """Refuse to change an argument that shares memory: its buffer does not share it."""
        arrays = list(map(array_of, leaves))
        owned = [array if self.backend.owns(array) else None for array in arrays]
        shared = self.backend.xp.may_share_memory
        if changes_own or any(
            owned[i] is not None
            and other is not None
            and leaf is not leaves[i]
            and shared(owned[i], other)
            for i in changed
            for leaf, other in zip(leaves, owned, strict=True)
        ):
            raise CaptureError(
                "an argument that a compiled function changes must not share memory with another "
                f"one, or with a tensor that it uses. Received: {user_line()}. Pass a copy"
            )

    def _restore_buffers(self) -> str:
        """Undo changes of the input tensors other than of their values; say which one it was."""
        what = ""
        for buffer, array in zip(self.inputs, self._arrays, strict=True):
            if buffer.data is not array:
                what = "another array in an argument"
            elif buffer.node is not None:
                what = "an argument with requires_grad set"
            buffer.data, buffer.node = array, None
        return what

    def _check_arguments(self, before: Any, held: Leaves, arguments: Any) -> None:
        """Refuse changes of arguments that a replay would not make."""
        what = self._restore_buffers()
        leaves: Leaves = []
        after = flatten(arguments, leaves)
        if after != before or any(a is not b for a, b in zip(leaves, held, strict=False)):
            what = what or "a list or dict among the arguments with other items"
        if what:
            raise CaptureError(
                "a compiled function may change the values of its arguments, nothing else of them. "
                f"Received: {what}, after {user_line()}. Return a new value, or use x.detach()"
            )


def _held(specialization: Specialization) -> Held:
    for buffer in specialization.inputs:
        yield "recordings", buffer.backend, buffer.data
    yield "recordings", specialization.backend, sum(v.program.nbytes for v in specialization.traces)


holders[Specialization] = _held


def _own_copy(leaf: Any) -> Tensor:
    """Return a tensor that is the buffer of this argument in every call."""
    value = tensor(leaf)
    return Tensor(value.backend.asarray(value.data, copy=True), value.backend)
