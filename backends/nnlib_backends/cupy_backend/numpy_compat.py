"""Functions with NumPy's results in terms of CuPy's, where these differ.

Some of CuPy's functions have no loop for bfloat16, or return float64 for float16.  Nothing here
imports CuPy: the tests run these functions on a test double.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nnlib_backends.base import Array
from nnlib_backends.dtypes import is_half

__all__ = ["make_functions"]


Sort = Callable[[Array, int], tuple[Array, Array]]


def make_functions(xp: Any, special: Any, sort: Sort) -> dict[str, Callable[..., Any]]:
    """Return name → function that replaces CuPy's.

    Parameters
    ----------
    xp : namespace
        ``cupy`` or a test double.
    special : namespace
        ``cupyx.scipy.special`` or a test double.
    sort : callable
        ``sort(indices, entries) -> sorted, order``: a stable sort of integers in [0, entries),
        without waiting for the GPU.
    """
    floor_divide, remainder = _division(xp)
    return {
        "add_at": _add_at(xp, sort),
        "argsort": _in_float32(xp.argsort, "int64"),
        "clip": _in_float32(xp.clip),
        "erf": _in_float32(special.erf),
        "floor_divide": floor_divide,
        "ndtr": _in_float32(special.ndtr),
        "remainder": remainder,
        "round": _in_float32(xp.round),
        "sort": _in_float32(xp.sort),
        "vdot": _vdot(xp),
        "where": _where(xp),
    }


def _in_float32(function: Callable[..., Array], dtype: Any = None) -> Callable[..., Array]:
    """Make a function compute half dtypes in float32, and return the data's dtype or ``dtype``."""

    def call(x: Array, *args: Any, **options: Any) -> Array:
        if not is_half(x):
            return function(x, *args, **options)
        result = function(x.astype("float32"), *args, **options)
        return result.astype(dtype or x.dtype, copy=False)

    return call


def _where(xp: Any) -> Callable[..., Any]:
    def where(condition: Array, x: Any = None, y: Any = None) -> Any:
        result = xp.where(condition, x, y)
        if x is None or not (is_half(x) or is_half(y)):
            return result
        dtype = xp.result_type(x, y)  # as in NumPy: bfloat16 with a Python float is not bfloat16
        return result if dtype.kind == "f" else result.astype(dtype, copy=False)

    return where


def _vdot(xp: Any) -> Callable[[Array, Array], Array]:
    def vdot(a: Array, b: Array) -> Array:
        """``numpy.vdot``; CuPy rounds products to 16 bits before it adds them."""
        if not is_half(a) or a.dtype != b.dtype:
            return xp.vdot(a, b)
        wide = xp.vdot(a.astype("float32"), b.astype("float32"))
        return wide.astype(a.dtype)

    return vdot


def _add_at(xp: Any, sort: Sort) -> Callable[[Array, Any, Array], None]:
    def add_at(a: Array, key: Any, values: Array) -> None:
        """``add.at`` with sums in a fixed order, where CuPy uses atomic operations.

        The values are sorted by index, and the values of an index added up in pairs: first
        neighbours, then sums of two, of four, ...
        """
        indices = xp.arange(a.size).reshape(a.shape)[key].reshape(-1)
        if not indices.size:
            return
        indices, order = sort(indices, a.size)
        sums = values.reshape(-1)[order]
        step = 1
        while step < indices.size:
            same = indices[step:] == indices[:-step]
            sums[step:] += xp.where(same, sums[:-step], 0)
            step *= 2
        last = xp.ones(indices.shape, dtype=bool)  # of an index: there lies its sum
        last[:-1] = indices[1:] != indices[:-1]
        total = xp.zeros(a.size + 1, dtype=a.dtype)  # the last element takes all that is not last
        total[xp.where(last, indices, a.size)] = xp.where(last, sums, 0)
        a += total[:-1].reshape(a.shape)

    return add_at


def _division(xp: Any) -> tuple[Callable[..., Array], Callable[..., Array]]:
    """Return exact ``floor_divide`` and ``remainder``: CuPy rounds the quotient first."""
    where = _where(xp)

    def is_integral(x: Any) -> bool:
        return isinstance(x, int) or getattr(getattr(x, "dtype", None), "kind", "f") in "biu"

    def rest_and_turned(a: Any, b: Any) -> tuple[Array, Array]:
        """Return ``fmod(a, b)``, and whether its sign differs from b's."""
        rest = xp.fmod(a, b)
        return rest, (rest != 0) & ((rest < 0) != (b < 0))

    def remainder(a: Any, b: Any) -> Array:
        if is_integral(a) and is_integral(b):
            return xp.remainder(a, b)
        rest, turned = rest_and_turned(a, b)
        signed = xp.copysign(rest, where(rest != 0, rest, b))
        return where(turned, rest + b, signed)

    def floor_divide(a: Any, b: Any) -> Array:
        if is_integral(a) and is_integral(b):
            return xp.floor_divide(a, b)
        rest, turned = rest_and_turned(a, b)
        quotient, ratio = xp.rint((a - rest) / b), xp.divide(a, b)
        quotient = xp.copysign(where(turned, quotient - 1, quotient), ratio)
        return where(xp.equal(b, 0), ratio, quotient)

    return floor_divide, remainder
