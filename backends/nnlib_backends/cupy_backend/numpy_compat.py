"""CuPy's functions that differ from NumPy's where nnlib calls them, made alike.

CuPy computes with the first of a function's loops that can take its arguments; some have none for
bfloat16, or give float64 for float16.  Nothing here imports CuPy: the tests run these functions on
arrays that behave as CuPy's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nnlib_backends.base import Array
from nnlib_backends.dtypes import is_half

__all__ = ["make_functions"]


Sort = Callable[[Array, int], tuple[Array, Array]]


def make_functions(xp: Any, special: Any, sort: Sort) -> dict[str, Callable[..., Any]]:
    """Return name → function in place of CuPy's.

    Parameters
    ----------
    xp : namespace
        ``cupy``, or one that behaves like it.
    special : namespace
        ``cupyx.scipy.special``, likewise.
    sort : callable
        ``sort(places, entries) -> sorted, order``: integers in [0, entries), equal ones in the
        order in which they stand, without waiting for the GPU.
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
    """Compute in float32 what has 16 bits, and give the data's dtype, or ``dtype``, back."""

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
        dtype = xp.result_type(x, y)  # beside a Python float not bfloat16, in NumPy either
        return result if dtype.kind == "f" else result.astype(dtype, copy=False)

    return where


def _vdot(xp: Any) -> Callable[[Array, Array], Array]:
    def vdot(a: Array, b: Array) -> Array:
        """As NumPy's; CuPy rounds each product to 16 bits before it adds."""
        if not is_half(a) or a.dtype != b.dtype:
            return xp.vdot(a, b)
        wide = xp.vdot(a.astype("float32"), b.astype("float32"))
        return wide.astype(a.dtype)

    return vdot


def _add_at(xp: Any, sort: Sort) -> Callable[[Array, Any, Array], None]:
    def add_at(a: Array, key: Any, values: Array) -> None:
        """``add.at`` whose sums are the same each time: CuPy adds by atomic operations.

        The values of a place come to stand side by side, in their order, and are added up in
        pairs: first neighbours, then sums of two, of four, ...
        """
        places = xp.arange(a.size).reshape(a.shape)[key].reshape(-1)
        if not places.size:
            return
        places, order = sort(places, a.size)
        sums = values.reshape(-1)[order]
        step = 1
        while step < places.size:
            same = places[step:] == places[:-step]
            sums[step:] += xp.where(same, sums[:-step], 0)
            step *= 2
        last = xp.ones(places.shape, dtype=bool)  # of its place, so it holds the sum of all
        last[:-1] = places[1:] != places[:-1]
        total = xp.zeros(a.size + 1, dtype=a.dtype)  # and a place for all the others
        total[xp.where(last, places, a.size)] = xp.where(last, sums, 0)
        a += total[:-1].reshape(a.shape)

    return add_at


def _division(xp: Any) -> tuple[Callable[..., Array], Callable[..., Array]]:
    """Return exact ``floor_divide`` and ``remainder``: CuPy rounds the quotient first."""
    where = _where(xp)

    def is_integral(x: Any) -> bool:
        return isinstance(x, int) or getattr(getattr(x, "dtype", None), "kind", "f") in "biu"

    def rest_and_turned(a: Any, b: Any) -> tuple[Array, Array]:
        """What the quotient rounded towards zero leaves, and whether its sign is not that of b."""
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
