"""Exact sums: blocks of numbers are added in float32, and the blocks' sums in float64.

The relative error is about 1e-7 for any length, at the cost of a float32 sum.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from nnlib_backends.numpy_backend.codegen import math as fn

__all__ = [
    "BLOCK", "FOUR", "SOME", "add_rows", "clear", "flush", "settle", "sum_rows", "total_and_log",
    "total_of", "total_of_products", "total_of_squares",
]  # fmt: skip

f4, f8 = np.float32, np.float64
ZERO, ONE = f4(0.0), f4(1.0)
BLOCK = 1024  #: neighbours added in float32: a few dozen in each lane of a vector
SOME = 64  #: rows added in float32
FOUR = 4  #: rows at a time


@njit
def total_of(x):
    """Sum of a vector, as float64."""
    total = f8(0.0)
    for begin in range(0, x.size, BLOCK):
        part = x[begin : begin + BLOCK]
        s = ZERO
        for i in range(part.size):
            s += part[i]
        total += s
    return total


@njit
def total_of_products(x, y):
    """Inner product of two vectors, as float64."""
    total = f8(0.0)
    for begin in range(0, x.size, BLOCK):
        left, right = x[begin : begin + BLOCK], y[begin : begin + BLOCK]
        s = ZERO
        for i in range(left.size):
            s += left[i] * right[i]
        total += s
    return total


@njit
def total_of_squares(x, centre):
    """Sum of the squared distances from a number, as float64."""
    total = f8(0.0)
    for begin in range(0, x.size, BLOCK):
        part = x[begin : begin + BLOCK]
        s = ZERO
        for i in range(part.size):
            d = part[i] - centre
            s += d * d
        total += s
    return total


@njit
def total_and_log(row):
    """Sum of a vector whose maximum is 1, and its logarithm, by ``log1p`` near 1."""
    total, count = f8(0.0), f8(0.0)
    for begin in range(0, row.size, BLOCK):
        part = row[begin : begin + BLOCK]
        others, ones = ZERO, ZERO
        for j in range(part.size):
            largest = part[j] >= ONE
            others += fn.select(largest, ZERO, part[j])
            ones += fn.select(largest, ONE, ZERO)
        total += others
        count += ones
    if count == 1.0 and total <= 1.0:
        return total + count, fn.log1p(f4(total))
    return total + count, fn.log(f4(total + count))


@njit
def clear(x):
    """Set a vector to 0."""
    for i in range(x.size):
        x[i] = 0


@njit
def add_rows(x, stride, top, end, some):
    """Add rows of x, which begin at multiples of the stride, to a vector, four at a time."""
    width = some.size
    fours = top + (end - top) // FOUR * FOUR
    for r in range(top, fours, FOUR):
        k = r * stride
        a, b = x[k : k + width], x[k + stride : k + stride + width]
        c, d = x[k + 2 * stride : k + 2 * stride + width], x[k + 3 * stride :]
        for j in range(some.size):
            some[j] += (a[j] + b[j]) + (c[j] + d[j])
    for r in range(fours, end):
        row = x[r * stride : r * stride + width]
        for j in range(some.size):
            some[j] += row[j]


@njit
def flush(some, total):
    """Add float32 sums to float64 ones, and clear them."""
    for j in range(some.size):
        total[j] += some[j]
        some[j] = ZERO


@njit
def settle(some, total):
    """Add the float64 sums to the float32 sums of the last rows, in place."""
    for j in range(some.size):
        some[j] = f4(total[j] + some[j])


@njit
def sum_rows(x, stride, rows, y, totals):
    """Sum of rows, see `add_rows`; ``totals`` (float64) is for more than ``SOME`` rows."""
    clear(y)
    clear(totals)
    for top in range(0, rows, SOME):
        if top > 0:
            flush(y, totals)
        add_rows(x, stride, top, min(top + SOME, rows), y)
    if rows > SOME:
        settle(y, totals)
