"""Exponentials and their kin in float32, in a form that LLVM turns into SIMD instructions.

The C library's are called number by number.  These are polynomials (fitted here by weighted least
squares towards the smallest largest error) without branches, right to a few units in the last
place over the whole range, with infinities, NaN and numbers below 2⁻¹²⁶ as they should be.
``tests/backends/numpy_backend/native/test_functions.py`` measures them against float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

__all__ = [
    "bits_of", "erf", "exp", "float_of", "less", "log", "log1p", "select", "sigmoid", "tanh",
]  # fmt: skip

f4 = np.float32

# An fma here and there, but nothing may be reordered: (x + ROUND) - ROUND is not x.
_CONTRACT = {"contract"}

HALF, ONE, TWO = f4(0.5), f4(1.0), f4(2.0)
ROUND = f4(1.5 * 2.0**23)  # x + ROUND is a whole number, in the lowest bits
LOG2_E = f4(1.4426950408889634)
LN2_HIGH, LN2_LOW = f4(0.693359375), f4(-2.12194440e-4)  # their sum is ln 2; the first is short
EXP_LOWEST, EXP_HIGHEST = f4(-105.0), f4(90.0)  # beyond: 0 and infinity
TANH_FLAT = f4(-30.0)  # tanh(15) is 1
SQRT_HALF, TINY, UP = f4(0.7071067811865476), f4(2.0**-126), f4(2.0**24)
INFINITY, NOT_A_NUMBER = f4(np.inf), f4(np.nan)
ERF_SPLIT, ERF_FLAT = ONE, f4(4.0)  # erf(4) is 1

# (exp(f) - 1 - f) / f² for |f| ≤ ln 2 / 2
E0, E1, E2, E3, E4 = (f4(c) for c in (0.49999994, 0.16666515, 0.041668456, 0.00836942, 0.00138131))
# (artanh(s) / s - 1) / s² in s², for |s| ≤ 1/3
A0, A1, A2, A3, A4 = (f4(c) for c in (0.33333337, 0.19999415, 0.14309204, 0.10704739, 0.12187479))
# erf(x) / x in x², for |x| ≤ 1
S0, S1, S2, S3, S4, S5, S6 = (
    f4(c)
    for c in (
        1.1283791, -0.37612626, 0.112835854, -0.026853811, 0.0051883277, -0.00080101925,
        7.853858e-05,
    )
)  # fmt: skip
# log(1 - erf(x)) for 1 ≤ x ≤ 4
L0, L1, L2, L3, L4, L5, L6 = (
    f4(c)
    for c in (
        -0.00031245511, -1.1272024, -0.6379649, -0.10325629, 0.02190652, -0.0029640172,
        0.00018797284,
    )
)  # fmt: skip


@intrinsic
def _power_of_two(typingctx: Any, rounded: Any) -> Any:
    """2ⁿ for n + ROUND, -126 ≤ n ≤ 127: n goes to where a float has its exponent."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        i32 = ir.IntType(32)
        bits = builder.shl(builder.bitcast(args[0], i32), i32(23))
        return builder.bitcast(builder.add(bits, i32(127 << 23)), ir.FloatType())

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
    """``yes if condition else no``, where both are computed: LLVM might make it a branch again."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(*args)

    return types.float32(types.boolean, types.float32, types.float32), codegen


@intrinsic
def bits_of(typingctx: Any, x: Any) -> Any:
    """The bits of a float32, so ordered that larger floats are larger integers."""

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
    # 2ⁿ in two factors: n = 128 gives infinity, n < -126 the numbers without a leading one
    first = n * HALF + ROUND
    second = (n - (first - ROUND)) + ROUND
    return (ONE + _expm1_near_zero(f)) * _power_of_two(first) * _power_of_two(second)


@njit(fastmath=_CONTRACT, forceinline=True)
def _exp_of_moderate(x):
    """``e ** x`` for -80 < x < 80, without the care that others need."""
    rounded = x * LOG2_E + ROUND
    n = rounded - ROUND
    scale = _power_of_two(rounded)
    return scale + scale * _expm1_near_zero((x - n * LN2_HIGH) - n * LN2_LOW)


@njit(fastmath=_CONTRACT, forceinline=True)
def tanh(x):
    """Hyperbolic tangent: from ``e = exp(-2 |x|)`` where large, else from ``e - 1``."""
    z = -abs(x + x)
    z = TANH_FLAT if z < TANH_FLAT else z
    rounded = z * LOG2_E + ROUND
    n = rounded - ROUND
    scale = _power_of_two(rounded)
    p = _expm1_near_zero((z - n * LN2_HIGH) - n * LN2_LOW)
    e, e_less_one = scale * p + scale, scale * p + (scale - ONE)
    inverse = ONE / (ONE + e)
    y = select(z < -ONE, ONE - (e + e) * inverse, -e_less_one * inverse)
    return y if x > f4(0.0) else -y


@njit(fastmath={"arcp"}, forceinline=True)
def less(a, b):
    """``a - b``, which stays that difference: kernels may otherwise reorder sums.

    (``arcp`` is about divisions.  Code without any such permission would get the kernel's.)
    """
    return a - b


@njit(fastmath=_CONTRACT, forceinline=True)
def sigmoid(x):
    """``1 / (1 + e ** -x)``."""
    return ONE / (ONE + exp(-x))


@njit(fastmath=_CONTRACT, forceinline=True)
def _artanh(s):
    u = s * s
    return s + s * u * (A0 + u * (A1 + u * (A2 + u * (A3 + u * A4))))


@njit(fastmath=_CONTRACT, forceinline=True)
def log1p(u):
    """``log(1 + u)`` for 0 ≤ u ≤ 1."""
    return TWO * _artanh(u / (TWO + u))


@njit(fastmath=_CONTRACT, forceinline=True)
def log(x):
    """Natural logarithm."""
    small = x < TINY
    z = x * UP if small else x
    n = _exponent(z) - (f4(24.0) if small else f4(0.0))
    m = _mantissa(z)
    s = (m - ONE) / (m + ONE)
    y = n * LN2_HIGH + (n * LN2_LOW + TWO * _artanh(s))
    y = y if x > f4(0.0) else (-INFINITY if x == f4(0.0) else NOT_A_NUMBER)
    return INFINITY if x == INFINITY else y


@njit(fastmath=_CONTRACT, forceinline=True)
def erf(x):
    """Error function."""
    size = abs(x)
    u = x * x
    near = x * (S0 + u * (S1 + u * (S2 + u * (S3 + u * (S4 + u * (S5 + u * S6))))))
    w = ERF_FLAT if size > ERF_FLAT else size
    far = ONE - _exp_of_moderate(L0 + w * (L1 + w * (L2 + w * (L3 + w * (L4 + w * (L5 + w * L6))))))
    far = far if x > f4(0.0) else -far
    return select(size > ERF_SPLIT, far, near)
