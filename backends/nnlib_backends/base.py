"""What a backend must offer.

A backend is an object that says where arrays live and which functions work on them.  Everything
that nnlib computes goes through `Backend.xp`, a namespace with NumPy's names; what a backend can do
faster than a definition in those terms it lists in `Backend.kernels`.

To add a backend, subclass `Backend`, and register a function that makes it, either with
`nnlib_backends.register_backend` or by an entry point in the group ``nnlib.backends``.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np

Array: TypeAlias = Any  #: an array of some backend: numpy.ndarray, cupy.ndarray, …

IGNORED = -(2**31)  #: label of a row that does not count: its loss and its gradient are 0


@dataclass(frozen=True)
class KernelPair:
    """A faster way to compute one fused operation and its gradient.

    Attributes
    ----------
    forward : callable
        ``forward(*arrays, **static) -> (y, saved)``: the result, which shares no memory with an
        argument, and whatever `backward` wants to find again besides the inputs (``None`` if
        nothing).  Or ``NotImplemented``, for arrays or options that it is not made for: then the
        definition computes.
    backward : callable
        ``backward(g, saved, needs, *arrays, **static) -> sequence``: one gradient for each array
        argument; ``needs[i]`` says whether anybody will look at gradient ``i`` (where it is false
        the entry may be ``None``).  On a backend with `Backend.writes_gradients` ``needs[i]`` may
        also be an array (of the argument's shape and dtype, C-contiguous, its contents arbitrary):
        then gradient ``i`` is written into it, and it is what is returned.  Kernels named in
        `Backend.adds` may also get such an array in a list of one: then gradient ``i`` is *added*
        to the array, which is what is returned.

    Examples
    --------
    >>> import numpy as np
    >>> def backward(g, saved, needs, x):
    ...     return (g * saved,)
    >>> relu = KernelPair(lambda x: (np.maximum(x, 0), x > 0), backward)
    >>> y, saved = relu.forward(np.array([-1.0, 2.0]))
    >>> relu.backward(np.ones(2), saved, (True,), None)
    (array([0., 1.]),)
    """

    forward: Callable[..., Any]
    backward: Callable[..., Any]


@dataclass(frozen=True)
class PrimitiveKernel:
    """A faster way to compute one primitive and its derivative, keeping what its own rules keep.

    Each function may return ``NotImplemented`` for arrays that it is not made for; the primitive
    then computes by itself.

    Attributes
    ----------
    forward : callable
        ``forward(*arrays, **options) -> y``.
    rules : mapping
        Name of an array argument → ``rule(g, *kept) -> gradient``, with the very values that the
        primitive's rule for that argument keeps.

    Examples
    --------
    >>> import numpy as np
    >>> tanh = PrimitiveKernel(np.tanh, {"x": lambda g, y: g * (1 - y * y)})
    >>> tanh.rules["x"](1.0, tanh.forward(0.0))
    np.float64(1.0)
    """

    forward: Callable[..., Any]
    rules: Mapping[str, Callable[..., Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class DeviceInfo:
    """The device behind a backend, in words and numbers.

    Attributes
    ----------
    kind : str
        ``"cpu"`` or ``"gpu"``.
    name : str
        What the maker calls it.
    cores : int
        Usable CPU cores, or streaming multiprocessors of a GPU.
    memory_bytes : int
        Memory of the device.
    libraries : dict
        Name → version of the libraries that do the arithmetic.
    details : dict
        Anything else worth pasting into a bug report (BLAS threads, compute capability, …).
    missing : dict
        Library that the backend does without, more slowly → why it cannot be used.
    remedy : str
        The command that installs what is missing.

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
    """How much memory is used.

    Attributes
    ----------
    used : int
        Bytes in use by this process.
    peak : int
        Largest ``used`` since the last reset.
    free : int
        Bytes that could still be had.
    cached : int
        Bytes that a pool has taken and nobody uses, where there is one.

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

    Element by element, because a device would have to copy a list from the host.

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
    """Writes down what is computed inside its ``with`` block, so that it can be done again.

    Everything is computed at once, too: recording changes no result.
    """

    @abstractmethod
    def __enter__(self) -> Tracer:
        """Begin."""

    @abstractmethod
    def __exit__(self, *_: object) -> None:
        """End."""

    @abstractmethod
    def compute(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call a function that returns new arrays, or views, and do so in every replay."""

    @abstractmethod
    def call(self, function: Callable[..., None], *args: Any, **options: Any) -> None:
        """Call a function that changes arrays in place or looks at them, likewise."""

    @abstractmethod
    def scalar_inputs(self, function: Callable[..., Any], *args: Any, dtype: Any) -> Array:
        """Have a replay find new numbers that a function of the host's returns.

        The function is called now and in every replay, before the device begins.

        Parameters
        ----------
        function : callable
            ``function(*args)``: a sequence of numbers; must not look at arrays of a device.
        dtype : dtype
            Of the numbers.

        Returns
        -------
        array
            With the numbers, of the recording's own.
        """

    @abstractmethod
    def made(self, array: Array) -> bool:
        """Tell whether an array was made while recording, or looks into one that was."""

    @abstractmethod
    def finish(self, results: Sequence[Array]) -> Program:
        """Plan the memory of the replays; ``results`` must hold their values after each."""


class Program(ABC):
    """What a `Tracer` wrote down.

    Attributes
    ----------
    nbytes : int
        Memory of its own that a replay needs.
    """

    nbytes: int

    @abstractmethod
    def replay(self) -> None:
        """Do it all again, with the present values of the arrays that it did not make itself."""

    @abstractmethod
    def results(self) -> list[Array]:
        """Return the arrays in which replays leave the results, always the same ones."""

    def profile(self, repeats: int) -> list[tuple[str, str, float]]:
        """Replay piece by piece; return what each piece is, its line, and its median seconds."""
        return []

    @abstractmethod
    def difference(self, other: Program) -> str | None:
        """Say where another recording of the same function did something else."""

    def release(self) -> None:  # noqa: B027 - where dropping the object is enough
        """Give memory and everything else back at once; no replay comes after it."""


class Inputs:
    """Arrays that stay where they are, and get the values of a compiled function's arguments.

    Parameters
    ----------
    backend : Backend
        Where they are.
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
        """Copy values: arrays of this backend, or what it makes arrays of."""
        for array, value in zip(self._arrays, values, strict=True):
            array[...] = value if type(value) is type(array) else self._backend.asarray(value)


class Timer:
    """Time between two points of a device's own queue, in seconds.

    The base class reads the host's monotonic clock, right for backends that compute before they
    return.  An asynchronous backend overrides it with device events.

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
    """Where arrays live.

    Pickled it is its name: unpickling gives the backend of that name, of the process where it is
    unpickled.

    Attributes
    ----------
    name : str
        ``"numpy"``, ``"cupy"``, ``"cupy:1"``, …
    xp : namespace
        NumPy's function names for this backend's arrays, and the few that NumPy lacks:
        ``erf(x)``, ``ndtr(x)`` and ``sliding_window_view(x, window, axis)``; it may have
        ``add_at(a, key, values)``, if its ``add.at`` does not serve all dtypes, or not twice alike.
    array_type : type
        The class of its arrays.
    kernels : mapping
        Name of a fused operation → `KernelPair`.  May be empty: each has a definition in ``xp``.
    primitives : mapping
        Name of a primitive → `PrimitiveKernel`.  May be empty likewise.
    updates : mapping
        Name of an optimizer's update rule → in-place function, which may return ``NotImplemented``
        for arrays that it is not made for.  May be empty likewise.
    mixed : set of str
        Names of those of its kernels that take data of 16 bits beside parameters of float32, see
        `nnlib_backends.dtypes`.
    skips_updates : bool
        Whether its `updates` take ``skip``: a 0-d array; they change nothing if it is not 0.
    adds : set of str
        Names of those of its kernels that can add gradients to given arrays, see `KernelPair`.
    host_memory : bool
        Whether the host can look at a value without waiting for a device.  Where it can, values
        that must lie in a range (labels, indices) are checked; where it cannot, they are not.
    writes_gradients : bool
        Whether its kernels can write gradients into given arrays, see `KernelPair`.
    scope : context manager or None
        What operators on this backend's arrays must run inside (functions of ``xp`` enter it by
        themselves).  ``None`` for nearly all: only the second GPU of a process needs one, because
        CUDA puts the result of ``a + b`` on the thread's current device.  Can be entered again
        and again.

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
    mixed: frozenset[str] = frozenset()
    adds: frozenset[str] = frozenset()
    skips_updates: bool = False
    host_memory: bool = False
    writes_gradients: bool = False
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
        """Tell how much memory is used."""

    def memory_of(self, array: Array) -> tuple[Any, int]:
        """Return what tells the memory of an array from all other, and its size in bytes.

        Views have the same as the array that they look into.
        """
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

    def global_norm(self, arrays: Sequence[Array]) -> Array | None:
        """Return the 2-norm of all values of some arrays together, a 0-d array.

        ``None``, the default, where the backend has nothing faster than ``xp`` for such arrays.
        """
        return None

    def shrink(self, arrays: Sequence[Array], norm: Array, limit: float) -> bool:
        """Multiply arrays in place by ``min(limit / (norm + 1e-6), 1)``.

        ``norm`` is a 0-d array.  Returns false, the default, and does nothing where the backend has
        nothing faster than ``xp`` for such arrays.
        """
        return False

    def unscale(self, arrays: Sequence[Array], scale: Array, found: Array) -> bool:
        """Divide arrays in place by a number; leave 1 in ``found`` if a quotient is not finite.

        ``scale`` and ``found`` are 0-d arrays of float32.  Returns false, the default, and does
        nothing where the backend has nothing faster than ``xp`` for such arrays.
        """
        return False

    def synchronize(self) -> None:  # noqa: B027 - a synchronous backend has nothing to do
        """Wait until everything that was asked for is done."""

    def tracer(self) -> Tracer | None:
        """Return a recorder; ``None`` where computing cannot be recorded."""
        return None

    def inputs(self, arrays: Sequence[Array]) -> Inputs:
        """Return what brings values to these arrays of this backend."""
        return Inputs(self, arrays)

    def timer(self) -> Timer:
        """Return a new stopwatch in this device's own time."""
        return Timer()

    def release_memory(self) -> None:  # noqa: B027 - optional: a backend without a pool
        """Give cached, unused memory back to the system."""

    def __copy__(self) -> Backend:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Backend:
        return self

    def __repr__(self) -> str:
        return f"<nnlib backend {self.name!r}>"
