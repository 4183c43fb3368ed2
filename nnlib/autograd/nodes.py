"""The nodes of operations on the tape: the arrays they keep, and their derivatives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from nnlib.autograd import engine
from nnlib.autograd.autocast import applied
from nnlib.autograd.mode import enable_grad, is_grad_enabled
from nnlib.autograd.node import Gradient, Node
from nnlib.autograd.tensor import Tensor
from nnlib.errors import GradientError
from nnlib.ops.operation import Fused, Operation, Primitive, Rule
from nnlib.tracing import current
from nnlib_backends import KernelPair
from nnlib_backends.base import ANYWHERE, Array, GradOut
from nnlib_backends.dtypes import is_half

__all__ = ["FusedNode", "PrimitiveNode"]


class PrimitiveNode(Node):
    """The result of a primitive, with the arguments that its derivative rules need."""

    __slots__ = ("kept", "operation", "rules", "versions")

    def __init__(
        self,
        operation: Primitive,
        rules: Sequence[tuple[int, Rule]],
        result: Any,
        arrays: Sequence[Array],
        cells: Sequence[list[int] | None],
        nodes: tuple[Node | None, ...],
        options: dict[str, Any],
    ) -> None:
        super().__init__(result.data, result.backend, nodes)
        self.operation, self.rules = operation, rules
        self.kept: dict[str, Any] | None = {}
        self.versions: dict[str, tuple[list[int], int]] = {}  # name → cell, count when kept
        for _, rule in rules:
            for name in rule.keeps:
                if name in self.kept or name == "index":
                    continue
                value: Any = None
                cell = None
                if name in operation.options:
                    value = options.get(name, operation.options[name])
                elif name == "y":
                    value, cell = result.data, result.version_cell
                elif name in operation.arrays:
                    position = operation.arrays.index(name)
                    if position < len(arrays):  # else an argument that may be absent
                        value, cell = arrays[position], cells[position]
                elif operation.variadic:  # "<array>_shape"
                    value = [array.shape for array in arrays]
                else:
                    array = arrays[operation.arrays.index(name[: -len("_shape")])]
                    value = getattr(array, "shape", ())
                self.kept[name] = value
                if cell is not None:
                    self.versions[name] = (cell, cell[0])

    def pull_back(self, g: Gradient, into_buffers: bool) -> Iterator[tuple[Node, Gradient]]:
        """Apply the rule of every input that needs a gradient."""
        _check(self.operation, self.kept, self.versions.values())
        differentiable = hasattr(g, "node") and is_grad_enabled()
        kernel = None if differentiable else self.backend.primitives.get(self.operation.name)
        for position, rule in self.rules:
            source, share = self.inputs[position], NotImplemented
            assert source is not None
            if kernel is not None:
                fast = kernel.rules.get(self.operation.arrays[position])
                share = self._by_kernel(fast, g, rule) if fast else NotImplemented
            if share is NotImplemented:
                kept = self._as_tensors() if hasattr(g, "node") else self.kept
                assert kept is not None
                values = [position if name == "index" else kept[name] for name in rule.keeps]
                share = rule.function(g, *values)
            yield source, share

    def _by_kernel(self, fast: Callable[..., Any], g: Gradient, rule: Rule) -> Any:
        """Compute the derivative with the backend's kernel; ``NotImplemented`` if it cannot."""
        assert self.kept is not None
        values = map(self.kept.__getitem__, rule.keeps)
        tracing = current()
        if tracing is None:
            return fast(
                g if type(g) is self.backend.array_type else self.backend.asarray(g), *values
            )
        share = tracing.tracer.compute(fast, g.data, *values)
        return share if share is NotImplemented else Tensor(share, self.backend)

    def _as_tensors(self) -> dict[str, Any]:
        """Return the kept arguments, with arrays as tensors on the tape."""
        assert self.kept is not None
        nodes = {**dict(zip(self.operation.arrays, self.inputs, strict=False)), "y": self}
        kept = dict(self.kept)
        for name, node in nodes.items():
            if name in kept and self.backend.owns(kept[name]):
                cell, _ = self.versions.get(name, (None, 0))
                kept[name] = Tensor(kept[name], self.backend, node, cell)
        return kept

    def release(self) -> None:
        """Free the kept arrays."""
        self.kept = None


