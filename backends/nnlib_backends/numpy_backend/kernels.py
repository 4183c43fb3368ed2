"""Fused operations on the CPU."""

from nnlib_backends import attention, patches, portable, recurrent
from nnlib_backends.contract import Kernel
from nnlib_backends.numpy_backend import namespace

KERNELS: dict[str, Kernel] = {
    **portable.make_kernels(namespace),
    **patches.make_kernels(namespace, block_bytes=4 << 20),
    **recurrent.make_kernels(namespace),
    **attention.make_kernels(namespace),
}
