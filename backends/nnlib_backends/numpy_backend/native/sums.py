"""Sums that stay exact: some numbers are added in float32, and these sums in float64.

So a sum of float32 numbers is right to about 1e-7 however many there are, and costs no more than
one in float32.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from nnlib_backends.numpy_backend.native import functions as fn

__all__ = [
    "BLOCK", "SOME", "flush", "log_of_total", "settle", "total_of", "total_of_products",
    "total_of_squares",
]  # fmt: skip

f4, f8 = np.float32, np.float64
ZERO, ONE = f4(0.0), f4(1.0)
BLOCK = 1024  #: neighbours that are added in float32: a few dozen in each lane of a vector
SOME = 64  #: rows that are added in float32


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
def log_of_total(row):
    """``log(sum(row))`` for values up to 1, the largest: near 1 from their distance to 1."""
    total, count = f8(0.0), f4(0.0)
    for begin in range(0, row.size, BLOCK):
        part = row[begin : begin + BLOCK]
        others, ones = ZERO, ZERO
        for j in range(part.size):
            largest = part[j] >= ONE
            others += fn.select(largest, ZERO, part[j])
            ones += fn.select(largest, ONE, ZERO)
        total += others
        count += ones
    if count == ONE and total <= 1.0:
        return fn.log1p(f4(total))
    return fn.log(f4(total + count))


@njit
def flush(some, total):
    """Add the sums of some rows to those of all, float64, and begin again with zeros."""
    for j in range(some.size):
        total[j] += some[j]
        some[j] = ZERO


@njit
def settle(some, total):
    """Leave the sums of all rows where those of the last ones are."""
    for j in range(some.size):
        some[j] = f4(total[j] + some[j])
