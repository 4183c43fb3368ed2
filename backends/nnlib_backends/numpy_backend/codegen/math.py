"""Elementary functions in float32 (exp, log, tanh, …) that LLVM vectorises.

They are minimax polynomials without branches, exact to a few units in the last place over the whole
range, with correct infinities, NaN and denormals.
``tests/backends/numpy_backend/codegen/test_math.py`` compares them with float64.

`tanh`, `sigmoid` and `exp_of_negative` also take a `Vector`, with the same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from nnlib_backends.numpy_backend.codegen.simd import FLOAT, LANES, Vector, spread

__all__ = [
    "at_least", "bits_of", "exp", "exp_of_negative", "float_of", "less", "log", "log1p", "ndtr",
    "ndtr_and_bell", "select", "sigmoid", "sigmoid_and_bell", "tanh",
]  # fmt: skip

f4 = np.float32

# a * b + c may be one instruction, but nothing may be reordered: (x + ROUND) - ROUND is not x.
_CONTRACT = {"contract"}

HALF, ONE, TWO = f4(0.5), f4(1.0), f4(2.0)
ROUND = f4(1.5 * 2.0**23)  # x + ROUND has the rounded x in its lowest bits
ROUND_64, DOWN_64 = f4(1.5 * 2.0**23 + 64), f4(2.0**-64)
LOG2_E = f4(1.4426950408889634)
LN2_HIGH, LN2_LOW = f4(0.693359375), f4(-2.12194440e-4)  # their sum is ln 2; the first is short
EXP_LOWEST, EXP_HIGHEST = f4(-105.0), f4(90.0)  # beyond: 0 and infinity
TANH_FLAT = f4(-30.0)  # tanh(15) is 1
TINY, UP = f4(2.0**-126), f4(2.0**24)
INFINITY, NOT_A_NUMBER = f4(np.inf), f4(np.nan)
NORMAL_SPLIT, NORMAL_FLAT = ONE, f4(15.0)  # the tail at 15 is 0
DENSITY = f4(0.3989422804014327)  # 1/√(2π)
TAIL_SHIFT = f4(2.5)

# (exp(f) - 1 - f) / f² for |f| ≤ ln 2 / 2
E0, E1, E2, E3, E4 = (f4(c) for c in (0.49999994, 0.16666515, 0.041668456, 0.00836942, 0.00138131))
# (artanh(s) / s - 1) / s² in s², for |s| ≤ 1/3
A0, A1, A2, A3, A4 = (f4(c) for c in (0.33333337, 0.19999415, 0.14309204, 0.10704739, 0.12187479))
# (Φ(x) - ½) / x in x², for |x| ≤ 1, Φ the normal distribution function
S0, S1, S2, S3, S4, S5 = (
    f4(c) for c in (0.3989423, -0.06649036, 0.009973323, -0.00118633, 0.00011348637, -7.6542065e-06)
)
# (1 - Φ(x)) e^(x²/2) (x + 2.5) in (x - 2.5) / (x + 2.5), for 1 ≤ x ≤ 15
T0, T1, T2, T3, T4, T5, T6, T7, T8 = (
    f4(c)
    for c in (
        0.70665663, -0.4336922, 0.1319877, 0.009240494, -0.016400672, -0.0016327469, 0.002626917,
        0.0007221288, -0.0005642458,
    )
)  # fmt: skip


def _lanes(kind: Any, value: int) -> Any:
    """Return a 32-bit integer constant, or a vector of it."""
    i32 = ir.IntType(32)
    return ir.Constant(ir.VectorType(i32, LANES), [value] * LANES) if kind is Vector else i32(value)


@intrinsic
def _power_of_two(typingctx: Any, rounded: Any) -> Any:
    """2ⁿ for n + ROUND, -126 ≤ n ≤ 127: n becomes the exponent's bits."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        shift, bias = _lanes(rounded, 23), _lanes(rounded, 127 << 23)
        bits = builder.shl(builder.bitcast(args[0], shift.type), shift)
        return builder.bitcast(builder.add(bits, bias), args[0].type)

    return rounded(rounded), codegen


