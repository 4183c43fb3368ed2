"""Kernels that Numba compiles for the processor at hand.

Nothing but this folder imports Numba, and nothing imports this folder before a kernel is needed:
see `nnlib_backends.numpy_backend.launch`.

A kernel is a function ``kernel(chunk, start, stop, …)`` that declares its arguments (`abi`), works
on the items ``start … stop - 1``, and writes its results into arrays among its arguments.  It
allocates nothing, returns nothing and cannot raise.
"""
