"""Fused operations on the CPU."""

from nnlib_backends import patches, portable
from nnlib_backends.contract import Kernel
from nnlib_backends.numpy_backend import namespace

KERNELS: dict[str, Kernel] = {
    **portable.make_kernels(namespace),
    **patches.make_kernels(namespace, block_bytes=4 << 20),
}