@intrinsic
def _with_sign_of(typingctx: Any, size: Any, x: Any) -> Any:
    """Return a non-negative number with the sign of x, also of −0."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        sign = _lanes(x, 0x80000000)
        bits, other = (builder.bitcast(arg, sign.type) for arg in args)
        return builder.bitcast(builder.or_(bits, builder.and_(other, sign)), args[0].type)

    return x(x, x), codegen


def _alike(builder: Any, kind: Any, number: Any) -> Any:
    """Return a number, or a vector of it, by the kind."""
    return spread(builder, number) if kind is Vector and number.type == FLOAT else number


@intrinsic
def at_least(typingctx: Any, x: Any, low: Any) -> Any:
    """``x if x >= low else low``; NaN stays NaN."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        low = _alike(builder, x, args[1])
        return builder.select(builder.fcmp_ordered("<", args[0], low), low, args[0])

    return x(x, types.float32), codegen


@intrinsic
def _where_negative(typingctx: Any, x: Any, yes: Any, no: Any) -> Any:
    """``yes if x < 0 else no``, without a branch."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        zero = _alike(builder, x, FLOAT(0.0))
        return builder.select(
            builder.fcmp_ordered("<", args[0], zero), args[1], _alike(builder, x, args[2])
        )

    return x(x, x, types.float32), codegen


@intrinsic
def _short(typingctx: Any, x: Any) -> Any:
    """Return x with the upper 12 bits of the mantissa, whose square is exact."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        i32 = ir.IntType(32)
        bits = builder.and_(builder.bitcast(args[0], i32), i32(0xFFFFF000))
        return builder.bitcast(bits, ir.FloatType())

    return types.float32(types.float32), codegen


@intrinsic
def _exponent(typingctx: Any, x: Any) -> Any:
    """Of a positive normal x = 2ⁿ m with √½ ≤ m < √2: n as a float."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        i32 = ir.IntType(32)
        bits = builder.sub(builder.bitcast(args[0], i32), i32(0x3F3504F3))  # √½
        return builder.sitofp(builder.ashr(bits, i32(23)), ir.FloatType())

    return types.float32(types.float32), codegen


@intrinsic
def _mantissa(typingctx: Any, x: Any) -> Any:
    """Of a positive normal x = 2ⁿ m with √½ ≤ m < √2: m."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        i32 = ir.IntType(32)
        bits = builder.sub(builder.bitcast(args[0], i32), i32(0x3F3504F3))
        bits = builder.add(builder.and_(bits, i32(0x007FFFFF)), i32(0x3F3504F3))
        return builder.bitcast(bits, ir.FloatType())

    return types.float32(types.float32), codegen


@intrinsic
def select(typingctx: Any, condition: Any, yes: Any, no: Any) -> Any:
    """``yes if condition else no``, without a branch."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(*args)

    return types.float32(types.boolean, types.float32, types.float32), codegen


@intrinsic
def bits_of(typingctx: Any, x: Any) -> Any:
    """The bits of a float32, mapped so that larger floats are larger integers."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        i32 = ir.IntType(32)
        bits = builder.bitcast(args[0], i32)
        flip = builder.and_(builder.ashr(bits, i32(31)), i32(0x7FFFFFFF))
        return builder.xor(bits, flip)

    return types.int32(types.float32), codegen


