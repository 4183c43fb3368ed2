"""Report the arrays that tensors and nodes hold to `nnlib.memory`."""

from __future__ import annotations

from nnlib.autograd.nodes import FusedNode, PrimitiveNode
from nnlib.autograd.tensor import Tensor
from nnlib.memory import Held, holders
from nnlib_backends.common.trace import arrays_in

__all__: list[str] = []


def _by_tensor(tensor: Tensor) -> Held:
    node = tensor.node
    if node is None:
        yield "tensors", tensor.backend, tensor.data
        return
    yield "activations" if node.inputs else "parameters", tensor.backend, tensor.data
    if node.grad is not None:
        yield "gradients", node.grad.backend, node.grad.data
    if node.grad_buffer is not None:
        yield "gradients", node.backend, node.grad_buffer


def _by_primitive(node: PrimitiveNode) -> Held:
    for value in (node.kept or {}).values():
        if node.backend.owns(value):
            yield "activations", node.backend, value


def _by_kernel(node: FusedNode) -> Held:
    for array in arrays_in([node.arrays, node.saved], node.backend.array_type):
        yield "activations", node.backend, array


holders[Tensor] = _by_tensor
holders[PrimitiveNode] = _by_primitive
holders[FusedNode] = _by_kernel
