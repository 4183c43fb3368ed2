"""What is noted while `nnlib.compile` records a function of tensors.

The backend's recorder writes down what is computed.  Here stands what that depends on besides the
function's arguments: tensors from outside with their arrays, layers, their parts and their mode,
gradients that were there already.  A recording is only replayed while all of that is as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from operator import attrgetter, is_
from typing import Any, NoReturn

from nnlib.errors import CaptureError
from nnlib_backends import Backend
from nnlib_backends.base import Array, Tracer, write_scalars
from nnlib_backends.common.trace import is_plain, same_value
from nnlib_backends.user_line import user_line

__all__ = ["Guards", "current", "perform", "refuse_reading", "repeated", "scalar_inputs"]

_current: ContextVar[Guards | None] = ContextVar("nnlib_recording", default=None)
current: Callable[[], Guards | None] = _current.get

_data, _node = attrgetter("data"), attrgetter("node")
_hooks, _members = attrgetter("hooks"), attrgetter("_members")


class Guards:
    """What a recording depends on, and what it leaves behind besides its results.

    Parameters
    ----------
    backend : Backend
        Where everything is computed.
    tracer : Tracer
        Of that backend.
    arguments : sequence of Tensor
        Where the function's arguments are: always the same arrays.
    first_node : int
        Nodes of the graph from this number on are made while recording.

    Attributes
    ----------
    names : set of str
        Names in the code that ran, if ``names_known``: no other attribute of a layer was read.
    unrepeatable : str
        What was done that a replay cannot do, if anything.
    """

    def __init__(
        self,
        backend: Backend,
        tracer: Tracer,
        arguments: Sequence[Any] = (),
        first_node: int = 0,
    ) -> None:
        self.backend, self.tracer = backend, tracer
        self.names: set[str] = set()
        self.names_known = True
        self.unrepeatable = ""
        self._arguments = {id(tensor.data) for tensor in arguments}
        self._first_node = first_node
        self._made: dict[int, Any] = {}  # tensors by id
        self._tensors: dict[int, tuple[Any, Array, Any]] = {}
        self._modules: dict[int, tuple[Any, object, dict[str, Any]]] = {}
        self._guards: list[Callable[[], bool]] = []
        self._found_grads: dict[Any, Any] = {}  # node → its grad, where that mattered
        self.left_grads: dict[Any, None] = {}  #: nodes whose grad was set
        self.streams: dict[int, Any] = {}  #: generators that replays draw from
        self.changed: dict[int, list[int]] = {}  #: version counters of changed tensors

    def __enter__(self) -> Guards:
        self._token = _current.set(self)
        self.tracer.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.tracer.__exit__(*error)
        _current.reset(self._token)
        del self.tracer  # what it knows is in the recording now
        self._made.clear()

    # Noting ------------------------------------------------------------------------------------

    def note_tensor(self, tensor: Any) -> None:
        """A tensor is computed with that may come from outside."""
        if tensor.backend is not self.backend:
            raise CaptureError(
                f"a compiled function computes on one backend, {self.backend.name!r} here. "
                f"Received: a tensor on {tensor.backend.name!r}, in {user_line()}"
            )
        self.note_read(tensor)

    def note_read(self, tensor: Any) -> None:
        """What happens depends on which array a tensor has, or on its requiring a gradient."""
        if id(tensor) in self._tensors or id(tensor) in self._made:
            return
        own = tensor.backend is self.backend
        if own and (id(tensor.data) in self._arguments or self.tracer.made(tensor.data)):
            return
        self._tensors[id(tensor)] = (tensor, tensor.data, tensor.node)

    def note_made(self, tensor: Any) -> None:
        """A tensor was made while recording, of an array from outside: a gradient at home."""
        self._made[id(tensor)] = tensor

    def note_module(self, module: Any) -> None:
        """A layer is used: what happens depends on its attributes, its mode and parts included."""
        if id(module) not in self._modules:
            for part in module.modules():  # lists of layers, too, which nobody calls
                row = (part, part._members, dict(vars(part)))
                self._modules.setdefault(id(part), row)

    def note_guard(self, guard: Callable[[], bool]) -> None:
        """The recording is only right while ``guard()`` is true."""
        self._guards.append(guard)

    def note_grad_read(self, node: Any) -> None:
        """What happens depends on a node's gradient as it is now."""
        if node not in self.left_grads and node.number < self._first_node:
            self._found_grads.setdefault(node, node.grad)

    def note_grad_written(self, node: Any) -> None:
        """A node's gradient is replaced."""
        if node.number < self._first_node:
            self.left_grads[node] = None

    def note_change(self, cell: list[int]) -> None:
        """A tensor is changed in place."""
        self.changed[id(cell)] = cell

    def note_stream(self, generator: Any) -> None:
        """Random numbers are drawn, in replays too."""
        self.streams[id(generator)] = generator

    def note_unrepeatable(self, what: str) -> None:
        """Something is done that a replay would not do."""
        self.unrepeatable = self.unrepeatable or f"{user_line()}: {what}"

    # Using -------------------------------------------------------------------------------------

    def changes(self) -> Iterator[str]:
        """Say which tensors and layers are not as they were when they were used first."""
        for tensor, array, node in self._tensors.values():
            if tensor.data is not array or tensor.node is not node:
                what = "array" if tensor.data is not array else "requires_grad"
                yield f"a tensor of shape {tensor.shape} has another {what}"
        for module, _, before in self._modules.values():
            for name in self._changed_attributes(module, before):
                then, now = before.get(name, "nothing"), vars(module).get(name, "nothing")
                text = f"{type(module).__name__}.{name}"
                plain = is_plain(then) and is_plain(now)
                yield f"{text} was {then!r} and is {now!r}" if plain else f"{text} has changed"

    def _changed_attributes(self, module: Any, before: dict[str, Any]) -> Iterator[str]:
        """Yield the attributes of a layer that matter and have changed."""
        now = vars(module)
        for name in now if now.keys() == before.keys() else {**before, **now}:
            then, value = before.get(name, _NOTHING), now.get(name, _NOTHING)
            if name != "_members" and not same_value(then, value):
                parts = (
                    hasattr(type(v), "node") or hasattr(type(v), "named_modules")
                    for v in (then, value)
                )
                if not self.names_known or name in self.names or name in _ALWAYS or any(parts):
                    yield name

    def freeze(self, also: Callable[[], bool] | None = None) -> Callable[[], bool]:
        """Return a function that tells whether all is still as it was noted, and ``also`` holds."""
        tensors, arrays, nodes = _columns(self._tensors.values(), 3)
        modules, marked, attributes = _columns(self._modules.values(), 3)
        marks = list(marked)
        leaves = [node for node in nodes if node is not None]
        hooks = [node.hooks for node in leaves]
        guards = self._guards if also is None else [*self._guards, also]
        grads = [(node, None if g is None else g.data) for node, g in self._found_grads.items()]

        def holds() -> bool:  # at every replay: no generator where a loop will do
            if not (
                all(map(is_, map(_data, tensors), arrays))
                and all(map(is_, map(_node, tensors), nodes))
                and (all(map(is_, map(_members, modules), marks)) or unchanged())
                and all(map(is_, map(_hooks, leaves), hooks))
            ):
                return False
            for node, array in grads:
                grad = node.grad
                if (None if grad is None else grad.data) is not array:
                    return False
            for guard in guards:  # noqa: SIM110
                if not guard():
                    return False
            return True

        def unchanged() -> bool:
            now = list(map(_members, modules))
            for module, before in zip(modules, attributes, strict=True):
                if any(self._changed_attributes(module, before)):
                    return False
            marks[:] = now
            return True

        return holds