class FusedNode(Node):
    """The result of a kernel pair, with its inputs and the values that its forward pass saved.

    The inputs are kept because higher derivatives are computed from the definition.
    """

    __slots__ = ("arrays", "cells", "kernel", "operation", "options", "saved", "versions")

    def __init__(
        self,
        operation: Fused,
        kernel: KernelPair,
        saved: Any,
        result: Any,
        arrays: Sequence[Array],
        cells: Sequence[list[int] | None],
        nodes: tuple[Node | None, ...],
        options: dict[str, Any],
    ) -> None:
        super().__init__(result.data, result.backend, nodes)
        self.operation, self.kernel, self.options, self.saved = operation, kernel, options, saved
        self.arrays: Sequence[Array] | None = arrays
        self.cells = cells
        self.versions: list[tuple[list[int], int]] = []
        for cell in (*cells, result.version_cell):  # the kernel may have saved its result, too
            if cell is not None:
                self.versions.append((cell, cell[0]))

    def pull_back(self, g: Gradient, into_buffers: bool) -> Iterable[tuple[Node | None, Gradient]]:
        """Apply the kernel pair, or the definition if the pass is itself on the tape."""
        _check(self.operation, self.arrays, self.versions)
        assert self.arrays is not None
        if hasattr(g, "node") and is_grad_enabled():
            return self._by_definition(g).items()
        kernel, into_buffers = self.kernel, into_buffers and self.kernel.writes
        grads_out: list[GradOut | None] = []
        for node in self.inputs:
            if node is None:
                grads_out.append(None)
            elif into_buffers and node.grad_buffer is not None:
                grads_out.append(node.claim_grad_buffer(kernel.accumulates))
            else:
                grads_out.append(ANYWHERE)
        tracing = current()
        if tracing is None:
            if type(g) is not self.backend.array_type:  # NumPy turns 0-d results into scalars
                g = self.backend.asarray(g)
            gradients = kernel.backward(g, self.saved, grads_out, *self.arrays, **self.options)
        else:
            given = (g.data, self.saved, grads_out, *self.arrays)
            gradients = tracing.tracer.compute(kernel.backward, *given, **self.options)
            # only operations on tensors are traced
            gradients = [None if x is None else Tensor(x, self.backend) for x in gradients]
        return zip(self.inputs, gradients, strict=True)

    def _by_definition(self, g: Gradient) -> dict[Node, Gradient]:
        assert self.arrays is not None
        args = [
            Tensor(array, self.backend, node, cell) if self.backend.owns(array) else array
            for array, node, cell in zip(self.arrays, self.inputs, self.cells, strict=True)
        ]
        low = next((a.dtype for a in self.arrays if is_half(a)), None)
        with enable_grad():
            if low is not None and self.kernel.half:
                y = applied(self.operation, args, self.options, low, half=False)
            else:
                y = self.operation.compute(args, self.options)
        targets = [node for node in self.inputs if node is not None]
        return engine.backward([(y.node, g)], targets, retain_graph=True, stop_at_targets=True)

    def release(self) -> None:
        """Free the inputs and the saved values."""
        self.arrays = self.saved = None


def _check(operation: Operation, kept: Any, versions: Iterable[tuple[list[int], int]]) -> None:
    if kept is None:
        raise GradientError(
            f"the graph behind {operation.name} was freed by an earlier backward pass. To go "
            "through it again, call the earlier one with retain_graph=True"
        )
    for cell, version in versions:
        if cell[0] != version:
            raise GradientError(
                f"an array that the derivative of {operation.name} needs was changed in place "
                f"after it was used (version {cell[0]}, expected {version}). Change a copy instead"
            )
