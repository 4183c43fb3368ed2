"""An array with the restrictions of ``cupy.ndarray``."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from strict_backend.counts import note_read, note_transfer
from strict_backend.indexing import item, set_item
from strict_backend.kernels import run

SCALARS = (bool, int, float, complex, np.number, np.bool_)


class Device(NamedTuple):
    id: int


class Memory(NamedTuple):
    ptr: int


class Flags(NamedTuple):
    """CuPy's flags, without ``writeable``."""

    c_contiguous: bool
    f_contiguous: bool
    owndata: bool


class StrictArray:
    """A NumPy array behind CuPy's rules."""

    __slots__ = ("__weakref__", "_array")
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, array: np.ndarray) -> None:
        kind, size = array.dtype.kind, array.dtype.itemsize
        known = kind in "biufc" or array.dtype.name == "bfloat16"  # as CuPy with ml_dtypes
        if not known or size > (16 if kind == "c" else 8):
            raise TypeError(f"Unsupported dtype {array.dtype}")
        self._array = array

    # What it is

    dtype = property(lambda self: self._array.dtype)
    shape = property(lambda self: self._array.shape)
    strides = property(lambda self: self._array.strides)
    ndim = property(lambda self: self._array.ndim)
    size = property(lambda self: self._array.size)
    itemsize = property(lambda self: self._array.itemsize)
    nbytes = property(lambda self: self._array.nbytes)
    T = property(lambda self: StrictArray(self._array.T))
    mT = property(lambda self: StrictArray(self._array.mT))  # noqa: N815 - NumPy's name
    real = property(lambda self: StrictArray(self._array.real))
    imag = property(lambda self: StrictArray(self._array.imag))
    device = property(lambda self: Device(0))
    data = property(lambda self: Memory(self._array.ctypes.data))

    @property
    def base(self) -> "StrictArray | None":
        base = self._array.base
        return StrictArray(base) if isinstance(base, np.ndarray) else None

    @property
    def flags(self) -> Flags:
        flags = self._array.flags
        return Flags(flags.c_contiguous, flags.f_contiguous, flags.owndata)

    def __len__(self) -> int:
        return len(self._array)

    # Reads by the host

    def get(self, stream: Any = None, order: str = "C", out: Any = None) -> np.ndarray:
        note_read()
        if out is None:
            return np.array(self._array, order=order)
        out[...] = self._array
        return out

    def item(self) -> Any:
        return self.get().item()

    def tolist(self) -> Any:
        return self.get().tolist()

    def tobytes(self, order: str = "C") -> bytes:
        return self.get().tobytes(order)

    def __bool__(self) -> bool:
        if self.size == 0:
            raise ValueError("the truth value of an empty array is ambiguous")
        return bool(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __complex__(self) -> complex:
        return complex(self.get())

    def __repr__(self) -> str:
        return repr(self.get())

    def __str__(self) -> str:
        return str(self.get())

    def __format__(self, spec: str) -> str:
        return format(self.get(), spec)

    def __reduce__(self) -> Any:
        return _from_host, (self.get(),)

    def __copy__(self) -> "StrictArray":
        return StrictArray(run(np.copy, self._array))

    def __deepcopy__(self, memo: Any) -> "StrictArray":
        return StrictArray(run(np.copy, self._array))

    # Other libraries

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        from strict_backend.namespace import NAMESPACE

        for value in inputs:
            if not isinstance(value, (*SCALARS, StrictArray, np.ndarray)):
                return NotImplemented
        function = getattr(NAMESPACE, ufunc.__name__, None)
        if function is None:
            return NotImplemented
        if "out" in options:
            (options["out"],) = options["out"]
        return (function if method == "__call__" else getattr(function, method))(*inputs, **options)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        from strict_backend.namespace import NAMESPACE

        if not all(issubclass(kind, StrictArray | np.ndarray) for kind in types):
            return NotImplemented
        where: Any = NAMESPACE
        for part in function.__module__.split(".")[1:]:
            where = getattr(where, part, None)
        found = getattr(where, function.__name__, None)
        return NotImplemented if found is None else found(*args, **options)

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.__dlpack_device__()

    # Elements

    def __iter__(self) -> Iterator["StrictArray"]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key: Any) -> "StrictArray":
        bare_key = index(key)
        # with an ellipsis a 0-d view, as in CuPy, not a copied number
        bare_key = bare_key if isinstance(bare_key, tuple) else (bare_key,)
        if not any(part is Ellipsis for part in bare_key):
            bare_key = (*bare_key, ...)
        return StrictArray(run(item, self._array, bare_key))

    def __setitem__(self, key: Any, value: Any) -> None:
        run(set_item, self._array, index(key), operand(value))

    def view(self, dtype: Any = None) -> "StrictArray":
        return StrictArray(self._array.view() if dtype is None else self._array.view(dtype))


def _from_host(array: np.ndarray) -> StrictArray:
    note_transfer()
    return StrictArray(array.copy())


def operand(value: Any) -> Any:
    """Return an operand in NumPy's form; refuse all but strict arrays and numbers."""
    if isinstance(value, StrictArray):
        return value._array
    if isinstance(value, SCALARS):
        return value
    raise TypeError(f"Unsupported type {type(value)}")


def index(key: Any) -> Any:
    """Turn a key into NumPy's.

    CuPy copies host arrays and lists among indices to the device, and reads the number of True
    values of a boolean mask, also for an assignment.
    """
    parts = key if isinstance(key, tuple) else (key,)
    bare_parts: list[Any] = []
    for part in parts:
        if isinstance(part, StrictArray):
            bare_parts.append(part._array)
        elif isinstance(part, list | tuple | np.ndarray):
            note_transfer()
            bare_parts.append(_without_arrays(part))
        else:  # int, slice, None, ...; a slice of arrays fails, because they have no __index__
            bare_parts.append(part)
    arrays = (part for part in bare_parts if isinstance(part, bool | list | tuple | np.ndarray))
    if any(np.asarray(part).dtype == bool for part in arrays):
        note_read()
    return tuple(bare_parts) if isinstance(key, tuple) else bare_parts[0]


def _without_arrays(part: Any) -> Any:
    if isinstance(part, StrictArray):
        return part._array
    return [_without_arrays(item) for item in part] if isinstance(part, list | tuple) else part
