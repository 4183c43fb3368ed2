"""The interface of a backend.

A backend says where arrays live and which functions compute with them.  All of nnlib's operations
are defined in terms of `Backend.xp`, a namespace with NumPy's names; `Backend.kernels` has faster
implementations of some of them.

To add a backend, subclass `Backend`, and register a function that makes it, either with
`nnlib_backends.register_backend` or by an entry point in the group ``nnlib.backends``.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np

Array: TypeAlias = Any  #: an array of some backend: numpy.ndarray, cupy.ndarray, …

IGNORED = -(2**31)  #: label of a row that does not count: its loss and its gradient are 0


class GradOut:
    """Where the gradient of one argument goes.

    Parameters
    ----------
    array : array, optional
        Destination of the argument's shape and dtype, C-contiguous.  Without one, a kernel returns
        the gradient in any array.
    accumulate : bool
        Whether to add the gradient to the contents of the array; otherwise they are overwritten.

    Examples
    --------
    >>> import numpy as np
    >>> total = np.ones(2)
    >>> GradOut(total, accumulate=True).store(np.array([1.0, 2.0])) is total
    True
    >>> total
    array([2., 3.])
    """

    __slots__ = ("accumulate", "array")

    def __init__(self, array: Array | None = None, accumulate: bool = False) -> None:
        self.array, self.accumulate = array, accumulate

    def store(self, value: Array) -> Array:
        """Store a gradient in the array, if there is one; return the array or the gradient."""
        array = self.array
        if array is None:
            return value
        if self.accumulate:
            array += value
        elif array is not value:
            array[...] = value
        return array


ANYWHERE = GradOut()  #: the gradient is needed, in any array

GradsOut: TypeAlias = "Sequence[GradOut | None]"  #: ``None`` for a gradient that is not needed


def anywhere(needed: Iterable[Any]) -> GradsOut:
    """Return the ``grads_out`` of a backward pass: `ANYWHERE` where a gradient is needed.

    Examples
    --------
    >>> anywhere([True, False]) == (ANYWHERE, None)
    True
    """
    return tuple([ANYWHERE if one else None for one in needed])


@dataclass(frozen=True)
class KernelPair:
    """A faster way to compute one fused operation and its gradient.

    Attributes
    ----------
    forward : callable
        ``forward(*arrays, **static) -> (y, saved)``: the result, which shares no memory with an
        argument, and the values besides the inputs that `backward` uses (``None`` if there are
        none).  Or ``NotImplemented`` for unsupported arrays or options: then the definition
        computes.
    backward : callable
        ``backward(g, saved, grads_out, *arrays, **static) -> sequence``: one gradient for each
        array argument, stored as its `GradOut` in ``grads_out`` says.  Where that is ``None`` the
        gradient is not needed and may be ``None``.
    half : bool
        Whether it takes data of 16 bits beside parameters of float32, see `nnlib_backends.dtypes`.
    writes : bool
        Whether `backward` can write into the arrays of ``grads_out``.  If not, it gets none, and
        the engine copies its results.
    accumulates : bool
        Whether it can also add gradients to such arrays.

    Examples
    --------
    >>> import numpy as np
    >>> def backward(g, saved, grads_out, x):
    ...     return (g * saved,)
    >>> relu = KernelPair(lambda x: (np.maximum(x, 0), x > 0), backward)
    >>> y, saved = relu.forward(np.array([-1.0, 2.0]))
    >>> relu.backward(np.ones(2), saved, [ANYWHERE], None)
    (array([0., 1.]),)
    """

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    half: bool = False
    writes: bool = False
    accumulates: bool = False


Kernel = KernelPair  #: the earlier name


@dataclass(frozen=True)
class PrimitiveKernel:
    """A faster implementation of a primitive and of its derivative rules.

    Each function may return ``NotImplemented``; then the primitive computes.

    Attributes
    ----------
    forward : callable
        ``forward(*arrays, **options) -> y``.
    rules : mapping
        Name of an array argument → ``rule(g, *kept) -> gradient``, with the values that the
        primitive's rule for that argument keeps.
    half : bool
        Whether it takes data of 16 bits, see `nnlib_backends.dtypes`.

    Examples
    --------
    >>> import numpy as np
    >>> tanh = PrimitiveKernel(np.tanh, {"x": lambda g, y: g * (1 - y * y)})
    >>> tanh.rules["x"](1.0, tanh.forward(0.0))
    np.float64(1.0)
    """

    forward: Callable[..., Any]
    rules: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    half: bool = False


@dataclass(frozen=True)
class DeviceInfo:
    """Description of a backend's device.

    Attributes
    ----------
    kind : str
        ``"cpu"`` or ``"gpu"``.
    name : str
        Product name.
    cores : int
        Usable CPU cores, or streaming multiprocessors of a GPU.
    memory_bytes : int
        Memory of the device.
    libraries : dict
        Name → version of the numerical libraries.
    details : dict
        Further facts for a bug report (BLAS threads, compute capability, …).
    missing : dict
        Optional library without which the backend is slower → why it cannot be used.
    remedy : str
        The command that installs the missing libraries.

    Examples
    --------
    >>> DeviceInfo(kind="cpu", name="Example CPU", cores=2, memory_bytes=8 << 30).cores
    2
    """

    kind: str
    name: str
    cores: int
    memory_bytes: int
    libraries: dict[str, str] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    remedy: str = ""


@dataclass(frozen=True)
class MemoryInfo:
    """Memory usage.

    Attributes
    ----------
    used : int
        Bytes in use by this process.
    peak : int
        Largest ``used`` since the last reset.
    free : int
        Bytes that can still be allocated.
    cached : int
        Unused bytes in the memory pool, if there is one.

    Examples
    --------
    >>> MemoryInfo(used=100, peak=300, free=700).peak
    300
    """

    used: int
    peak: int
    free: int
    cached: int = 0


def write_scalars(target: Any, function: Callable[..., Any], args: tuple[Any, ...] = ()) -> None:
    """Write the numbers that a function returns into an array or list, one by one.

    Examples
    --------
    >>> numbers = [0, 0]
    >>> write_scalars(numbers, divmod, (7, 3))
    >>> numbers
    [2, 1]
    """
    for i, number in enumerate(function(*args)):
        target[i] = number


class Tracer(ABC):
    """Traces the computations inside its ``with`` block; they are also carried out."""

    @abstractmethod
    def __enter__(self) -> Tracer:
        """Begin tracing."""

    @abstractmethod
    def __exit__(self, *_: object) -> None:
        """End tracing."""

    @abstractmethod
    def compute(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call a function that returns new arrays or views, now and in every replay."""

    @abstractmethod
    def call(self, function: Callable[..., None], *args: Any, **options: Any) -> None:
        """Call a function that reads arrays or changes them in place, now and in every replay."""

    @abstractmethod
    def scalar_inputs(self, function: Callable[..., Any], *args: Any, dtype: Any) -> Array:
        """Return an array into which every replay writes the numbers that a function returns.

        The function runs on the host, now and before each replay.

        Parameters
        ----------
        function : callable
            ``function(*args)``: a sequence of numbers; must not read arrays of a device.
        dtype : dtype
            Of the array.

        Returns
        -------
        array
        """

    @abstractmethod
    def made(self, array: Array) -> bool:
        """Tell whether an array was made while tracing, or is a view of one that was."""

    @abstractmethod
    def finish(self, results: Sequence[Array]) -> Program:
        """Return the program, in which ``results`` hold their values after each replay."""


