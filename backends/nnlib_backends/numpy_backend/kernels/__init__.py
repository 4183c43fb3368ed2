"""CPU kernels, compiled by Numba; imported at the first use of a kernel.

A kernel is a function ``kernel(chunk, start, stop, …)`` that declares its arguments (see
`codegen.arguments`), computes the items ``start … stop - 1``, and writes its results into arrays
among its arguments.  It allocates nothing, returns nothing and cannot raise.
"""
