"""`nnlib.compile`: run a function once, then replay what it computed."""

from __future__ import annotations

import functools
import inspect
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from operator import attrgetter
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, cast

from nnlib.autograd import Tensor, tensor
from nnlib.autograd.autocast import precision
from nnlib.autograd.mode import is_grad_enabled
from nnlib.errors import CaptureError, CaptureWarning
from nnlib.jit.nested import Leaves, bare, rebuilt, take_apart
from nnlib.jit.specialization import Specialization
from nnlib.jit.trace import Trace
from nnlib.memory import out_of_memory
from nnlib.tracing import current
from nnlib_backends import Backend, get_backend
from nnlib_backends.base import Array
from nnlib_backends.locks import lock_of_an_object
from nnlib_backends.user_line import lines_up

__all__ = ["Changes", "Compiled", "compile"]

P = ParamSpec("P")
R = TypeVar("R")

_MOST_KINDS = 256
_REPLAYS_UNCHECKED = 100  # at most, where checks are asked for


class Changes(Protocol):
    """What a function changes, so that a replay can be checked against the function itself."""

    def state(self) -> dict[str, Array] | None:
        """Copy all that it changes, by name; None if there is no room for that."""

    def restore(self, state: dict[str, Array]) -> None:
        """Put a copy back."""


