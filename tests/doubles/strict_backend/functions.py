"""CuPy's functions and methods whose results or side effects differ from NumPy's."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nnlib_backends.dtypes import is_half
from strict_backend import indexing
from strict_backend.counts import note_transfer
from strict_backend.ufuncs import compute, find_loop

Array = np.ndarray[Any, Any]

_MANY, _LARGE = 8, 2 << 20  # limits of joining by one kernel: number and mean size of arrays


def ufunc(name: str, *args: Any, out: Any = None) -> Any:
    """Compute the ufunc inside a function."""
    loop = find_loop(name, list(args))
    return compute(name, None, loop, "same_kind", (out,), *args)


def where(condition: Array, x: Any = None, y: Any = None) -> Any:
    if x is None and y is None:
        return np.where(condition)
    return ufunc("where", condition.astype(bool), x, y)


def clip(a: Array, a_min: Any = None, a_max: Any = None, out: Any = None) -> Any:
    if a.dtype.kind in "fiu":
        info = np.finfo(a.dtype) if a.dtype.kind == "f" else np.iinfo(a.dtype)
        low, high = (-math.inf, math.inf) if a.dtype.kind == "f" else (info.min, info.max)
        a_min = a.dtype.type(low) if a_min is None else a_min
        a_max = a.dtype.type(high) if a_max is None else a_max
    if a_min is None or a_max is None:
        raise TypeError("Unsupported type <class 'NoneType'>")
    return ufunc("clip", a, a_min, a_max, out=out)


def round_(a: Array, decimals: int = 0, out: Any = None) -> Any:
    if a.dtype.kind in "iu" and decimals < 0:
        return np.round(a, decimals, out)
    return ufunc("round", a, decimals, out=out)


def astype(a: Array, dtype: Any, order: str = "K", casting: Any = None, subok: Any = None,
           copy: bool = True) -> Any:  # fmt: skip
    """Convert; out-of-range numbers become the nearest integer, and NaN is 0 or 1 << 63."""
    if casting is not None or subok is not None:
        raise TypeError("casting is not supported yet")
    wanted = np.dtype(dtype)
    if a.dtype.kind == "f" and wanted.kind in "iu" and wanted.itemsize >= 4:
        info = np.iinfo(wanted)
        inside = (a > float(info.min)) & (a < float(info.max))
        result = np.where(inside, a, 0).astype(wanted)
        result[a >= float(info.max)] = info.max
        result[a <= float(info.min)] = info.min
        nan = 1 << 63 if wanted == np.uint64 else info.min if wanted == np.int64 else 0
        result[np.isnan(a)] = nan
        return result
    return a.astype(wanted, order=order, copy=copy)


def sort(a: Array, axis: Any = -1, kind: Any = None) -> Any:
    _check_sort(a, kind)
    return np.sort(a, axis=axis, kind="stable")


def argsort(a: Array, axis: Any = -1, kind: Any = None) -> Any:
    _check_sort(a, kind)
    return np.argsort(a, axis=axis, kind="stable")


def _check_sort(a: Array, kind: Any) -> None:
    if kind not in {None, "stable"}:
        raise ValueError("kind can only be None or 'stable'")
    if a.dtype.name == "bfloat16":
        raise NotImplementedError("Sorting arrays with dtype 'bfloat16' is not supported")


def concatenate(tup: Any, axis: Any = 0, out: Any = None, dtype: Any = None,
                casting: str = "same_kind") -> Any:  # fmt: skip
    """Join arrays; the addresses of many small ones are copied to the device."""
    result = np.concatenate(tup, axis=axis, out=out, dtype=dtype, casting=casting)
    if (
        len(tup) > _MANY
        and all(a.dtype == result.dtype for a in tup)
        and result.nbytes < _LARGE * len(tup)
    ):
        note_transfer()
    return result


def stack(tup: Any, axis: int = 0, out: Any = None, dtype: Any = None,
          casting: str = "same_kind") -> Any:  # fmt: skip
    axis = axis % (tup[0].ndim + 1)
    return concatenate([np.expand_dims(a, axis) for a in tup], axis, out, dtype, casting)


def matmul(a: Array, b: Array, out: Any = None, **options: Any) -> Any:
    if max(a.ndim, b.ndim) > 2 and "bfloat16" in (a.dtype.name, b.dtype.name):
        raise TypeError("cupy has no product of stacks of bfloat16 matrices")
    return _product(np.matmul, a, b, out)


def dot(a: Array, b: Any, out: Any = None) -> Any:
    if np.ndim(a) == np.ndim(b) == 1:
        return vdot(a, b) if out is None else _into(out, vdot(a, b))
    return _product(np.dot, a, b, out)


def vdot(a: Array, b: Array) -> Any:
    """Add products that are rounded to their dtype first, as matters for half dtypes."""
    if not (is_half(a) or is_half(b)):
        return np.vdot(a, b)
    products = np.multiply(a.reshape(-1), b.reshape(-1))
    return np.asarray(products.astype(np.float32).sum().astype(products.dtype))


def _product(function: Any, a: Array, b: Array, out: Any) -> Any:
    """Sum in float32 for half dtypes."""
    dtype = np.promote_types(a.dtype, b.dtype)
    wide = [x.astype(np.float32) if is_half(x) else x for x in (a, b)]
    result = np.asarray(function(*wide)).astype(dtype, order="C", copy=False)
    return result if out is None else _into(out, result)


def _into(out: Array, result: Any) -> Array:
    if out.shape != result.shape:
        raise ValueError("Output array has an invalid size")
    out[...] = result
    return out


def _reduction(name: str) -> Callable[..., Any]:
    """Return a sum or product, which is computed in float32 for half dtypes."""

    def reduce(a: Array, axis: Any = None, dtype: Any = None, out: Any = None,
               keepdims: bool = False) -> Any:  # fmt: skip
        wanted = np.dtype(dtype) if dtype is not None else None
        if not is_half(a) or wanted not in {None, a.dtype}:
            return getattr(np, name)(a, axis=axis, dtype=dtype, out=out, keepdims=keepdims)
        result = getattr(np, name)(a.astype(np.float32), axis=axis, keepdims=keepdims)
        result = np.asarray(result).astype(a.dtype)
        return result if out is None else _into(out, result)

    return reduce


#: Name of a function, or of a method (the array is the first argument) → its implementation.
SPECIAL: dict[str, Callable[..., Any]] = {
    "argsort": argsort,
    "astype": astype,
    "clip": clip,
    "concatenate": concatenate,
    "dot": dot,
    "matmul": matmul,
    "mean": _reduction("mean"),
    "prod": _reduction("prod"),
    "round": round_,
    "sort": sort,
    "stack": stack,
    "sum": _reduction("sum"),
    "take": indexing.take,
    "take_along_axis": indexing.take_along_axis,
    "vdot": vdot,
    "where": where,
}
SPECIAL |= {"around": round_, "concat": concatenate}