class Program(ABC):
    """A trace made ready to run.

    Attributes
    ----------
    nbytes : int
        Memory that the program allocates.
    """

    nbytes: int

    @abstractmethod
    def replay(self) -> None:
        """Run the program with the present values of the arrays from outside."""

    @abstractmethod
    def results(self) -> list[Array]:
        """Return the arrays that hold the results of a replay, always the same ones."""

    def profile(self, repeats: int) -> list[tuple[str, str, float]]:
        """Replay call by call; return title, user's line and median seconds of each."""
        return []

    @abstractmethod
    def difference(self, other: Program) -> str | None:
        """Describe the first difference from another trace of the same function, if any."""

    def release(self) -> None:  # noqa: B027 - where dropping the object is enough
        """Free all resources; the program cannot be replayed afterwards."""


class Inputs:
    """Arrays of fixed address, into which a compiled function's arguments are copied.

    Parameters
    ----------
    backend : Backend
    arrays : sequence of array

    Examples
    --------
    >>> from nnlib_backends import load_backend
    >>> backend = load_backend("numpy")
    >>> x = backend.xp.zeros(2)
    >>> backend.inputs([x]).fill([[1.0, 2.0]])
    >>> x
    array([1., 2.])
    """

    def __init__(self, backend: Backend, arrays: Sequence[Array]) -> None:
        self._backend, self._arrays = backend, list(arrays)

    def fill(self, values: Sequence[Any]) -> None:
        """Copy values: arrays of this backend, or anything that `Backend.asarray` converts."""
        for array, value in zip(self._arrays, values, strict=True):
            array[...] = value if type(value) is type(array) else self._backend.asarray(value)


class Timer:
    """Time between two points of a device's queue, in seconds.

    The base class reads the host's clock, which is right for synchronous backends; an asynchronous
    backend overrides it with device events.

    Examples
    --------
    >>> timer = Timer()
    >>> timer.start()
    >>> timer.stop()
    >>> timer.seconds() >= 0
    True
    """

    def start(self) -> None:
        """Mark the first point."""
        self._begin = time.perf_counter()

    def stop(self) -> None:
        """Mark the second point."""
        self._end = time.perf_counter()

    def seconds(self) -> float:
        """Wait until both points have passed and return the time between them."""
        return self._end - self._begin


