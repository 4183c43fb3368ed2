"""`nnlib.compile`: trace a function once, then replay the program."""

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
from nnlib.jit.nested import Leaves, array_of, flatten, map_leaves
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

_MAX_SPECIALIZATIONS = 256
_CHECK_INTERVAL = 100  # replays between two checks


class Changes(Protocol):
    """The arrays that a function changes, for checking a replay against the function itself."""

    def state(self) -> dict[str, Array] | None:
        """Copy these arrays, by name; None if they are too large."""

    def restore(self, state: dict[str, Array]) -> None:
        """Write such copies back."""


class Compiled(Generic[P, R]):
    """A function of tensors that is traced and replayed; made by `compile`.

    Pickling and copying leave out the traces.
    """

    def __init__(self, function: Callable[P, R], changes: Changes | None = None) -> None:
        if any(is_lazy(function) for is_lazy in _LAZY):
            raise CaptureError(
                "a compiled function must compute when it is called. Received: a generator or "
                f"coroutine function, {function!r}. Compile what it calls"
            )
        self.function = function
        functools.update_wrapper(self, function)
        self.uncompiled = ""  #: why the function runs uncompiled; empty if it does not
        self._changes = changes
        self._specializations: dict[Any, Specialization] = {}
        self._lock = lock_of_an_object()  # each trace has one memory for all threads

    def __call__(self, *args: P.args, **options: P.kwargs) -> R:
        """Compute the function."""
        if current() is not None:  # inside another compiled function: part of its trace
            return self.function(*args, **options)
        if self.uncompiled:
            return cast("R", self._run_uncompiled(args, options))
        leaves: Leaves = []
        modes = (is_grad_enabled(), precision(), get_backend())
        positional = flatten(args, leaves)
        named = flatten(options, leaves) if options else None
        key = (modes, positional, named, _aliases(leaves))
        with self._lock:
            specialization = self._specializations.get(key)
            if specialization is None:
                if len(self._specializations) >= _MAX_SPECIALIZATIONS:
                    what = _first_difference(next(reversed(self._specializations)), key)
                    self._give_up(_TOO_MANY.format(count=_MAX_SPECIALIZATIONS, what=what))
                    return cast("R", self._run_uncompiled(args, options))
                specialization = self._specializations[key] = Specialization(
                    self.function, args, options, leaves
                )
            try:
                result = cast("R", self._run(specialization, args, options, leaves))
            except MemoryError as error:
                self._drop(key)  # its arguments and traces do not fit into memory
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
                return self._run_uncompiled(args, options)
            result = specialization.make_trace(tracer, trace, leaves)
            for other in specialization.traces:
                other.check_due |= self._changes is not None and not other.checks
            return result
        if trace.check_due:
            return self._check_replay(specialization, trace, args, options, leaves)
        return specialization.replay(trace, leaves)

    def _run_uncompiled(self, args: Any, options: Any) -> Any:
        """Call the function itself, with arrays converted to tensors."""
        leaves: Leaves = []
        flatten((args, options), leaves)
        if not all(isinstance(leaf, Tensor) for leaf in leaves):
            args, options = map_leaves((args, options), tensor)
        return map_leaves(self.function(*args, **options), _detached)

    def _check_replay(
        self, specialization: Specialization, trace: Trace, args: Any, options: Any, leaves: Leaves
    ) -> Any:
        """Replay, restore, call the function itself, and give up if the results differ."""
        assert self._changes is not None
        trace.check_due, trace.checks = False, trace.checks + 1
        trace.checked_at = specialization.replayed
        before = self._changes.state()
        if before is None:
            return specialization.replay(trace, leaves)
        positions = [g.state_dict() for g in trace.streams]
        changed = [leaves[i] for i in trace.changed_inputs]
        arguments = [array_of(leaf).copy() for leaf in changed]

        def outcome(result: Any) -> dict[str, Any]:
            values: Leaves = []
            flatten(result, values)
            named = {f"result {i}": value.data for i, value in enumerate(values)}
            named |= {f"changed argument {i}": array_of(v).copy() for i, v in enumerate(changed)}
            streams = {f"random stream {i}": g.state_dict() for i, g in enumerate(trace.streams)}
            return named | streams | ((self._changes and self._changes.state()) or {})

        replayed = outcome(specialization.replay(trace, leaves))
        self._changes.restore(before)
        for leaf, value in zip(changed, arguments, strict=True):
            array_of(leaf)[...] = value
        for generator, position in zip(trace.streams, positions, strict=True):
            generator.load_state_dict(position)
        result = self._run_uncompiled(args, options)
        unlike = _unequal_names(specialization.backend, replayed, outcome(result))
        if unlike:
            self._give_up(
                "a replay computed something else than the function itself. It differs in "
                f"{', '.join(unlike[:4])}. A value that the function reads has changed, and no "
                "guard noticed it"
            )
        return result

    def check_replays(self) -> None:
        """Check the next replay of every trace against the function itself.

        After ten checks of a trace, further ones are at least a hundred replays apart.
        """
        with self._lock:
            for specialization in self._specializations.values():
                for trace in specialization.traces:
                    often = specialization.replayed - trace.checked_at >= _CHECK_INTERVAL
                    trace.check_due = self._changes is not None and (often or trace.checks < 10)

    def _give_up(self, why: str) -> None:
        """Run the function uncompiled from now on, and warn once."""
        self.uncompiled = why
        for key in list(self._specializations):
            self._drop(key)
        warnings.warn(
            f"{self!r} runs uncompiled from now on: {why}. See nnlib.compile for what a compiled "
            "function may do; Trainer(…, compile=False) and calling the function itself are silent",
            CaptureWarning,
            stacklevel=lines_up(),
        )

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Pickle by name, or by the function, without the traces."""
        name = getattr(self.function, "__qualname__", "")
        module = sys.modules.get(getattr(self.function, "__module__", None) or "")
        with suppress(AttributeError):
            if attrgetter(name)(module) is self:  # the decorated function
                return str(name)
        return type(self), (self.function,)

    def __deepcopy__(self, memo: dict[int, Any]) -> Compiled[P, R]:
        return type(self)(deepcopy(self.function, memo))

    def _drop(self, key: Any) -> None:
        specialization = self._specializations.pop(key, None)
        for trace in () if specialization is None else specialization.traces:
            trace.release()

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """Bind as a method: ``self`` is an argument that counts by identity."""
        return self if instance is None else functools.partial(self, instance)

    @property
    def memory_bytes(self) -> int:
        """Memory that all traces hold, in bytes."""
        return sum(v.program.nbytes for k in self._specializations.values() for v in k.traces)

    def profile(self, repeats: int = 10) -> list[tuple[str, int, float]]:
        """Measure the time of each call in a replay of the latest trace.

        Each replay has the function's side effects: a training step trains.

        Parameters
        ----------
        repeats : int
            Number of replays, of which the median is taken.

        Returns
        -------
        list of (str, int, float)
            Name of a kernel or Python function, its number of calls in one replay, and their total
            time in seconds; the longest first.

        Raises
        ------
        CaptureError
            If there is no trace yet.

        Examples
        --------
        >>> import nnlib
        >>> double = nnlib.compile(lambda x: x + x)
        >>> results = [double(nnlib.ones(3)) for _ in range(2)]
        >>> [(name, count) for name, count, _ in double.profile()]
        [('combine', 1)]
        """
        with self._lock:
            traces = [
                v
                for specialization in self._specializations.values()
                for v in specialization.traces
            ]
            if not traces:
                raise CaptureError("a profile needs a trace. Call the function first")
            totals: dict[str, tuple[int, float]] = {}
            for name, _, seconds in traces[-1].program.profile(repeats):
                count, total = totals.get(name, (0, 0.0))
                totals[name] = (count + 1, total + seconds)
        rows = [(name, count, seconds) for name, (count, seconds) in totals.items()]
        return sorted(rows, key=lambda row: -row[2])

    def clear(self) -> None:
        """Delete all traces and free their memory; the next call traces anew."""
        with self._lock:
            for key in list(self._specializations):
                self._drop(key)
            self.uncompiled = ""

    def __repr__(self) -> str:
        return f"<compiled {getattr(self.function, '__qualname__', self.function)!s}>"


_LAZY = (
    inspect.isgeneratorfunction,
    inspect.iscoroutinefunction,
    inspect.isasyncgenfunction,
)
_TOO_MANY = (
    "it would be traced anew for more than {count} shapes, dtypes and Python values "
    "among its arguments, the last one with {what}. Give numbers that change as tensors, and pad "
    "shapes to a few sizes"
)


def _unequal_names(backend: Backend, these: dict[str, Any], those: dict[str, Any]) -> list[str]:
    """Return the names of the values that are not equal bit by bit."""
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
    if flags:  # one transfer for all
        found = backend.to_numpy(xp.stack([backend.asarray(flag) for flag in flags.values()]))
        unlike += [name for name, flag in zip(flags, found, strict=True) if flag]
    return unlike


def _aliases(leaves: Leaves) -> tuple[int, ...] | None:
    """Return for each argument the first index of the same object; None if all are distinct."""
    if len(leaves) < 2 or len(set(map(id, leaves))) == len(leaves):
        return None
    first: dict[int, int] = {}
    return tuple([first.setdefault(id(leaf), i) for i, leaf in enumerate(leaves)])


def _first_difference(one: Any, other: Any) -> str:
    """Say where two keys of arguments differ first."""
    if isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
        if len(one) == 2 and isinstance(one[0], type) and one[0] is other[0]:
            return f"{other[1]!r} instead of {one[1]!r}"
        pairs = [pair for pair in zip(one, other, strict=True) if pair[0] != pair[1]]
        if pairs:
            return _first_difference(*pairs[0])
    return f"{other!r} instead of {one!r}"


def _detached(value: Any) -> Tensor:
    return tensor(value).detach()


def compile(function: Callable[P, R]) -> Compiled[P, R]:
    """Make a function of tensors fast: trace its calls, then replay them.

    In the first two calls with arguments of one kind (shapes, dtypes, Python values) the function
    runs and is traced, and the two traces are compared.  From the third call on the function does
    not run in Python: the traced calls are replayed in order, on memory that is allocated once,
    with the same results bit by bit.  A whole training step can be compiled: forward, loss,
    ``backward()``, clipping, ``optimizer.step()``.

    Parameters
    ----------
    function : callable
        Takes and returns tensors (in tuples, lists, dicts).  Arrays among its arguments are
        converted to tensors; its results are detached.  Parameters, and other tensors from outside
        that it uses, have their current values in each call.  Other Python values are constants of
        a trace: each new one needs a new trace.

    Returns
    -------
    Compiled
        Called like the function.  ``memory_bytes`` and ``clear()`` concern its traces.

    Raises
    ------
    CaptureError
        When called, if the function reads a tensor's value (``float(loss)``, ``if x > 0``), changes
        a list or dict among its arguments, or is a generator.  The text names the line.

    Warns
    -----
    CaptureWarning
        If the function cannot be replayed.  It runs uncompiled from then on, with the right
        results, and warns once.  The text names the line.

    Notes
    -----
    Each replay is guarded by the values that the function read: mode and attributes of layers,
    variables of closures and modules, attributes of objects, items of lists and dicts (up to 256),
    options of the optimizer, which parameters are trained, hooks.  If one has changed, the function
    is traced anew; if that happens so often that tracing costs more than it saves, the function
    runs uncompiled, with a warning.  So does a function that changes such a value itself (a
    counter, an assigned state), draws random numbers from a generator that is not nnlib's, advances
    an iterator, reads the clock, or computes with ``tensor.data``.

    Python code runs only while tracing: a ``print``, or appending numbers to a list, does nothing
    in a replay.  Results of libraries, files and C functions have no guard, nor have longer lists
    and larger arrays.  An argument that is changed in place is changed for the caller; each result
    has its own memory.  Replays leave gradients in the same arrays: copy a gradient that must
    outlive the next call.  On a backend without a tracer the function runs uncompiled.

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
