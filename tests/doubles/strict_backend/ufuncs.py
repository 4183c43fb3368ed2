"""CuPy's elementwise functions: choice of the loop, dtypes and values.

CuPy uses the first loop to whose dtypes the arguments can be cast safely, see
``cupy/_core/_kernel.pyx:_Ops``; the loops are in ``cupy_names.txt``.  Results are C-contiguous.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from nnlib_backends.dtypes import LOW_DTYPES
from strict_backend.names import LOOPS

try:
    import ml_dtypes
except ImportError:
    BFLOAT16 = None
else:
    BFLOAT16 = np.dtype(ml_dtypes.bfloat16)

Array = np.ndarray[Any, Any]


class Loop(NamedTuple):
    inputs: tuple[np.dtype, ...]
    outputs: tuple[np.dtype, ...]


#: These take a Python integer beside an array of integers at its own size.
COMPARISONS = {
    "equal",
    "greater",
    "greater_equal",
    "less",
    "less_equal",
    "logical_and",
    "logical_or",
    "not_equal",
}


def find_loop(name: str, args: list[Any], dtype: Any = None) -> Loop:
    """Return CuPy's loop for arguments, or for a dtype of the result."""
    if dtype is not None:
        wanted = np.dtype(dtype)
        found = next((p for p in _loops(name) if set(p.outputs) == {wanted}), None)
    else:
        dtypes, weak = zip(*map(_kind, args), strict=True)
        found = _first(name, dtypes, weak)
    if found is None:
        raise TypeError(f"Wrong type ({dtype or dtypes}) of arguments for cupy_{name}")
    return found


@functools.cache
def _loops(name: str) -> tuple[Loop, ...]:
    texts = [text for text in LOOPS[name] if "V" not in text]  # V: structured arrays
    if BFLOAT16 is None:
        texts = [text for text in texts if "E" not in text]
    return tuple(Loop(*(tuple(map(_dtype, part)) for part in text.split("->"))) for text in texts)


def _dtype(char: str) -> np.dtype:
    return BFLOAT16 if char == "E" else np.dtype(char)


def _kind(arg: Any) -> tuple[np.dtype, type | None]:
    """Return the dtype, and the type of a Python number (a weak scalar)."""
    if isinstance(arg, np.ndarray | np.generic):
        return arg.dtype, None
    if isinstance(arg, bool):
        return np.dtype(bool), None
    if isinstance(arg, int):
        return np.dtype(np.uint64 if arg >= 1 << 63 else np.int64), int
    return np.dtype(type(arg)), type(arg)


@functools.cache
def _first(name: str, dtypes: tuple[np.dtype, ...], weak: tuple[type | None, ...]) -> Loop | None:
    scalars = [_score(kind) for kind in weak if kind]
    arrays = [_score(d.type) for d, kind in zip(dtypes, weak, strict=True) if not kind]
    if not scalars or not arrays or max(arrays) < max(scalars):
        weak = (None,) * len(weak)
    if name in COMPARISONS and set(weak) == {int, None}:
        other = dtypes[weak.index(None)]
        if other.kind in "iu":
            weak = (None, None)
    for loop in _loops(name):
        if all(map(_fits, dtypes, weak, loop.inputs)):
            return loop
    return None


def _score(kind: type) -> int:
    if issubclass(kind, np.bool_):
        return 0
    if issubclass(kind, np.integer | int):
        return 1
    return 2 if issubclass(kind, np.inexact | float | complex) else 3


def _fits(dtype: np.dtype, weak: type | None, wanted: np.dtype) -> bool:
    if np.can_cast(dtype, wanted):
        return True
    return weak is not None and np.result_type(weak(0), wanted) == wanted


def compute(name: str, ufunc: Any, loop: Loop, casting: str, outputs: Any, *args: Any) -> Any:
    """Compute with a loop; ``outputs`` are arrays or None."""
    inputs = [np.asarray(a).astype(t) for a, t in zip(args, loop.inputs, strict=True)]
    if name in _VALUES:  # in C++, where half numbers are promoted to float32
        inputs = [
            a.astype(np.float32) if t.name in LOW_DTYPES else a
            for a, t in zip(inputs, loop.inputs, strict=True)
        ]
    results = _VALUES.get(name, ufunc)(*inputs)
    results = results if isinstance(results, tuple) else (results,)
    kept = []
    for result, dtype, out in zip(results, loop.outputs, outputs, strict=True):
        result = np.asarray(result).astype(dtype, order="C")
        if out is None:
            kept.append(result)
            continue
        if not np.can_cast(dtype, out.dtype, casting):
            raise TypeError(f"output operand: {dtype} cannot be cast to {out.dtype} as {casting}")
        if out.shape != result.shape:
            raise ValueError(f"Out shape is mismatched: {out.shape}, not {result.shape}")
        out[...] = result
        kept.append(out)
    return kept[0] if len(kept) == 1 else tuple(kept)


# Values that differ from NumPy's ---------------------------------------------------------------


def _power(a: Array, b: Array) -> Array:
    """A negative power of an integer is 0, 1 or −1, where NumPy raises."""
    if a.dtype.kind not in "biu":
        return np.power(a, b)
    a, b = np.broadcast_arrays(a, b)
    inverse = np.where(a == -1, np.where(b & 1, -1, 1), a == 1)
    return np.where(b < 0, inverse, np.power(a.astype(np.int64), np.maximum(b, 0)))


def _floor_divide(a: Array, b: Array) -> Array:
    """The floor of the rounded quotient, where NumPy's is exact: 1 // 0.1 is 10, not 9."""
    if a.dtype.kind in "biu":
        return np.where(b == 0, 0, np.floor_divide(a, np.where(b == 0, 1, b)))
    return np.floor(np.divide(a, b))


def _remainder(a: Array, b: Array) -> Array:
    """The remainder of the rounded quotient: 1 % 0.1 is 0, and 1 % inf is NaN."""
    if a.dtype.kind in "biu":
        return np.where(b == 0, 0, np.remainder(a, np.where(b == 0, 1, b)))
    return a - _floor_divide(a, b) * b


def _clip(x: Array, low: Array, high: Array) -> Array:
    """A bound of NaN is ignored, where NumPy's result is NaN."""
    return np.where(low > high, high, np.where(x < low, low, np.where(x > high, high, x)))


def _round(x: Array, decimals: Array) -> Array:
    if x.dtype.kind not in "f" or not decimals.any():
        return np.rint(x) if x.dtype.kind == "f" else x
    scale = 10.0 ** abs(int(decimals))
    wide = x.astype(np.float64)
    return np.rint(wide * scale) / scale if decimals > 0 else np.rint(wide / scale) * scale


_VALUES: dict[str, Callable[..., Any]] = {
    "clip": _clip,
    "floor_divide": _floor_divide,
    "power": _power,
    "remainder": _remainder,
    "round": _round,
    "where": np.where,
}