class Backend(ABC):
    """Where arrays live and which functions compute with them.

    It has three parts: tables of what it computes faster than a definition (`kernels`,
    `primitives`, `updates`), arrays (`xp` and what converts, describes and measures them), and
    tracing (`tracer`, `inputs`).

    A backend is pickled as its name, and unpickled as that process's backend of the name.

    Attributes
    ----------
    name : str
        ``"numpy"``, ``"cupy"``, ``"cupy:1"``, …
    xp : namespace
        NumPy's function names for this backend's arrays, and the few that NumPy lacks:
        ``erf(x)``, ``ndtr(x)`` and ``sliding_window_view(x, window, axis)``; it may have
        ``add_at(a, key, values)`` if its ``add.at`` lacks dtypes or is not deterministic.
    array_type : type
        The class of its arrays.
    kernels : mapping
        Name of a fused operation → `KernelPair`.  May be empty, like the next two.
    primitives : mapping
        Name of a primitive → `PrimitiveKernel`.
    updates : mapping
        Name → function that changes arrays in place inside `scope`, or returns ``NotImplemented``
        and changes nothing, for arrays that it is not made for.  May be empty likewise.

        The names of optimizers' update rules (`nnlib.optim.UpdateRule`): may be given ``skip``, a
        0-d array; if it is not 0, nothing changes.

        ``"norm"``: ``norm(arrays)`` returns the 2-norm of all values together, a 0-d array.

        ``"clip"``: ``clip(arrays, norm, limit)`` multiplies by ``min(limit / (norm + 1e-6), 1)``;
        ``norm`` is a 0-d array.

        ``"unscale"``: ``unscale(arrays, scale, found)`` divides, and leaves 1 in ``found`` if a
        quotient is not finite; ``scale`` and ``found`` are 0-d arrays of float32.
    host_memory : bool
        Whether the host can look at a value without waiting for a device.  Where it can, values
        that must lie in a range (labels, indices) are checked; where it cannot, they are not.
    scope : context manager or None
        Reusable context in which operators on this backend's arrays must run (functions of ``xp``
        enter it by themselves).  ``None`` except for the second GPU of a process, because CUDA puts
        the result of ``a + b`` on the thread's current device.

    Examples
    --------
    >>> from nnlib_backends import load_backend
    >>> backend = load_backend("numpy")
    >>> backend.xp.zeros(2)
    array([0., 0.])
    >>> backend.owns(backend.asarray([1, 2])), backend.host_memory
    (True, True)
    """

    name: str
    xp: Any
    array_type: type
    kernels: Mapping[str, KernelPair] = {}
    primitives: Mapping[str, PrimitiveKernel] = {}
    updates: Mapping[str, Callable[..., Any]] = {}
    host_memory: bool = False
    scope: AbstractContextManager[Any] | None = None

    @abstractmethod
    def asarray(self, obj: Any, dtype: Any = None, *, copy: bool | None = None) -> Array:
        """Turn a sequence, a scalar or an array of any library into an array of this backend.

        This is the one place where data may cross from another backend.
        """

    @abstractmethod
    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        """Copy to the host."""

    @abstractmethod
    def device_info(self) -> DeviceInfo:
        """Describe the device."""

    @abstractmethod
    def memory_info(self) -> MemoryInfo:
        """Return the memory usage."""

    def memory_of(self, array: Array) -> tuple[Any, int]:
        """Return a key that identifies the memory block of an array, and its size in bytes."""
        while isinstance(array.base, self.array_type):
            array = array.base
        return id(array), array.nbytes

    def reset_peak_memory(self) -> None:  # noqa: B027 - optional: not every device can
        """Start a new peak-memory measurement, where the device can."""

    def owns(self, array: Any) -> bool:
        """Tell whether an array lives here."""
        return isinstance(array, self.array_type)

    def inside(self, array: Array, low: float, high: float) -> Callable[[], bool]:
        """Return a function that tells whether all values of an array lie in low … high now."""
        xp = self.xp
        return lambda: bool(xp.all((array >= low) & (array <= high)))

    def synchronize(self) -> None:  # noqa: B027 - a synchronous backend has nothing to do
        """Wait until the device has finished all submitted work."""

    def tracer(self) -> Tracer | None:
        """Return a new tracer; ``None`` if the backend cannot trace."""
        return None

    def inputs(self, arrays: Sequence[Array]) -> Inputs:
        """Return an object that copies values into these arrays of this backend."""
        return Inputs(self, arrays)

    def timer(self) -> Timer:
        """Return a new timer of this device."""
        return Timer()

    def release_memory(self) -> None:  # noqa: B027 - optional: a backend without a pool
        """Free cached, unused memory."""

    def __copy__(self) -> Backend:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Backend:
        return self

    def __repr__(self) -> str:
        return f"<nnlib backend {self.name!r}>"