_NOTHING = object()
_ALWAYS = ("training", "_hooks", "_pre_hooks")  # attributes that every call of a layer reads


def _columns(rows: Any, count: int) -> tuple[tuple[Any, ...], ...]:
    return tuple(zip(*rows, strict=True)) or ((),) * count


def repeated(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call a function that makes arrays of what is no tensor; a replay calls it again.

    Examples
    --------
    >>> repeated(max, 1, 2)  # without a trace: only the call
    2
    """
    tracing = current()
    if tracing is None:
        return function(*args, **options)
    return tracing.tracer.compute(function, *args, **options)


def perform(function: Callable[..., None], *args: Any, **options: Any) -> None:
    """Call a function that changes arrays in place; a replay calls it again.

    Examples
    --------
    >>> values = [1]
    >>> perform(values.append, 2)  # without a trace: only the call
    >>> values
    [1, 2]
    """
    tracing = current()
    if tracing is None:
        function(*args, **options)
    else:
        tracing.tracer.call(function, *args, **options)


def scalar_inputs(into: Any, function: Callable[..., Any], *args: Any, dtype: Any) -> Any:
    """Return numbers that change from step to step; a replay gets the new ones first.

    Parameters
    ----------
    into : array or list
        With room for them.
    function : callable
        ``function(*args)`` computes them on the host.
    dtype : dtype
        Of the array that a recording on a device makes of them.

    Returns
    -------
    array or list
        With the numbers: ``into``, unless a recording has an array of its own for them.

    Examples
    --------
    >>> scalar_inputs([0, 0], divmod, 7, 3, dtype="float32")  # without a trace: only the call
    [2, 1]
    """
    tracing = current()
    if tracing is not None:
        return tracing.tracer.scalar_inputs(function, *args, dtype=dtype)
    write_scalars(into, function, args)
    return into


def refuse_reading(what: str) -> None:
    """Refuse to hand a value to Python while recording: replays would not look at it again.

    Raises
    ------
    CaptureError
        If something is being recorded.
    """
    if current() is not None:
        _refuse(what)


def _refuse(what: str) -> NoReturn:
    raise CaptureError(
        f"{what} reads a value, and a compiled function must not depend on values: it runs as it "
        f"was recorded. Received: {user_line()}. Return the tensor and read it outside, use "
        "nnlib.where instead of a branch, or do not compile (Trainer: compile=False)"
    )
