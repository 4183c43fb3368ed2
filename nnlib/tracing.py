"""`Guards`: the state outside its arguments that a traced function depends on and changes.

The backend's tracer collects the calls; the guards hold the arrays of tensors from outside, the
attributes of layers and the gradients that existed before.  A trace is replayed only while all of
these are unchanged.
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

_current: ContextVar[Guards | None] = ContextVar("nnlib_guards", default=None)
current: Callable[[], Guards | None] = _current.get

_data, _node = attrgetter("data"), attrgetter("node")
_hooks, _members = attrgetter("hooks"), attrgetter("_members")


class Guards:
    """Conditions under which a trace may be replayed, and its side effects.

    Parameters
    ----------
    backend : Backend
        The one backend that the function computes on.
    tracer : Tracer
        Tracer of that backend.
    arguments : sequence of Tensor
        The function's arguments, whose arrays are the same in every call.
    first_node : int
        Number of the first node that is made during the trace.

    Attributes
    ----------
    names : set of str
        Names in the code that ran; if ``names_known``, no other attribute of a layer was read.
    unrepeatable : str
        An action that a replay would not repeat; empty if there is none.
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
        self._read_grads: dict[Any, Any] = {}  # node → its grad when it was read
        self.written_grads: dict[Any, None] = {}  #: nodes whose grad was set
        self.streams: dict[int, Any] = {}  #: generators that replays draw from
        self.changed: dict[int, list[int]] = {}  #: version counters of changed tensors

    def __enter__(self) -> Guards:
        self._token = _current.set(self)
        self.tracer.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.tracer.__exit__(*error)
        _current.reset(self._token)
        del self.tracer  # the trace holds its calls
        self._made.clear()

    # Adding guards -----------------------------------------------------------------------------

    def note_tensor(self, tensor: Any) -> None:
        """Guard an operand, which may come from outside."""
        if tensor.backend is not self.backend:
            raise CaptureError(
                f"a compiled function computes on one backend, {self.backend.name!r} here. "
                f"Received: a tensor on {tensor.backend.name!r}, in {user_line()}"
            )
        self.note_read(tensor)

    def note_read(self, tensor: Any) -> None:
        """Guard the array of a tensor from outside, and whether it requires a gradient."""
        if id(tensor) in self._tensors or id(tensor) in self._made:
            return
        own = tensor.backend is self.backend
        if own and (id(tensor.data) in self._arguments or self.tracer.made(tensor.data)):
            return
        self._tensors[id(tensor)] = (tensor, tensor.data, tensor.node)

    def note_made(self, tensor: Any) -> None:
        """Exempt a tensor made during the trace of an array from outside: a gradient buffer."""
        self._made[id(tensor)] = tensor

    def note_module(self, module: Any) -> None:
        """Guard the attributes of a layer and of its sublayers."""
        if id(module) not in self._modules:
            for part in module.modules():  # includes lists of layers, which are not called
                row = (part, part._members, dict(vars(part)))
                self._modules.setdefault(id(part), row)

    def note_guard(self, guard: Callable[[], bool]) -> None:
        """Add a condition that each replay checks."""
        self._guards.append(guard)

    def note_grad_read(self, node: Any) -> None:
        """Guard the gradient of a node from before the trace."""
        if node not in self.written_grads and node.number < self._first_node:
            self._read_grads.setdefault(node, node.grad)

    def note_grad_written(self, node: Any) -> None:
        """Note that the gradient of a node from before the trace is replaced."""
        if node.number < self._first_node:
            self.written_grads[node] = None

    def note_change(self, cell: list[int]) -> None:
        """Note that a tensor is changed in place."""
        self.changed[id(cell)] = cell

    def note_stream(self, generator: Any) -> None:
        """Note a generator that replays draw from, too."""
        self.streams[id(generator)] = generator

    def note_unrepeatable(self, what: str) -> None:
        """Note an action that a replay would not repeat; the first one is reported."""
        self.unrepeatable = self.unrepeatable or f"{user_line()}: {what}"

    # Checking guards ---------------------------------------------------------------------------

    def changes(self) -> Iterator[str]:
        """Describe the tensors and layers that have changed since their first use."""
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
        """Yield the attributes of a layer that have changed and may have been read."""
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
        """Return a function that checks all guards, and ``also``."""
        tensors, arrays, nodes = _columns(self._tensors.values(), 3)
        modules, marked, attributes = _columns(self._modules.values(), 3)
        marks = list(marked)
        leaves = [node for node in nodes if node is not None]
        hooks = [node.hooks for node in leaves]
        guards = self._guards if also is None else [*self._guards, also]
        grads = [(node, None if g is None else g.data) for node, g in self._read_grads.items()]

        def holds() -> bool:  # runs at every replay: loops are faster than generators here
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
    """Call a function that makes arrays; a replay calls it again.

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
    """Return numbers that change from step to step; a replay computes them anew first.

    Parameters
    ----------
    into : array or list
        Buffer for the numbers.
    function : callable
        ``function(*args)`` computes them on the host.
    dtype : dtype
        Dtype of the array that a trace on a device stores them in.

    Returns
    -------
    array or list
        The numbers: in ``into``, or in an array of the trace.

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
    """Refuse to read a tensor's value while tracing: a replay would not read it again.

    Raises
    ------
    CaptureError
        If a function is being traced.
    """
    if current() is not None:
        _refuse(what)


def _refuse(what: str) -> NoReturn:
    raise CaptureError(
        f"{what} reads a value, and a compiled function must not depend on values: replays repeat "
        f"its trace. Received: {user_line()}. Return the tensor and read it outside, use "
        "nnlib.where instead of a branch, or do not compile (Trainer: compile=False)"
    )
