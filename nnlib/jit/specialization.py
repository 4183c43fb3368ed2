"""What is known of a compiled function for one kind of arguments: its recordings."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from nnlib.autograd import Tensor, tensor
from nnlib.errors import CaptureError, describe
from nnlib.jit.nested import Leaves, bare, rebuilt, take_apart
from nnlib.jit.trace import Trace, difference, make_trace
from nnlib.memory import Held, holders
from nnlib_backends import get_backend
from nnlib_backends.base import Tracer
from nnlib_backends.user_line import user_line

__all__ = ["Specialization"]

_MOST_VARIANTS = 4  # for one kind of arguments, each with memory of its own: modes, frozen layers
_MOST_FAILURES = 3  # runs in a row that cannot be replayed: the first steps may set things up
_FEW_RECORDINGS = 16  # may be made, however often each is replayed


class Specialization:
    """What is known of a function for one kind of arguments.

    Attributes
    ----------
    problem : str
        Why the function cannot be replayed, once that is known.
    replayed : int
        How often it was.
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
        places = {id(leaf): _own_copy(leaf) for leaf in leaves}
        self.inputs = [places[id(leaf)] for leaf in leaves]
        self.backend = self.inputs[0].backend if self.inputs else get_backend()
        for place in self.inputs:
            if place.backend is not self.backend:
                raise CaptureError(
                    "arguments of a compiled function must be on one backend. Received: "
                    f"{self.backend.name!r} and {place.backend.name!r}, in {user_line()}"
                )
        self._arrays = [place.data for place in self.inputs]
        self._static = self.backend.inputs(self._arrays)
        own = iter(self.inputs)
        self._function, self._given = function, rebuilt((args, options), lambda _: next(own))
        self.problem = ""
        self.traces: list[Trace] = []
        self._failures = self._recorded = self.replayed = 0

    def fill(self, leaves: Leaves) -> None:
        """Bring the arguments to where recordings find them."""
        self._static.fill(list(map(bare, leaves)))

    def replay(self, trace: Trace, leaves: Leaves) -> Any:
        """Replay; leave in the arguments what was changed in place."""
        self.replayed += 1
        changes_own = trace.changes_own(leaves)
        if not trace.changed_inputs and not changes_own:
            return trace.replay()
        self._refuse_shared(trace.changed_inputs, changes_own, leaves)
        try:
            return trace.replay()
        finally:
            self._give_back(trace.changed_inputs, leaves)

    def make_trace(self, tracer: Tracer, first: Trace | None, leaves: Leaves) -> Any:
        """Run the function; what is the same in two recordings will not change."""
        arguments = rebuilt(self._given, lambda place: place)  # lists and dicts of this run
        held: Leaves = []
        before = take_apart(arguments, held)
        versions = [place.version_cell[0] for place in self.inputs]
        call = functools.partial(self._function, *arguments[0], **arguments[1])
        try:
            trace, result = make_trace(call, self.backend, tracer, self.inputs)
        except BaseException:  # the function's own: arguments are as it left them
            self._give_back(self._changed(versions), leaves)
            self._restore_places()
            raise
        changed = self._changed(versions)
        self._give_back(changed, leaves)
        self._check_arguments(before, held, arguments)
        trace.changed_inputs = changed
        self._refuse_shared(changed, trace.changes_own(leaves), leaves)
        self._recorded += 1
        what = trace.changes()
        if first is None:
            if not what and self.traces and self._changes_often():
                what = self.traces[0].changes() or "gradients are found at another place"
                self.problem = f"what it depends on changes often. Received: {what}"
            if not what:
                for old in self.traces[_MOST_VARIANTS - 1 :]:
                    old.release()
                self.traces = [trace, *self.traces[: _MOST_VARIANTS - 1]]
                return result
        else:
            what = what or first.changes() or difference(first, trace) or ""
            place = self.traces.index(first)
            first.release()
            if not what:
                self._failures = 0
                trace.confirmed = True
                self.traces[place] = trace
                return result
            del self.traces[place]
        trace.release()
        self._failures += 1
        if self._failures >= _MOST_FAILURES and not self.problem:
            self.problem = f"a compiled function must do the same at every call. Received: {what}"
        return result

    def _changes_often(self) -> bool:
        """Whether recording costs more than replaying saves."""
        return self._recorded >= _FEW_RECORDINGS and self._recorded > self.replayed

    def _changed(self, versions: list[int]) -> list[int]:
        """Return which arguments were changed in place since they had these versions."""
        now = [place.version_cell[0] for place in self.inputs]
        return [i for i, version in enumerate(versions) if now[i] != version]

    def _give_back(self, changed: list[int], leaves: Leaves) -> None:
        """Leave in the caller's arguments what the function wrote into them."""
        for i in changed:
            leaf, value = leaves[i], self._arrays[i]
            array = bare(leaf)
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
        """Refuse changes of memory that comes in twice: each argument is a copy of its own."""
        arrays = list(map(bare, leaves))
        known = [array if self.backend.owns(array) else None for array in arrays]
        shared = self.backend.xp.may_share_memory
        if changes_own or any(
            known[i] is not None
            and other is not None
            and leaf is not leaves[i]
            and shared(known[i], other)
            for i in changed
            for leaf, other in zip(leaves, known, strict=True)
        ):
            raise CaptureError(
                "an argument that a compiled function changes must not share memory with another "
                f"one, or with a tensor that it uses. Received: {user_line()}. Pass a copy"
            )

    def _restore_places(self) -> str:
        """Put arguments back to where recordings find them; say what had become of them."""
        what = ""
        for place, array in zip(self.inputs, self._arrays, strict=True):
            if place.data is not array:
                what = "another array in an argument"
            elif place.node is not None:
                what = "an argument with requires_grad set"
            place.data, place.node = array, None
        return what

    def _check_arguments(self, before: Any, held: Leaves, arguments: Any) -> None:
        """Refuse changes of arguments that no replay would make."""
        what = self._restore_places()
        leaves: Leaves = []
        after = take_apart(arguments, leaves)
        if after != before or any(a is not b for a, b in zip(leaves, held, strict=False)):
            what = what or "a list or dict among the arguments with other items"
        if what:
            raise CaptureError(
                "a compiled function may change the values of its arguments, nothing else of "
                f"them. Received: {what}, after {user_line()}. Return what is new, or use "
                "x.detach()"
            )


def _held(specialization: Specialization) -> Held:
    for place in specialization.inputs:
        yield "recordings", place.backend, place.data
    yield "recordings", specialization.backend, sum(v.program.nbytes for v in specialization.traces)


holders[Specialization] = _held


def _own_copy(leaf: Any) -> Tensor:
    """Return a tensor that will hold this argument in every call."""
    value = tensor(leaf)
    return Tensor(value.backend.asarray(value.data, copy=True), value.backend)
