"""Fused operations on the CPU: compiled by Numba where that works, and in terms of NumPy.

A compiled kernel is for float32 alone.  All else (float64, mixed dtypes), and everything where
Numba is missing or ``NNLIB_NATIVE=0``, is computed by the kernels of `portable` and `patches`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from nnlib_backends import attention, patches, portable, recurrent
from nnlib_backends.contract import Array, Kernel, PrimitiveKernel
from nnlib_backends.locks import once
from nnlib_backends.numpy_backend import launch, namespace
from nnlib_backends.numpy_backend.updates import UPDATES

__all__ = ["compilation", "either", "general_kernels", "kernels", "native", "primitives", "updates"]

FLOAT32 = np.dtype(np.float32)

#: Where an operation takes integers: position of the argument.
INTEGERS = {
    "attention": 3, "dropout": 1, "embedding": 1, "gru": 6, "lstm": 7, "rnn": 6,
    "self_attention": 1, "softmax_cross_entropy": 1,
}  # fmt: skip


@once
def kernels() -> dict[str, Kernel]:
    """Name of a fused operation → the kernel that serves it here."""
    compiled = native()[0]
    table = {name: portable.into_targets(kernel) for name, kernel in general_kernels().items()}
    if compiled is not None:
        for name, kernel in compiled.KERNELS.items():
            table[name] = either(kernel, table[name], INTEGERS.get(name))
    return table


@once
def primitives() -> dict[str, PrimitiveKernel]:
    """Name of a primitive → its compiled kernel."""
    compiled = native()[0]
    return {} if compiled is None else dict(compiled.PRIMITIVES)


@once
def updates() -> dict[str, Callable[..., None]]:
    """Name of an optimizer's update rule → the function that serves it here."""
    compiled = native()[0]
    table = dict(UPDATES)
    if compiled is not None:
        for name, update in compiled.UPDATES.items():
            table[name] = _either_update(update, table[name])
    return table


@once
def general_kernels() -> dict[str, Kernel]:
    """Kernels in terms of NumPy, for every dtype."""
    return {
        **portable.make_kernels(namespace),
        **patches.make_kernels(namespace, block_bytes=4 << 20),
        **recurrent.make_kernels(namespace),
        **attention.make_kernels(namespace),
    }


@once
def native() -> tuple[Any, str]:
    """Return the module `native.table`, or None and why there is none.

    It counts as there when one kernel was compiled and gave the right result.
    """
    if os.environ.get("NNLIB_NATIVE") == "0":
        return None, "NNLIB_NATIVE=0"
    try:
        from nnlib_backends.numpy_backend.native import table

        with launch.unrecorded():  # the first kernel may be asked for while a step is recorded
            table.probe()
    except ImportError as error:
        return None, f"{error.name or 'Numba'} cannot be imported: {error}"
    except Exception as error:  # noqa: BLE001 - LLVM, the cache folder, SciPy's BLAS: many can fail
        return None, f"Numba does not work here: {type(error).__name__}: {error}"
    return table, ""


def compilation() -> str:
    """Say which kernels compute and why, and how long it took to compile them.

    Examples
    --------
    >>> "kernels" in compilation()
    True
    """
    table, reason = native()
    if table is None:
        return f"kernels of NumPy only, because {reason}"
    used, cached, seconds = table.compilation()
    return (
        f"{used} kernels by Numba {version('numba')}, {cached} of them from the cache, "
        f"ready in {seconds:.1f} s"
    )


def either(native: Kernel, general: Kernel, integers: int | None = None) -> Kernel:
    """Return a kernel that takes the first for float32 arrays, and the second for all others.

    The argument at the position ``integers`` may be of integers or booleans for both.

    Examples
    --------
    >>> fast, slow = (Kernel(lambda x, word=word: (word, None), None) for word in ("fast", "slow"))
    >>> [either(fast, slow).forward(np.zeros(1, dtype))[0] for dtype in ("f4", "f8")]
    ['fast', 'slow']
    """

    def forward(*arrays: Array | None, **static: Any) -> tuple[Array, Any]:
        kernel = native if all_float32(arrays, integers) else general
        return kernel.forward(*arrays, **static)

    def backward(
        g: Array, saved: Any, needs: Sequence[Any], *arrays: Array | None, **static: Any
    ) -> Any:
        kernel = native if all_float32(arrays, integers) else general
        return kernel.backward(g, saved, needs, *arrays, **static)

    return Kernel(forward, backward)


def _either_update(
    native: Callable[..., None], general: Callable[..., None]
) -> Callable[..., None]:
    """Return an update that takes the first for contiguous float32 arrays."""

    def update(p: Array, g: Array, *rest: Array | None, **flags: Any) -> None:
        fits = all(
            a is None or (a.dtype == FLOAT32 and a.flags.c_contiguous) for a in (p, g, *rest)
        )
        (native if fits else general)(p, g, *rest, **flags)

    return update


def all_float32(arrays: Sequence[Array | None], integers: int | None = None) -> bool:
    """Tell whether all arrays are of float32, but for one that may be of integers or booleans.

    Examples
    --------
    >>> x, labels = np.zeros((2, 3), np.float32), np.zeros(2, np.int64)
    >>> all_float32((x, labels)), all_float32((x, labels), 1), all_float32((labels, x), 1)
    (False, True, False)
    """
    for array in arrays:
        if array is None or array.dtype == FLOAT32:
            continue
        if array.dtype.kind not in "iub" or integers is None or array is not arrays[integers]:
            return False
    return True
