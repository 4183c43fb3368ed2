"""Kernel pairs by cuDNN where it is installed, else slower ones with a notice."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from nnlib_backends.base import Array, KernelPair
from nnlib_backends.config import CUDNN_DETERMINISTIC
from nnlib_backends.cupy_backend.cudnn.attention import make_attention
from nnlib_backends.cupy_backend.cudnn.convolution import Epilogue, make_convolution
from nnlib_backends.cupy_backend.cudnn.planner import Planner
from nnlib_backends.cupy_backend.optional import attempt
from nnlib_backends.cupy_backend.probe import install_all
from nnlib_backends.cupy_backend.tf32 import tf32_is_allowed
from nnlib_backends.cupy_backend.tuning_cache import TuningCache

__all__ = ["find_cudnn", "make_kernels"]

_NAMES = ("conv2d", "attention", "self_attention")
_OLDEST = 91900


def make_kernels(
    cupy: Any, device: Any, xp: Any, general: Mapping[str, KernelPair], epilogue: Epilogue
) -> tuple[dict[str, KernelPair], str | None, str]:
    """Return the kernel pairs of one GPU by name, cuDNN's version, and an empty reason.

    Without a usable cuDNN: the general ones, ``None``, and the reason.  The gradients of attention
    are deterministic unless ``NNLIB_CUDNN_DETERMINISTIC=0``, which takes less memory.

    Parameters
    ----------
    cupy : module
    device : cupy.cuda.Device
    xp : namespace
    general : mapping
        Kernel pairs of the same names, for all that cuDNN does not compute.
    epilogue : Epilogue
        Kernels of bias and activation of a convolution.
    """
    cudnn, missing = find_cudnn()
    if cudnn is None:
        slow = {name: general[name] for name in _NAMES}
        return _with_notice(slow, missing, install_all()), None, missing
    version = cudnn.backend_version_string()
    gpu = cupy.cuda.runtime.getDeviceProperties(device.id)["name"].decode()
    planner = Planner(cudnn, cupy, device, TuningCache("cudnn", version, gpu))
    deterministic = CUDNN_DETERMINISTIC.get() != "0"
    return (
        {
            "conv2d": make_convolution(planner, xp, general["conv2d"], tf32_is_allowed, epilogue),
            **make_attention(planner, xp, general, deterministic),
        },
        version,
        "",
    )


def find_cudnn() -> tuple[Any, str]:
    """Return the cuDNN frontend and an empty string, or ``None`` and the reason."""
    cudnn, reason = attempt(_import_cudnn)
    if cudnn is None:
        return None, f"cuDNN or its frontend cannot be loaded ({reason})"
    if cudnn.backend_version() < _OLDEST:
        return None, f"cuDNN must be 9.19 or newer, this is {cudnn.backend_version_string()}"
    return cudnn, ""


def _import_cudnn() -> Any:
    import cudnn

    cudnn.backend_version()  # loads the library
    return cudnn


def _with_notice(kernels: dict[str, KernelPair], reason: str, remedy: str) -> dict[str, KernelPair]:
    """Return kernel pairs; the first use of any of them prints a notice on stderr.

    Parameters
    ----------
    kernels : dict
    reason : str
        Why cuDNN is not used.
    remedy : str
        The command that fixes it.
    """
    pending = ["notice"]

    def speaking(name: str, forward: Callable[..., Any]) -> Callable[..., Any]:
        def speak(*arrays: Array | None, **options: Any) -> Any:
            if pending:
                pending.clear()
                print(
                    f"nnlib: {name} on the GPU is slow and needs much memory, because {reason}. "
                    f"To fix it: {remedy}",
                    file=sys.stderr,
                )
            return forward(*arrays, **options)

        return speak

    return {
        name: replace(kernel, forward=speaking(name, kernel.forward))
        for name, kernel in kernels.items()
    }