class Compiled(Generic[P, R]):
    """A function of tensors that is recorded and replayed; made by `compile`.

    Pickled or copied it is the compiled function without its recordings.
    """

    def __init__(self, function: Callable[P, R], changes: Changes | None = None) -> None:
        if any(is_lazy(function) for is_lazy in _LAZY):
            raise CaptureError(
                "a compiled function must compute when it is called. Received: a generator or "
                f"coroutine function, {function!r}. Compile what it calls"
            )
        self.function = function
        functools.update_wrapper(self, function)
        self.uncompiled = ""  #: why the function runs as it is, if it does
        self._changes = changes
        self._kinds: dict[Any, Specialization] = {}
        self._lock = lock_of_an_object()  # recordings have one memory each

    def __call__(self, *args: P.args, **options: P.kwargs) -> R:
        """Compute the function."""
        if current() is not None:  # inside another compiled function: part of its recording
            return self.function(*args, **options)
        if self.uncompiled:
            return cast("R", self._as_it_is(args, options))
        leaves: Leaves = []
        modes = (is_grad_enabled(), precision(), get_backend())
        positional = take_apart(args, leaves)
        named = take_apart(options, leaves) if options else None
        rest = (modes, positional, named, _repeated(leaves))
        with self._lock:
            specialization = self._kinds.get(rest)
            if specialization is None:
                if len(self._kinds) >= _MOST_KINDS:
                    last = next(reversed(self._kinds))
                    self._give_up(
                        _TOO_MANY.format(specializations=_MOST_KINDS, what=_unlike(last, rest))
                    )
                    return cast("R", self._as_it_is(args, options))
                specialization = self._kinds[rest] = Specialization(
                    self.function, args, options, leaves
                )
            try:
                result = cast("R", self._run(specialization, args, options, leaves))
            except MemoryError as error:
                self._forget(rest)  # arguments and recordings of a size that does not fit
                what = f"the function {self!r}"
                raise out_of_memory(error, specialization.backend, what) from None
            if specialization.problem:
                self._give_up(specialization.problem)
            return result

    def _run(self, specialization: Specialization, args: Any, options: Any, leaves: Leaves) -> Any:
        specialization.fill(leaves)
        for trace in specialization.traces:
            if trace.holds():
                break
        else:
            trace = None
        if trace is None or not trace.confirmed:
            tracer = specialization.backend.tracer()
            if tracer is None:
                return self._as_it_is(args, options)
            result = specialization.make_trace(tracer, trace, leaves)
            for other in specialization.traces:
                other.check_due |= self._changes is not None and not other.checks
            return result
        if trace.check_due:
            return self._check_replay(specialization, trace, args, options, leaves)
        return specialization.replay(trace, leaves)

    def _as_it_is(self, args: Any, options: Any) -> Any:
        """Call the function itself; arrays arrive as tensors here, too."""
        leaves: Leaves = []
        take_apart((args, options), leaves)
        if not all(isinstance(leaf, Tensor) for leaf in leaves):
            args, options = rebuilt((args, options), tensor)
        return rebuilt(self.function(*args, **options), _detached)

    def _check_replay(
        self, specialization: Specialization, trace: Trace, args: Any, options: Any, leaves: Leaves
    ) -> Any:
        """Replay, go back, call the function itself, and give up if it does something else."""
        assert self._changes is not None
        trace.check_due, trace.checks = False, trace.checks + 1
        trace.checked_at = specialization.replayed
        before = self._changes.state()
        if before is None:
            return specialization.replay(trace, leaves)
        places = [g.state_dict() for g in trace.streams]
        changed = [leaves[i] for i in trace.changed_inputs]
        arguments = [bare(leaf).copy() for leaf in changed]

        def found(result: Any) -> dict[str, Any]:
            values: Leaves = []
            take_apart(result, values)
            named = {f"result {i}": value.data for i, value in enumerate(values)}
            named |= {f"changed argument {i}": bare(v).copy() for i, v in enumerate(changed)}
            streams = {f"random stream {i}": g.state_dict() for i, g in enumerate(trace.streams)}
            return named | streams | ((self._changes and self._changes.state()) or {})

        these = found(specialization.replay(trace, leaves))
        self._changes.restore(before)
        for leaf, value in zip(changed, arguments, strict=True):
            bare(leaf)[...] = value
        for generator, place in zip(trace.streams, places, strict=True):
            generator.load_state_dict(place)
        result = self._as_it_is(args, options)
        those = found(result)
        unlike = _unequal(specialization.backend, these, those)
        if unlike:
            self._give_up(
                "a replay computed something else than the function itself. It differs in "
                f"{', '.join(unlike[:4])}. What the function reads has changed in a way that "
                "recordings do not see"
            )
        return result

    def check_replays(self) -> None:
        """Have the next replay of every recording checked against the function itself.

        Where that is asked for often, the first times count, and then every hundred replays.
        """
        with self._lock:
            for specialization in self._kinds.values():
                for trace in specialization.traces:
                    often = specialization.replayed - trace.checked_at >= _REPLAYS_UNCHECKED
                    trace.check_due = self._changes is not None and (often or trace.checks < 10)

    def _give_up(self, why: str) -> None:
        """Run the function as it is from now on, and warn once."""
        self.uncompiled = why
        for rest in list(self._kinds):
            self._forget(rest)
        warnings.warn(
            f"{self!r} runs uncompiled from now on: {why}. See nnlib.compile for what a compiled "
            "function may do; Trainer(…, compile=False) and calling the function itself are silent",
            CaptureWarning,
            stacklevel=lines_up(),
        )

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Pickle as the function is: by name, or what it is a method of; without recordings."""
        name = getattr(self.function, "__qualname__", "")
        module = sys.modules.get(getattr(self.function, "__module__", None) or "")
        with suppress(AttributeError):
            if attrgetter(name)(module) is self:  # it stands where the function stood
                return str(name)
        return type(self), (self.function,)

    def __deepcopy__(self, memo: dict[int, Any]) -> Compiled[P, R]:
        return type(self)(deepcopy(self.function, memo))

    def _forget(self, rest: Any) -> None:
        specialization = self._kinds.pop(rest, None)
        for trace in () if specialization is None else specialization.traces:
            trace.release()

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """Be a method: ``self`` is an argument, by identity."""
        return self if instance is None else functools.partial(self, instance)

    @property
    def memory_bytes(self) -> int:
        """Memory that all recordings hold for themselves, in bytes."""
        return sum(v.program.nbytes for k in self._kinds.values() for v in k.traces)

    def profile(self, repeats: int = 10) -> list[tuple[str, int, float]]:
        """Replay the recording that was made last piece by piece, and see where the time goes.

        The function's effects happen at each replay: a training step trains.

        Parameters
        ----------
        repeats : int
            How many replays to take the median of.

        Returns
        -------
        list of (str, int, float)
            Name of a kernel or Python function, how often it is called in one replay, and seconds
            of these calls together; the longest first.

        Raises
        ------
        CaptureError
            If nothing was recorded yet.

        Examples
        --------
        >>> import nnlib
        >>> double = nnlib.compile(lambda x: x + x)
        >>> results = [double(nnlib.ones(3)) for _ in range(2)]
        >>> [(name, count) for name, count, _ in double.profile()]
        [('combine', 1)]
        """
        with self._lock:
            traces = [v for specialization in self._kinds.values() for v in specialization.traces]
            if not traces:
                raise CaptureError("a profile needs a recording. Call the function first")
            totals: dict[str, tuple[int, float]] = {}
            for name, _, seconds in traces[-1].program.profile(repeats):
                count, total = totals.get(name, (0, 0.0))
                totals[name] = (count + 1, total + seconds)
        rows = [(name, count, seconds) for name, (count, seconds) in totals.items()]
        return sorted(rows, key=lambda row: -row[2])

    def clear(self) -> None:
        """Forget all recordings and give their memory back; the next call records anew."""
        with self._lock:
            for rest in list(self._kinds):
                self._forget(rest)
            self.uncompiled = ""

    def __repr__(self) -> str:
        return f"<compiled {getattr(self.function, '__qualname__', self.function)!s}>"


_LAZY = (
    inspect.isgeneratorfunction,
    inspect.iscoroutinefunction,
    inspect.isasyncgenfunction,
)
_TOO_MANY = (
    "it would be traced anew for more than {specializations} shapes, dtypes and Python values "
    "among its arguments, the last one with {what}. Give numbers that change as tensors, and pad "
    "shapes to a few sizes"
)


def _unequal(backend: Backend, these: dict[str, Any], those: dict[str, Any]) -> list[str]:
    """Return the names of the arrays and other values that differ in a bit."""
    xp, unlike, flags = backend.xp, [], {}
    for name in {**these, **those}:
        one: Any = these.get(name)
        other: Any = those.get(name)
        arrays = hasattr(one, "dtype") + hasattr(other, "dtype")
        if arrays < 2:
            unlike += [] if one is other or (not arrays and one == other) else [name]
        elif one.dtype != other.dtype or one.shape != other.shape:
            unlike.append(name)
        elif one.size:
            bits = f"u{one.dtype.itemsize}"
            flags[name] = (one.view(bits) != other.view(bits)).any()
    if flags:  # read at once
        found = backend.to_numpy(xp.stack([backend.asarray(flag) for flag in flags.values()]))
        unlike += [name for name, flag in zip(flags, found, strict=True) if flag]
    return unlike


def _repeated(leaves: Leaves) -> tuple[int, ...] | None:
    """Say which arguments are one object."""
    if len(leaves) < 2 or len(set(map(id, leaves))) == len(leaves):
        return None
    first: dict[int, int] = {}
    return tuple([first.setdefault(id(leaf), i) for i, leaf in enumerate(leaves)])


def _unlike(one: Any, other: Any) -> str:
    """Say where two kinds of arguments differ."""
    if isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
        if len(one) == 2 and isinstance(one[0], type) and one[0] is other[0]:
            return f"{other[1]!r} instead of {one[1]!r}"
        pairs = [pair for pair in zip(one, other, strict=True) if pair[0] != pair[1]]
        if pairs:
            return _unlike(*pairs[0])
    return f"{other!r} instead of {one!r}"


def _detached(value: Any) -> Tensor:
    return tensor(value).detach()


def compile(function: Callable[P, R]) -> Compiled[P, R]:
    """Make a function of tensors fast: record what it computes, then replay that.

    The function runs as it is at the first two calls with arguments of a kind (shapes, dtypes,
    Python values); what it computes is written down, and compared the second time.  From the third
    call on nothing of it runs in Python: the recorded calls are replayed one after the other, on
    memory that is taken once, with the same results bit by bit.  A whole training step can be
    compiled: forward, loss, ``backward()``, clipping, ``optimizer.step()``.

    Parameters
    ----------
    function : callable
        Takes and returns tensors (in tuples, lists, dicts).  Arrays among its arguments arrive as
        tensors; what it returns is detached from the graph.  Parameters, and other tensors that it
        uses without getting them as arguments, are used with the values that they have at each
        call.  Other Python values are part of what is recorded: each new one makes a new recording.

    Returns
    -------
    Compiled
        To be called like the function.  ``memory_bytes`` and ``clear()`` are for its recordings.

    Raises
    ------
    CaptureError
        When called, if the function reads a tensor's value (``float(loss)``, ``if x > 0``), changes
        a list or dict among its arguments, or is a generator.  The text names the line.

    Warns
    -----
    CaptureWarning
        If what the function does cannot be recorded; it runs as it is from then on, with the right
        results, and the warning comes once.  The text names the line.

    Notes
    -----
    Before a replay all is looked at again that the function read: the mode and attributes of
    layers, variables of closures and modules, attributes of objects, items of lists and dicts
    (up to 256), options of the optimizer, which parameters are trained, hooks.  If something has
    changed, the function is recorded anew; if that happens so often that recording does not pay, it
    runs uncompiled, with a warning.  So does a function that changes such a value itself (a
    counter, a state that is assigned), draws random numbers from another generator than nnlib's,
    takes from an iterator, asks for the time, or computes with ``tensor.data``.

    Python code runs while recording only: a ``print``, or numbers appended to a list, do nothing in
    a replay.  What a library, a file or a C function returns is not looked at again, nor what is in
    longer lists and larger arrays.  An argument
    that is changed in place is changed for the caller; results have memory of their own.  In a
    replay gradients are left in the same arrays: copy a gradient that shall outlive the next call.
    On a backend that cannot record, the function runs as it is.

    Examples
    --------
    >>> import nnlib
    >>> from nnlib import nn, optim
    >>> _ = nnlib.manual_seed(0)
    >>> model = nn.Linear(1, 1)
    >>> optimizer = optim.SGD(model.parameters(), lr=0.1)
    >>> @nnlib.compile
    ... def train_step(x, y):
    ...     optimizer.zero_grad()
    ...     loss = ((model(x) - y) ** 2).mean()
    ...     loss.backward()
    ...     optimizer.step()
    ...     return loss
    >>> x = nnlib.tensor([[0.0], [1.0], [2.0]])
    >>> losses = [train_step(x, 2 * x + 1) for _ in range(200)]
    >>> bool(losses[-1] < 1e-4)
    True
    """
    return Compiled(function)
