"""Calling an operation on tensors: compute, and record what the backward pass will need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import nnlib.autograd.tensor as tensors  # circular: its names are looked up when called
from nnlib.autograd import engine
from nnlib.autograd.engine import Gradient, Node
from nnlib.autograd.mode import enable_grad, is_grad_enabled
from nnlib.errors import DTypeError, GradientError, NnlibError, ShapeError, describe
from nnlib.ops.operation import Fused, Operation, Primitive, Rule
from nnlib_backends import Backend, BackendMismatchError, Kernel
from nnlib_backends.contract import Array

__all__ = ["apply"]


def apply(operation: Operation, args: Sequence[Any], options: dict[str, Any]) -> Any:
    """Compute an operation whose arguments include a tensor; return a tensor."""
    Tensor = tensors.Tensor
    for arg in args:
        if isinstance(arg, Tensor):
            backend = arg.backend
            break
    kernel = None
    if isinstance(operation, Fused):
        kernel = backend.kernels.get(operation.name)
        if kernel is None:
            return operation.compute(args, options)
        args, options = operation.bind(args, options)
    arrays = [bare(operation.name, arg, backend) for arg in args]
    if backend.scope is None:
        y, saved = _compute(operation, kernel, backend, arrays, options)
    else:
        with backend.scope:
            y, saved = _compute(operation, kernel, backend, arrays, options)
    result = Tensor(y, backend)
    if y.base is not None:
        _share_version(result, args)
    if is_grad_enabled() and y.dtype.kind == "f":
        nodes = tuple([arg.node if isinstance(arg, Tensor) else None for arg in args])
        if nodes.count(None) < len(nodes):
            cells = [arg.version_cell if isinstance(arg, Tensor) else None for arg in args]
            inputs = (arrays, cells, nodes, options)
            if isinstance(operation, Fused):
                assert kernel is not None
                result.node = FusedNode(operation, kernel, saved, result, *inputs)
            elif isinstance(operation, Primitive) and (rules := operation.rules_for(nodes)):
                result.node = PrimitiveNode(operation, rules, result, *inputs)
    return result


def _compute(
    operation: Operation,
    kernel: Kernel | None,
    backend: Backend,
    arrays: list[Any],
    options: dict[str, Any],
) -> tuple[Array, Any]:
    """Return the result, and what a kernel wants to find again in the backward pass."""
    try:
        if kernel is None:
            fast, y, saved = backend.primitives.get(operation.name), NotImplemented, None
            if fast is not None:
                y = fast.forward(*arrays, **options)
            if y is NotImplemented:
                y = operation.function(backend.xp, *arrays, **options)
        else:
            y, saved = kernel.forward(*arrays, **options)
    except (ValueError, TypeError, OverflowError) as error:
        raise _explain(error, operation, arrays, options) from error
    if type(y) is not backend.array_type:  # NumPy turns 0-d results into scalars
        y = backend.asarray(y)
    if y.dtype.char == "d" and "dtype" not in options and not _has_float64(arrays):
        y = y.astype("float32")  # integers became floating-point: float64 comes only from float64
    return y, saved


def _has_float64(arrays: Sequence[Any]) -> bool:
    return any(hasattr(array, "dtype") and array.dtype.char == "d" for array in arrays)


def bare(name: str, arg: Any, backend: Backend) -> Any:
    """Return an argument of the operation ``name`` as an array of the backend, or as a number."""
    if isinstance(arg, tensors.Tensor):
        if arg.backend is backend:
            return arg.data
    elif isinstance(arg, float):
        return float(arg)  # NumPy's float64 scalars are floats: they promote nothing either
    elif arg is None or isinstance(arg, int) or backend.owns(arg):
        return arg
    elif isinstance(arg, list | tuple):
        from nnlib.autograd.creation import tensor  # circular

        return tensor(arg, backend=backend).data
    elif type(arg).__module__ == "numpy" and getattr(arg, "ndim", 1) == 0:
        return backend.asarray(arg)  # one number of NumPy's: welcome on every backend
    elif not hasattr(arg, "dtype"):
        raise DTypeError(f"{name} takes tensors, arrays and numbers. Received: {describe(arg)}")
    other = arg.backend.name if hasattr(arg, "node") else f"{type(arg).__module__} array"
    raise BackendMismatchError(
        f"{name} needs all its arguments on one backend. Received: {backend.name!r} and "
        f"{other!r} ({describe(arg)}). Move one of them: tensor.to({backend.name!r}) or "
        f"nnlib.tensor(array, backend={backend.name!r})"
    )


def _share_version(result: Any, args: Sequence[Any]) -> None:
    """Let a view and the tensor that it looks into count their changes together."""
    for arg in args:
        if isinstance(arg, tensors.Tensor) and result.backend.xp.may_share_memory(
            result.data, arg.data
        ):
            result.version_cell = arg.version_cell
            return


def _explain(
    error: Exception, operation: Operation, arrays: Sequence[Array], options: dict[str, Any]
) -> Exception:
    """Say which operation failed on what; errors that already say so stay."""
    if isinstance(error, NnlibError):
        return error
    kind = ShapeError if isinstance(error, ValueError) else DTypeError
    given = f" with {options}" if options else ""
    return kind(f"{operation.name}: {error}. Received: {describe(*arrays)}{given}")


class PrimitiveNode(Node):
    """The result of a primitive, with what its derivative rules keep."""

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
                if name not in self.kept:
                    self._keep(name, result, arrays, cells, options)

    def _keep(
        self,
        name: str,
        result: Any,
        arrays: Sequence[Array],
        cells: Sequence[list[int] | None],
        options: dict[str, Any],
    ) -> None:
        assert self.kept is not None
        operation, cell = self.operation, None
        if name in operation.options:
            self.kept[name] = options.get(name, operation.options[name])
        elif name == "y":
            self.kept[name], cell = result.data, result.version_cell
        elif name in operation.arrays:
            position = operation.arrays.index(name)
            self.kept[name], cell = arrays[position], cells[position]
        elif operation.variadic and name != "index":  # "<array>_shape"
            self.kept[name] = [array.shape for array in arrays]
        elif name != "index":
            array = arrays[operation.arrays.index(name[: -len("_shape")])]
            self.kept[name] = getattr(array, "shape", ())
        if cell is not None:
            self.versions[name] = (cell, cell[0])

    def pull_back(self, g: Gradient) -> Iterator[tuple[Node, Gradient]]:
        """Apply the rule of every input that needs a gradient."""
        _check(self.operation, self.kept, self.versions.values())
        recorded = hasattr(g, "node")
        kept = self._as_tensors() if recorded else self.kept
        assert kept is not None
        kernel = None if recorded else self.backend.primitives.get(self.operation.name)
        for position, rule in self.rules:
            values = [position if name == "index" else kept[name] for name in rule.keeps]
            source, share = self.inputs[position], NotImplemented
            assert source is not None
            if kernel is not None:
                fast = kernel.rules.get(self.operation.arrays[position])
                share = fast(g, *values) if fast else NotImplemented
            yield source, rule.function(g, *values) if share is NotImplemented else share

    def _as_tensors(self) -> dict[str, Any]:
        """Return what was kept, with arrays as tensors that are part of the graph."""
        assert self.kept is not None
        nodes = {**dict(zip(self.operation.arrays, self.inputs, strict=False)), "y": self}
        kept = dict(self.kept)
        for name, node in nodes.items():
            if name in kept and self.backend.owns(kept[name]):
                cell, _ = self.versions.get(name, (None, 0))
                kept[name] = tensors.Tensor(kept[name], self.backend, node, cell)
        return kept

    def release(self) -> None:
        """Forget the kept arrays."""
        self.kept = None


class FusedNode(Node):
    """The result of a backend's kernel, with its inputs and what the kernel saved.

    The inputs are kept because the derivative of the derivative comes from the definition.
    """

    __slots__ = ("arrays", "cells", "kernel", "operation", "options", "saved", "versions")

    def __init__(
        self,
        operation: Fused,
        kernel: Kernel,
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
        # The kernel may have saved its result, too.
        self.versions = [(c, c[0]) for c in (*cells, result.version_cell) if c is not None]

    def pull_back(self, g: Gradient) -> Iterator[tuple[Node, Gradient]]:
        """Ask the kernel, or the definition when the pass is itself recorded."""
        _check(self.operation, self.arrays, self.versions)
        assert self.arrays is not None
        if hasattr(g, "node"):
            yield from self._by_definition(g).items()
            return
        needs = tuple([node is not None for node in self.inputs])
        gradients = self.kernel.backward(g, self.saved, needs, *self.arrays, **self.options)
        for source, gradient in zip(self.inputs, gradients, strict=True):
            if source is not None:
                yield source, gradient

    def _by_definition(self, g: Gradient) -> dict[Node, Gradient]:
        assert self.arrays is not None
        args = [
            tensors.Tensor(array, self.backend, node, cell) if self.backend.owns(array) else array
            for array, node, cell in zip(self.arrays, self.inputs, self.cells, strict=True)
        ]
        with enable_grad():
            y = self.operation.compute(args, self.options)
        targets = [node for node in self.inputs if node is not None]
        return engine.backward([(y.node, g)], targets, retain_graph=True, stop_at_targets=True)

    def release(self) -> None:
        """Forget the inputs and what the kernel saved."""
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
