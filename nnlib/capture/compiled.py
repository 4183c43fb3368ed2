"""`nnlib.compile`: run a function once, then replay what it computed."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from operator import attrgetter
from typing import Any, Generic, ParamSpec, TypeVar, cast

from nnlib.autograd import Tensor, tensor
from nnlib.autograd.autocast import precision
from nnlib.autograd.mode import is_grad_enabled
from nnlib.capture.arguments import Leaves, rebuilt, take_apart
from nnlib.capture.variant import Variant, difference, record
from nnlib.errors import CaptureError
from nnlib.memory import Held, holders, out_of_memory
from nnlib.recording import current
from nnlib_backends import get_backend
from nnlib_backends.locks import lock_of_an_object
from nnlib_backends.user_line import user_line

__all__ = ["Compiled", "compile"]

P = ParamSpec("P")
R = TypeVar("R")

_MOST_VARIANTS = 4  # for one kind of arguments, each with memory of its own: modes, frozen layers
_MOST_KINDS = 256


class Compiled(Generic[P, R]):
    """A function of tensors that is recorded and replayed; made by `compile`.

    Pickled or copied it is the compiled function without its recordings.
    """

    def __init__(self, function: Callable[P, R]) -> None:
        self.function = function
        functools.update_wrapper(self, function)
        self._kinds: dict[Any, Kind] = {}
        self._lock = lock_of_an_object()  # recordings have one memory each

    def __call__(self, *args: P.args, **options: P.kwargs) -> R:
        """Compute the function."""
        if current() is not None:  # inside another compiled function: part of its recording
            return self.function(*args, **options)
        leaves: Leaves = []
        modes = (is_grad_enabled(), precision(), get_backend())
        rest = (modes, take_apart((args, options), leaves))
        with self._lock:
            kind = self._kinds.get(rest)
            if kind is None:
                if (
                    len(self._kinds) >= _MOST_KINDS
                ):  # before it is kept: the next call is refused, too
                    raise CaptureError(_TOO_MANY.format(kinds=_MOST_KINDS))
                kind = self._kinds[rest] = Kind(self.function, args, options, leaves)
            try:
                return cast("R", kind.run(leaves))
            except MemoryError as error:
                self._forget(rest)  # arguments and recordings of a size that does not fit
                what = f"the function {self!r}"
                raise out_of_memory(error, kind.backend, what) from None

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
        for variant in self._kinds.pop(rest).variants:
            variant.release()

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """Be a method: ``self`` is an argument, by identity."""
        return self if instance is None else functools.partial(self, instance)

    @property
    def memory_bytes(self) -> int:
        """Memory that all recordings hold for themselves, in bytes."""
        return sum(v.recording.nbytes for k in self._kinds.values() for v in k.variants)

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
            variants = [v for kind in self._kinds.values() for v in kind.variants]
            if not variants:
                raise CaptureError("a profile needs a recording. Call the function first")
            totals: dict[str, tuple[int, float]] = {}
            for name, _, seconds in variants[-1].recording.profile(repeats):
                count, total = totals.get(name, (0, 0.0))
                totals[name] = (count + 1, total + seconds)
        rows = [(name, count, seconds) for name, (count, seconds) in totals.items()]
        return sorted(rows, key=lambda row: -row[2])

    def clear(self) -> None:
        """Forget all recordings and give their memory back."""
        with self._lock:
            for rest in list(self._kinds):
                self._forget(rest)

    def __repr__(self) -> str:
        return f"<compiled {getattr(self.function, '__qualname__', self.function)!s}>"


_TOO_MANY = (
    "a compiled function is recorded anew for every shape, dtype and Python value among its "
    "arguments. Received: more than {kinds} different ones. Give numbers that change as tensors, "
    "and pad shapes to a few sizes"
)


class Kind:
    """What is known of a function for one kind of arguments."""

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
        self.inputs = [_own_copy(leaf) for leaf in leaves]
        self.backend = self.inputs[0].backend if self.inputs else get_backend()
        for place in self.inputs:
            if place.backend is not self.backend:
                raise CaptureError(
                    "arguments of a compiled function must be on one backend. Received: "
                    f"{self.backend.name!r} and {place.backend.name!r}, in {user_line()}"
                )
        self.static = self.backend.inputs([place.data for place in self.inputs])
        places = iter(self.inputs)
        arguments = rebuilt((args, options), lambda _: next(places))
        self.call: Callable[[], Any] = functools.partial(function, *arguments[0], **arguments[1])
        self.variants: list[Variant] = []

    def run(self, leaves: Leaves) -> Any:
        """Replay, or record if there is nothing to replay."""
        self.static.fill([leaf.data if isinstance(leaf, Tensor) else leaf for leaf in leaves])
        for variant in self.variants:
            if variant.holds():
                return variant.replay() if variant.confirmed else self._confirm(variant)
        recorder = self.backend.recorder()
        if recorder is None:
            return rebuilt(self.call(), _detached)
        variant, result = record(self.call, self.backend, recorder)
        for old in self.variants[_MOST_VARIANTS - 1 :]:
            old.release()
        self.variants = [variant, *self.variants[: _MOST_VARIANTS - 1]]
        return result

    def _confirm(self, first: Variant) -> Any:
        """Record a second time: what is the same in both recordings will not change."""
        recorder = self.backend.recorder()
        assert recorder is not None
        place = self.variants.index(first)
        again, result = record(self.call, self.backend, recorder)
        what = difference(first, again)
        first.release()
        if what is not None:
            again.release()
            del self.variants[place]
            raise CaptureError(
                "a compiled function must do the same at every call. The second time it did "
                f"something else. Received: {what}"
            )
        again.confirmed = True
        self.variants[place] = again
        return result


def _held(kind: Kind) -> Held:
    for place in kind.inputs:
        yield "recordings", place.backend, place.data
    yield "recordings", kind.backend, sum(v.recording.nbytes for v in kind.variants)


holders[Kind] = _held


def _own_copy(leaf: Any) -> Tensor:
    """Return a tensor that will hold this argument in every call."""
    value = tensor(leaf)
    return Tensor(value.backend.asarray(value.data, copy=True), value.backend)


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


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
        When called, if the function reads a tensor's value (``float(loss)``, ``if x > 0``), or does
        something else the second time: uses a Python number that has changed, or an array that was
        made without nnlib's operations.  The text names the line.

    Notes
    -----
    Python code runs while recording only: a ``print``, a counter, a list that grows do nothing in a
    replay.  A branch on something that is no argument (``if self.epoch > 5``) stays as it was
    recorded; the mode of layers (``train()``, ``eval()``) and which parameters are trained may
    change, and options of the optimizer such as ``lr``.  In a replay gradients are left in the same
    arrays: copy a gradient that shall outlive the next call.  On a backend that cannot record, the
    function runs as it is.

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