@intrinsic
def float_of(typingctx: Any, bits: Any) -> Any:
    """Inverse of `bits_of`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        i32 = ir.IntType(32)
        flip = builder.and_(builder.ashr(args[0], i32(31)), i32(0x7FFFFFFF))
        return builder.bitcast(builder.xor(args[0], flip), ir.FloatType())

    return types.float32(types.int32), codegen


@njit(fastmath=_CONTRACT, forceinline=True)
def _expm1_near_zero(f):
    return f + f * f * (E0 + f * (E1 + f * (E2 + f * (E3 + f * E4))))


@njit(fastmath=_CONTRACT, forceinline=True)
def exp(x):
    """``e ** x``."""
    x = EXP_LOWEST if x < EXP_LOWEST else (EXP_HIGHEST if x > EXP_HIGHEST else x)
    n = (x * LOG2_E + ROUND) - ROUND
    f = (x - n * LN2_HIGH) - n * LN2_LOW
    # 2ⁿ in two factors, for n = 128 (infinity) and n < -126 (denormals)
    first = n * HALF + ROUND
    second = (n - (first - ROUND)) + ROUND
    return (ONE + _expm1_near_zero(f)) * _power_of_two(first) * _power_of_two(second)


@njit(fastmath=_CONTRACT, forceinline=True)
def exp_of_negative(x):
    """``e ** x`` for x ≤ 0 (exact up to 40 below 0), with a simpler power of two than in `exp`."""
    x = at_least(x, EXP_LOWEST)
    rounded = x * LOG2_E + ROUND_64
    n = rounded - ROUND_64
    f = (x - n * LN2_HIGH) - n * LN2_LOW
    # 2⁶⁴ times the result is no denormal, so that only the last product is rounded
    return (ONE + _expm1_near_zero(f)) * _power_of_two(rounded) * DOWN_64


@njit(fastmath=_CONTRACT, forceinline=True)
def bell(z):
    """``e ** (-z² / 2)`` for 0 ≤ z ≤ 15, as exact as `exp`.

    z² is computed in two exact parts, because rounding it would lose digits.
    """
    high = _short(z)
    a, b = -HALF * high * high, -HALF * (z - high) * (z + high)
    rounded = (a + b) * LOG2_E + ROUND_64
    n = rounded - ROUND_64
    f = ((a - n * LN2_HIGH) + b) - n * LN2_LOW
    return (ONE + _expm1_near_zero(f)) * _power_of_two(rounded) * DOWN_64  # as above


@njit(fastmath=_CONTRACT, forceinline=True)
def tanh(x):
    """Hyperbolic tangent: ``(1 - e) / (1 + e)`` with ``e = exp(-2 |x|)``, from ``e - 1``."""
    z = at_least(-abs(x + x), TANH_FLAT)
    rounded = z * LOG2_E + ROUND
    n = rounded - ROUND
    scale = _power_of_two(rounded)
    p = _expm1_near_zero((z - n * LN2_HIGH) - n * LN2_LOW)
    return _with_sign_of(((ONE - scale) - scale * p) / ((ONE + scale) + scale * p), x)


@njit(fastmath={"arcp"}, forceinline=True)
def less(a, b):
    """``a - b``, which LLVM does not reorder as it may in kernels.

    (``arcp`` concerns divisions only; code without any flag would inherit the kernel's.)
    """
    return a - b


@njit(fastmath=_CONTRACT, forceinline=True)
def sigmoid(x):
    """``1 / (1 + e ** -x)``, as ``e ** x / (1 + e ** x)`` where x is negative."""
    e = exp_of_negative(-abs(x))
    return _where_negative(x, e, ONE) / (ONE + e)


@njit(fastmath=_CONTRACT, forceinline=True)
def sigmoid_and_bell(x):
    """`sigmoid` and its derivative ``s (1 - s)``, exact also where s is almost 1."""
    e = exp_of_negative(-abs(x))
    inverse = ONE / (ONE + e)
    return select(x < f4(0.0), e, ONE) * inverse, e * inverse * inverse


@njit(fastmath=_CONTRACT, forceinline=True)
def _twice_artanh_of_half(s):
    u = HALF * s * (HALF * s)
    return s + s * u * (A0 + u * (A1 + u * (A2 + u * (A3 + u * A4))))


@njit(fastmath=_CONTRACT, forceinline=True)
def log1p(u):
    """``log(1 + u)`` for 0 ≤ u ≤ 1."""
    return _twice_artanh_of_half((u + u) / (TWO + u))


@njit(fastmath=_CONTRACT, forceinline=True)
def log(x):
    """Natural logarithm."""
    small = x < TINY
    z = x * UP if small else x
    n = _exponent(z) - (f4(24.0) if small else f4(0.0))
    m = _mantissa(z)
    s = TWO * (m - ONE) / (m + ONE)
    y = n * LN2_HIGH + (n * LN2_LOW + _twice_artanh_of_half(s))
    y = y if x > f4(0.0) else (-INFINITY if x == f4(0.0) else NOT_A_NUMBER)
    return INFINITY if x == INFINITY else y


@njit(fastmath=_CONTRACT, forceinline=True)
def ndtr(x):
    """Distribution function of the normal distribution, exact in both tails."""
    return ndtr_and_bell(x)[0]


@njit(fastmath=_CONTRACT, forceinline=True)
def ndtr_and_bell(x):
    """Return ``ndtr(x)`` and ``e ** (-x² / 2)``."""
    z = abs(x)
    z = NORMAL_FLAT if z > NORMAL_FLAT else z
    e, u = bell(z), z * z
    near = HALF + x * (S0 + u * (S1 + u * (S2 + u * (S3 + u * (S4 + u * S5)))))
    r = ONE / (z + TAIL_SHIFT)
    t = (z - TAIL_SHIFT) * r
    q = T4 + t * (T5 + t * (T6 + t * (T7 + t * T8)))
    tail = r * (T0 + t * (T1 + t * (T2 + t * (T3 + t * q)))) * e
    return select(z < NORMAL_SPLIT, near, select(x < f4(0.0), tail, ONE - tail)), e
