"""Choice between compiled kernels (Numba, float32) and those in terms of NumPy (all dtypes).

A compiled kernel is for float32 alone.  All else (float64, mixed dtypes), and everything where
Numba is missing or ``NNLIB_NATIVE=0``, is computed by the kernels of `nnlib_backends.common`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from nnlib_backends.base import Array, KernelPair, PrimitiveKernel
from nnlib_backends.common import attention, fused, im2col, recurrent
from nnlib_backends.config import NATIVE
from nnlib_backends.locks import once
from nnlib_backends.numpy_backend import launch, namespace

__all__ = [
    "compilation",
    "compiled_kernels",
    "float32_but_for",
    "general_kernels",
    "kernels",
    "primitives",
    "updates",
]

FLOAT32 = np.dtype(np.float32)

#: Operation → position of the argument that may be integers or booleans.
INTEGERS = {
    "attention": 3, "dropout": 1, "embedding": 1, "gru": 6, "lstm": 7, "rnn": 6,
    "self_attention": 1, "softmax_cross_entropy": 1,
}  # fmt: skip


@once
def kernels() -> dict[str, KernelPair]:
    """Name of a fused operation → its kernel pair."""
    compiled = compiled_kernels()[0]
    cpu_kernels = dict(general_kernels())
    if compiled is not None:
        for name, kernel in compiled.KERNELS.items():
            served = float32_but_for(INTEGERS.get(name))
            cpu_kernels[name] = fused.either(served, kernel, cpu_kernels.get(name))
    return cpu_kernels


@once
def primitives() -> dict[str, PrimitiveKernel]:
    """Name of a primitive → its compiled kernel."""
    compiled = compiled_kernels()[0]
    return {} if compiled is None else dict(compiled.PRIMITIVES)


@once
def updates() -> dict[str, Callable[..., Any]]:
    """Name of an optimizer's update rule, or of the norm of gradients → its compiled kernel."""
    compiled = compiled_kernels()[0]
    if compiled is None:
        return {}
    served = float32_but_for()

    def norm(arrays: Sequence[Array]) -> Any:
        return compiled.global_norm(arrays) if served(*arrays) else NotImplemented

    rules = {name: _for_float32(update) for name, update in compiled.UPDATES.items()}
    return {**rules, "norm": norm}


@once
def general_kernels() -> dict[str, KernelPair]:
    """Name of a fused operation → its kernel pair in terms of NumPy, for every dtype."""
    return {
        **fused.make_kernels(namespace),
        **im2col.make_kernels(namespace, block_bytes=4 << 20),
        **recurrent.make_kernels(namespace),
        **attention.make_kernels(namespace),
    }


@once
def compiled_kernels() -> tuple[Any, str]:
    """Return the module `cpu_kernels` and "", or None and a reason, after a test of one kernel."""
    if NATIVE.get() == "0":
        return None, "NNLIB_NATIVE=0"
    try:
        from nnlib_backends.numpy_backend.kernels import cpu_kernels

        with launch.untraced():  # the first use of a kernel may be while tracing
            cpu_kernels.probe()
    except ImportError as error:
        return None, f"{error.name or 'Numba'} cannot be imported: {error}"
    except Exception as error:  # noqa: BLE001 - LLVM, the cache folder or SciPy's BLAS may fail
        return None, f"Numba does not work here: {type(error).__name__}: {error}"
    return cpu_kernels, ""


def compilation() -> str:
    """Describe which kernels are used, why, and how long their compilation took.

    Examples
    --------
    >>> "kernels" in compilation()
    True
    """
    cpu_kernels, reason = compiled_kernels()
    if cpu_kernels is None:
        return f"kernels of NumPy only, because {reason}"
    used, cached, seconds = cpu_kernels.compilation()
    return (
        f"{used} kernels by Numba {version('numba')}, {cached} of them from the cache, "
        f"ready in {seconds:.1f} s"
    )


def _for_float32(update: Callable[..., None]) -> Callable[..., Any]:
    """Return an update that returns NotImplemented except for contiguous float32 arrays."""

    def declining(*arrays: Array | None, skip: Array | None = None, **flags: Any) -> Any:
        for array in (*arrays, skip):  # no generator: this runs at every step
            if array is not None and (array.dtype != FLOAT32 or not array.flags.c_contiguous):
                return NotImplemented
        return update(*arrays, skip=skip, **flags)

    return declining


def float32_but_for(integers: int | None = None) -> Callable[..., bool]:
    """Return a function that tells whether all arrays are float32.

    The array at the position ``integers`` may have integers or booleans instead.

    Examples
    --------
    >>> x, labels = np.zeros((2, 3), np.float32), np.zeros(2, np.int64)
    >>> float32_but_for()(x, labels), float32_but_for(1)(x, labels), float32_but_for(1)(labels, x)
    (False, True, False)
    """

    def served(*arrays: Array | None, **_: Any) -> bool:
        for array in arrays:
            if array is None or array.dtype == FLOAT32:
                continue
            if array.dtype.kind not in "iub" or integers is None or array is not arrays[integers]:
                return False
        return True

    return served
