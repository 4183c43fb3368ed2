"""`Tensor`: an array of one backend, with its node on the tape if it needs a gradient."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, ClassVar, Never, TypeAlias

from nnlib import ops
from nnlib.arguments import ARRAY_ERRORS, error_type
from nnlib.autograd.hooks import RemovableHandle
from nnlib.autograd.mode import enable_grad, is_grad_enabled, no_grad
from nnlib.autograd.node import Node
from nnlib.errors import ArgumentError, DTypeError, GradientError, ShapeError, describe
from nnlib.ops.operation import Operation
from nnlib.tracing import current, perform, refuse_reading
from nnlib_backends import Backend, BackendMismatchError, load_backend
from nnlib_backends.base import Array
from nnlib_backends.dtypes import is_floating

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Tensor"]


def _of_array(name: str, doc: str) -> Any:
    """Return a property that reads an attribute of the array, without a Python call."""
    return property(operator.attrgetter(f"data.{name}"), doc=doc)


Axis: TypeAlias = "int | tuple[int, ...] | None"
Operator: TypeAlias = "Callable[[Any, Any], Tensor]"


def _operators(operation: Operation) -> tuple[Operator, Operator]:
    """Return an operator's method and its reflected one."""

    def left(self: Any, other: Any) -> Tensor:
        return operation(self, other)

    def right(self: Any, other: Any) -> Tensor:
        return operation(other, self)

    return left, right


class Tensor:
    """An array of one backend, with gradients.

    Make one with `nnlib.tensor`.  Operators and NumPy's own functions work on it, on either
    backend; `backward` of a result stores the gradient in `grad` of every tensor with
    ``requires_grad=True``.

    Leaves can be pickled, for instance for another process, and copied with `copy.deepcopy`:
    values, gradient and hooks.  A pickled tensor is loaded on its backend; move it ``to("numpy")``
    first for a machine without that backend.

    Examples
    --------
    >>> import nnlib
    >>> x = nnlib.tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> y = (x * x).sum()
    >>> y.backward()
    >>> x.grad
    tensor([2., 4., 6.])
    """

    __slots__ = ("__weakref__", "backend", "data", "node", "version_cell")
    __array_priority__ = 1000  # NumPy arrays on the left let the tensor decide

    def __init__(
        self,
        data: Array,
        backend: Backend,
        node: Node | None = None,
        version_cell: list[int] | None = None,
    ) -> None:
        self.data = data  #: numpy.ndarray or cupy.ndarray
        self.backend = backend
        self.node = node
        self.version_cell = [0] if version_cell is None else version_cell

    # Set by the modules `apply`, `numpy_protocol` and `engine`.
    __nnlib_apply__: ClassVar[Callable[..., Any]]
    __array_ufunc__: ClassVar[Callable[..., Any]]
    __array_function__: ClassVar[Callable[..., Any]]
    _carry_back: ClassVar[Callable[..., Any]]

    # Properties ------------------------------------------------------------------------------

    shape: tuple[int, ...] = _of_array("shape", "Size along every axis.")
    ndim: int = _of_array("ndim", "Number of axes.")
    size: int = _of_array("size", "Number of values.")
    dtype: Any = _of_array("dtype", "NumPy dtype of the values.")

    @property
    def requires_grad(self) -> bool:
        """Whether operations on it are differentiated; can be set on a leaf."""
        tracing = current()
        if tracing is not None:
            tracing.note_read(self)
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if value == self.requires_grad:
            return
        if not self.is_leaf:
            raise GradientError("requires_grad can be set on leaves only. Use detach() on a result")
        if value and not is_floating(self.dtype):
            raise DTypeError(f"only floating-point tensors have gradients. Received: {self.dtype}")
        self.node = Node(self.data, self.backend) if value else None

    @property
    def is_leaf(self) -> bool:
        """Whether it is not the result of an operation on the tape."""
        return self.node is None or not self.node.inputs

    @property
    def grad(self) -> Tensor | None:
        """Gradient computed by `backward`, of the tensor's own shape and dtype."""
        tracing = current()
        if tracing is not None:
            tracing.note_read(self)
        if self.node is None:
            return None
        if tracing is not None:
            tracing.note_grad_read(self.node)
        return self.node.grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if self.node is None:
            if value is not None:
                raise GradientError("this tensor has requires_grad=False, so it has no grad")
            return
        if value is not None:
            if not isinstance(value, Tensor) or value.dtype != self.dtype:
                raise DTypeError(f"grad must be a {self.dtype} tensor. Received: {describe(value)}")
            if value.shape != self.shape:
                raise ShapeError(f"grad must have the shape {self.shape}. Received: {value.shape}")
        tracing = current()
        if tracing is not None:
            tracing.note_grad_written(self.node)
        self.node.grad = value

    def bump_version(self) -> None:
        """Note that the array was changed in place (for code that works on `data` itself).

        Examples
        --------
        >>> import nnlib
        >>> x = nnlib.tensor([1.0, 2.0])
        >>> x.data[0] = 5.0
        >>> x.bump_version()
        """
        self.version_cell[0] += 1
        tracing = current()
        if tracing is not None:
            tracing.note_change(self.version_cell)

    # Gradients -------------------------------------------------------------------------------

    def backward(
        self,
        gradient: Tensor | Array | None = None,
        *,
        retain_graph: bool = False,
        create_graph: bool = False,
    ) -> None:
        """Compute the gradients of this value and add them to `grad` of the leaves.

        Parameters
        ----------
        gradient : Tensor or array, optional
            Gradient of the final objective by this tensor; 1 if not given, for which the tensor
            must have one element.
        retain_graph : bool
            Keep the tape for another backward pass.
        create_graph : bool
            Put the pass itself on the tape: the gradients can be differentiated again.

        Raises
        ------
        GradientError
            If the tensor has ``requires_grad=False``, or its tape was already freed.
        ShapeError
            If the gradient has another shape.

        Examples
        --------
        >>> import nnlib
        >>> x = nnlib.tensor([1.0, 2.0], requires_grad=True)
        >>> (x * x).backward(nnlib.tensor([1.0, 10.0]))
        >>> x.grad
        tensor([ 2., 40.])
        """
        if self.node is None:
            raise GradientError(
                "backward() needs a result with a gradient. Received: a tensor with "
                "requires_grad=False (was it computed under no_grad, or from no parameter?)"
            )
        seed = self._seed(gradient, create_graph)
        with enable_grad() if create_graph else no_grad():
            self._carry_back([(self.node, seed)], retain_graph=retain_graph or create_graph)

    def _seed(self, gradient: Tensor | Array | None, create_graph: bool) -> Any:
        if gradient is None:
            if self.size != 1:
                raise ShapeError(
                    "backward() without a gradient needs a single value. "
                    f"Received: {self.dtype} {self.shape}. Take its sum or mean first"
                )
            seed = Tensor(self.backend.xp.ones(self.shape, dtype=self.dtype), self.backend)
        elif isinstance(gradient, Tensor):
            operand_array("backward", gradient, self.backend)  # refuses another backend's
            seed = gradient if gradient.dtype == self.dtype else gradient.astype(self.dtype)
        else:
            seed = Tensor(self.backend.asarray(gradient, dtype=self.dtype), self.backend)
        if seed.shape != self.shape:
            raise ShapeError(f"the gradient must have shape {self.shape}. Received: {seed.shape}")
        # only operations on tensors can be on the tape or traced
        return seed if create_graph or current() is not None else seed.data

    def retain_grad(self) -> None:
        """Store the gradient of this intermediate result in `grad`, too.

        Raises
        ------
        GradientError
            If the tensor has ``requires_grad=False``.

        Examples
        --------
        >>> import nnlib
        >>> x = nnlib.tensor([1.0, 2.0], requires_grad=True)
        >>> y = x * x
        >>> y.retain_grad()
        >>> y.sum().backward()
        >>> y.grad
        tensor([1., 1.])
        """
        if self.node is None:
            raise GradientError("retain_grad() needs a tensor with requires_grad=True")
        self.node.keep_grad = True

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Call ``hook(gradient)`` in every backward pass; it may return another gradient.

        Hooks are called in the order of their registration.  Pickle and `copy.deepcopy` copy them;
        setting ``requires_grad = False`` removes them, like the gradient.

        Returns
        -------
        RemovableHandle
            Removes the hook: ``handle.remove()``, or a ``with`` block.

        Raises
        ------
        GradientError
            If the tensor has ``requires_grad=False``; in the backward pass, if the hook does not
            return None or a tensor of the gradient's shape.

        Examples
        --------
        >>> import nnlib
        >>> x = nnlib.tensor([1.0, 2.0], requires_grad=True)
        >>> handle = x.register_hook(lambda gradient: 10 * gradient)
        >>> x.sum().backward()
        >>> x.grad
        tensor([10., 10.])
        >>> handle.remove()
        """
        if self.node is None:
            raise GradientError("register_hook() needs a tensor with requires_grad=True")
        return self.node.add_hook(hook)

    def detach(self) -> Tensor:
        """Return a tensor with the same array and no gradient.

        Examples
        --------
        >>> import nnlib
        >>> x = nnlib.tensor([1.0, 2.0], requires_grad=True)
        >>> (x * x).detach()
        tensor([1., 4.])
        """
        return Tensor(self.data, self.backend, None, self.version_cell)

    # Moving and converting -------------------------------------------------------------------

    def to(self, target: str | Backend) -> Tensor:
        """Copy to a backend, ``"numpy"``, ``"cupy"``, ``"cupy:1"``; return itself if it is there.

        The copy is a new leaf: gradients do not flow between backends.

        Raises
        ------
        UnknownBackendError, BackendUnavailableError
            If there is no such backend, or it cannot be used here.
        GradientError
            If the tensor is a result on the tape.

        Examples
        --------
        >>> import nnlib
        >>> x = nnlib.tensor([1.0, 2.0])
        >>> x.to("numpy") is x
        True
        """
        backend = load_backend(target)
        if backend is self.backend:
            return self
        if not self.is_leaf and is_grad_enabled():
            raise GradientError(
                "to() would lose the gradient: gradients do not flow between backends. "
                "Use detach().to(...), or move the inputs first"
            )
        moved = Tensor(backend.asarray(self.data), backend)
        moved.requires_grad = self.requires_grad
        return moved

    def astype(self, dtype: Any) -> Tensor:
        """Convert to another dtype (differentiable between floating-point types)."""
        return ops.astype(self, dtype=dtype)

    def numpy(self) -> np.ndarray[Any, Any]:
        """Copy to the host as a NumPy array.

        Examples
        --------
        >>> import nnlib
        >>> nnlib.tensor([1.0, 2.0]).numpy()
        array([1., 2.], dtype=float32)
        """
        refuse_reading("numpy()")
        return self.backend.to_numpy(self.data)

    def item(self) -> Any:
        """Return the only value as a Python number (waits for the device).

        Raises
        ------
        ShapeError
            If there is not exactly one value.

        Examples
        --------
        >>> import nnlib
        >>> nnlib.tensor([1.0, 2.0]).sum().item()
        3.0
        """
        if self.size != 1:
            raise ShapeError(
                f"a single value is needed here. Received: {self.dtype} {self.shape}. "
                "Reduce it first (sum, mean, max, …), or take all values with tolist() or numpy()"
            )
        refuse_reading("item(), float() or bool()")
        return self.data.item()

    def tolist(self) -> Any:
        """Return the values as nested lists (waits for the device).

        Examples
        --------
        >>> import nnlib
        >>> nnlib.tensor([[1.0], [2.0]]).tolist()
        [[1.0], [2.0]]
        """
        refuse_reading("tolist()")
        return self.data.tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    def __index__(self) -> int:
        return operator.index(self.item())

    def __format__(self, spec: str) -> str:
        if not spec:
            return str(self)
        _note_text()
        return format(self.data.item() if self.size == 1 else self.item(), spec)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        self._refuse_to_leave("a NumPy array")
        refuse_reading("turning a tensor into a NumPy array")
        # A GPU array refuses this: the copy to the host must be explicit, with numpy().
        if copy is None:
            return self.data.__array__(dtype)  # type: ignore[no-any-return]
        return self.data.__array__(dtype, copy=copy)  # type: ignore[no-any-return]

    def __dlpack__(self, **options: Any) -> Any:
        self._refuse_to_leave("an array of another library")
        refuse_reading("DLPack")
        return self.data.__dlpack__(**options)

    def _refuse_to_leave(self, into: str) -> None:
        """Refuse to become an array and lose the gradient."""
        if self.node is not None:
            raise GradientError(
                f"a tensor with requires_grad=True must not become {into} implicitly, which has no "
                f"gradient. Received: {describe(self)}. Use detach() (or numpy(), a copy), or "
                "nnlib's functions on tensors: nnlib.stack([t, u])"
            )

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.data.__dlpack_device__()  # type: ignore[no-any-return]

    def __len__(self) -> int:
        if self.ndim == 0:
            raise DTypeError(
                f"len() and iteration need a tensor with an axis. Received: {describe(self)}. "
                "Take the value with item()"
            )
        return len(self.data)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        from numpy import array2string

        _note_text()
        name = "tensor" if type(self) is Tensor else type(self).__name__
        values = self.backend.to_numpy(self.data)
        parts = [array2string(values, separator=", ", prefix=f"{name}(")]
        if self.size == 0 and self.ndim != 1:
            parts.append(f"shape={self.shape}")
        if self.dtype.name != "float32":
            parts.append(f"dtype={self.dtype.name}")
        if self.backend.name != "numpy":
            parts.append(f"backend={self.backend.name!r}")
        if self.requires_grad:
            parts.append("requires_grad=True")
        return f"{name}({', '.join(parts)})"

    # Copying ---------------------------------------------------------------------------------

    def __copy__(self) -> Tensor:
        """Return another tensor with the same array and node."""
        twin = type(self).__new__(type(self))
        twin._set_extras(self._extras())
        Tensor.__init__(twin, self.data, self.backend, self.node, self.version_cell)
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        """Return a leaf with copies of array, gradient and hooks."""
        refuse_reading("copy.deepcopy()")
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        array = deepcopy(self.data, memo)
        node, cell = deepcopy(self.node, memo), deepcopy(self.version_cell, memo)
        twin._set_extras(deepcopy(self._extras(), memo))
        Tensor.__init__(twin, array, self.backend, node, cell)
        return twin

    def __getstate__(self) -> tuple[Any, ...]:
        """Return the values on the host, the backend, which pickles as its name, and the node."""
        refuse_reading("pickle")
        array = self.data if self.backend.name == "numpy" else self.backend.to_numpy(self.data)
        return array, self.backend, self.node, self._extras()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        array, backend, node, extras = state
        self._set_extras(extras)
        # pickle's arrays may be views of its own bytes, joblib's are read-only
        Tensor.__init__(self, backend.asarray(array, copy=True), backend, node)

    def _extras(self) -> dict[str, Any]:
        """Return the attributes of a subclass."""
        return getattr(self, "__dict__", {})

    def _set_extras(self, extras: dict[str, Any]) -> None:
        for name, value in extras.items():
            object.__setattr__(self, name, value)

    # Operators -------------------------------------------------------------------------------

    __add__, __radd__ = _operators(ops.add)
    __sub__, __rsub__ = _operators(ops.subtract)
    __mul__, __rmul__ = _operators(ops.multiply)
    __truediv__, __rtruediv__ = _operators(ops.divide)
    __floordiv__, __rfloordiv__ = _operators(ops.floor_divide)
    __mod__, __rmod__ = _operators(ops.remainder)
    __pow__, __rpow__ = _operators(ops.power)
    __matmul__, __rmatmul__ = _operators(ops.matmul)
    __and__, __rand__ = _operators(ops.bitwise_and)
    __or__, __ror__ = _operators(ops.bitwise_or)
    __lt__, __gt__ = _operators(ops.less)[0], _operators(ops.greater)[0]
    __le__, __ge__ = _operators(ops.less_equal)[0], _operators(ops.greater_equal)[0]

    def __divmod__(self, other: Any) -> tuple[Tensor, Tensor]:
        return ops.floor_divide(self, other), ops.remainder(self, other)

    def __rdivmod__(self, other: Any) -> tuple[Tensor, Tensor]:
        return ops.floor_divide(other, self), ops.remainder(other, self)

    def __round__(self, digits: int | None = None) -> Tensor:
        return ops.round(self, decimals=digits or 0)

    def __neg__(self) -> Tensor:
        return ops.negative(self)

    def __pos__(self) -> Tensor:
        return self

    def __abs__(self) -> Tensor:
        return ops.abs(self)

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]
        if other is None or isinstance(other, str):  # never equal: Python answers False
            return NotImplemented
        return ops.equal(self, other)

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]
        if other is None or isinstance(other, str):
            return NotImplemented
        return ops.not_equal(self, other)

    __hash__ = object.__hash__

    def __invert__(self) -> Tensor:
        return ops.invert(self)

    def __getitem__(self, key: Any) -> Tensor:
        return ops.getitem(self, key=_key_arrays(key))

    def __contains__(self, value: Any) -> bool:
        return bool(ops.any(ops.equal(self, value)))

    # Methods with a function of the same name ------------------------------------------------
    #
    # Unknown keywords are passed to the function, whose error lists the known ones.

    def sum(
        self, axis: Axis = None, keepdims: bool = False, dtype: Any = None, **unknown: Never
    ) -> Tensor:
        """Sum over an axis, several, or all; in another dtype, if given."""
        return ops.sum(self, axis=axis, keepdims=keepdims, **_more(dtype, unknown))

    def mean(
        self, axis: Axis = None, keepdims: bool = False, dtype: Any = None, **unknown: Never
    ) -> Tensor:
        """Arithmetic mean over an axis, several, or all; in another dtype, if given."""
        return ops.mean(self, axis=axis, keepdims=keepdims, **_more(dtype, unknown))

    def prod(
        self, axis: Axis = None, keepdims: bool = False, dtype: Any = None, **unknown: Never
    ) -> Tensor:
        """Product over an axis, several, or all; in another dtype, if given."""
        return ops.prod(self, axis=axis, keepdims=keepdims, **_more(dtype, unknown))

    def cumsum(self, axis: int | None = None, dtype: Any = None, **unknown: Never) -> Tensor:
        """Running sum along an axis, or of the flattened values; in another dtype, if given."""
        return ops.cumsum(self, axis=axis, **_more(dtype, unknown))

    def var(
        self, axis: Axis = None, keepdims: bool = False, ddof: int = 0, **unknown: Never
    ) -> Tensor:
        """Variance; the divisor is the number of values minus ``ddof``."""
        result: Tensor = ops.var(self, axis, keepdims, ddof, **unknown)
        return result

    def std(
        self, axis: Axis = None, keepdims: bool = False, ddof: int = 0, **unknown: Never
    ) -> Tensor:
        """Standard deviation; the divisor is the number of values minus ``ddof``."""
        result: Tensor = ops.std(self, axis, keepdims, ddof, **unknown)
        return result

    def max(self, axis: Axis = None, keepdims: bool = False, **unknown: Never) -> Tensor:
        """Largest value."""
        return ops.max(self, axis=axis, keepdims=keepdims, **unknown)

    def min(self, axis: Axis = None, keepdims: bool = False, **unknown: Never) -> Tensor:
        """Smallest value."""
        return ops.min(self, axis=axis, keepdims=keepdims, **unknown)

    def argmax(self, axis: int | None = None, keepdims: bool = False, **unknown: Never) -> Tensor:
        """Index of the largest value."""
        return ops.argmax(self, axis=axis, keepdims=keepdims, **unknown)

    def argmin(self, axis: int | None = None, keepdims: bool = False, **unknown: Never) -> Tensor:
        """Index of the smallest value."""
        return ops.argmin(self, axis=axis, keepdims=keepdims, **unknown)

    def any(self, axis: Axis = None, keepdims: bool = False, **unknown: Never) -> Tensor:
        """Whether any value is true (not zero)."""
        return ops.any(self, axis=axis, keepdims=keepdims, **unknown)

    def all(self, axis: Axis = None, keepdims: bool = False, **unknown: Never) -> Tensor:
        """Whether all values are true (not zero)."""
        return ops.all(self, axis=axis, keepdims=keepdims, **unknown)

    def copy(self) -> Tensor:
        """Copy the values to new memory (differentiable).

        Examples
        --------
        >>> import nnlib
        >>> nnlib.tensor([1.0, 2.0]).clone()
        tensor([1., 2.])
        """
        return ops.copy(self)

    clone = copy  #: PyTorch's name

    def clip(self, min: Any = None, max: Any = None, **unknown: Never) -> Tensor:
        """Limit to [min, max], numbers or tensors."""
        return ops.clip(self, min=min, max=max, **unknown)

    def reshape(self, *shape: int | Sequence[int], **options: Any) -> Tensor:
        """Return the same values in another shape."""
        return ops.reshape(self, **_one("shape", shape, options))

    def transpose(self, *axes: int | Sequence[int], **options: Any) -> Tensor:
        """Permute the axes; without arguments, reverse them."""
        return ops.transpose(self, **(_one("axes", axes, options) if axes else options))

    def round(self, decimals: int = 0, **unknown: Never) -> Tensor:
        """Round to this number of decimals."""
        return ops.round(self, decimals=decimals, **unknown)

    def swapaxes(self, *axes: int, **options: int) -> Tensor:
        """Exchange two axes."""
        return ops.swapaxes(self, *axes, **options)

    def squeeze(self, axis: Axis = None, **unknown: Never) -> Tensor:
        """Drop axes of size 1."""
        return ops.squeeze(self, axis=axis, **unknown)

    def flatten(self) -> Tensor:
        """Return all values along one axis.

        Examples
        --------
        >>> import nnlib
        >>> nnlib.tensor([[1.0], [2.0]]).flatten()
        tensor([1., 2.])
        """
        return ops.reshape(self, shape=(-1,))

    @property
    def T(self) -> Tensor:  # noqa: N802 - NumPy's name
        """The tensor with its axes reversed."""
        return ops.transpose(self)

    # In place --------------------------------------------------------------------------------

    def __setitem__(self, key: Any, value: Any) -> None:
        self._refuse_grad("assignment to an index", value)
        self._write(_key_arrays(key), operand_array("assignment", value, self.backend))

    def copy_(self, source: Any) -> Tensor:
        """Overwrite with the values of another tensor or array of any library; return self.

        Raises
        ------
        GradientError
            If a tensor has ``requires_grad=True``, outside `nnlib.no_grad`.
        ShapeError
            If the values do not fit into its shape.
        DTypeError
            If its values cannot be converted.

        Examples
        --------
        >>> import nnlib
        >>> nnlib.zeros(2).copy_([1.0, 2.0])
        tensor([1., 2.])
        """
        self._refuse_grad("copy_", source)
        if isinstance(source, Tensor):
            source = source.data
        if not self.backend.owns(source):
            source = Operation.as_tensor(source, backend=self.backend).data
        self._write(..., source)
        return self

    def fill_(self, value: float) -> Tensor:
        """Overwrite with one value; return self.

        Raises
        ------
        GradientError
            If the tensor has ``requires_grad=True``, outside `nnlib.no_grad`.

        Examples
        --------
        >>> import nnlib
        >>> nnlib.zeros(2).fill_(7.0)
        tensor([7., 7.])
        """
        self._refuse_grad("fill_")
        self._write(..., value)
        return self

    def zero_(self) -> Tensor:
        """Overwrite with zeros; return self.

        Raises
        ------
        GradientError
            If the tensor has ``requires_grad=True``, outside `nnlib.no_grad`.

        Examples
        --------
        >>> import nnlib
        >>> nnlib.ones(2).zero_()
        tensor([0., 0.])
        """
        return self.fill_(0)

    def __iadd__(self, other: Any) -> Tensor:
        return self._in_place(ops.add, other)

    def __isub__(self, other: Any) -> Tensor:
        return self._in_place(ops.subtract, other)

    def __imul__(self, other: Any) -> Tensor:
        return self._in_place(ops.multiply, other)

    def __itruediv__(self, other: Any) -> Tensor:
        return self._in_place(ops.divide, other)

    def __ifloordiv__(self, other: Any) -> Tensor:
        return self._in_place(ops.floor_divide, other)

    def __imod__(self, other: Any) -> Tensor:
        return self._in_place(ops.remainder, other)

    def __ipow__(self, other: Any) -> Tensor:
        return self._in_place(ops.power, other)

    def __iand__(self, other: Any) -> Tensor:
        return self._in_place(ops.bitwise_and, other)

    def __ior__(self, other: Any) -> Tensor:
        return self._in_place(ops.bitwise_or, other)

    def _in_place(self, operation: Any, other: Any) -> Tensor:
        """``t += x`` changes the array or, if the result needs a gradient, makes a new tensor."""
        what = f"in-place {operation.name}"
        if self.is_leaf:
            self._refuse_grad(what)
        result: Tensor = operation(self, other)
        if result.requires_grad:
            return result
        if result.shape != self.shape:
            raise ShapeError(
                f"{what} must keep the shape {self.shape}. Received: {describe(other)}. "
                "Use an operation that makes a new tensor"
            )
        if _kind(result.dtype) > _kind(self.dtype):
            raise DTypeError(
                f"{what} must not turn {self.dtype} into {result.dtype}. "
                f"Convert first: astype('{result.dtype}')"
            )
        self._write(..., result.data)
        return self

    def _write(self, key: Any, value: Any) -> None:
        tracing = current()
        if tracing is not None:
            tracing.note_tensor(self)
        try:
            perform(operator.setitem, self.data, key, value)
        except ARRAY_ERRORS as error:
            raise error_type(error)(
                f"assignment: {error}. Received: {describe(value)} for {describe(self)}"
            ) from error
        self.bump_version()

    def _refuse_grad(self, what: str, *others: Any) -> None:
        if is_grad_enabled():
            for tensor in (self, *others):
                if isinstance(tensor, Tensor) and tensor.requires_grad:
                    raise GradientError(
                        f"{what} is not differentiable, so it must not use a tensor with "
                        "requires_grad=True. Use `with nnlib.no_grad():`, detach(), or an "
                        "operation that makes a new tensor"
                    )


def _kind(dtype: Any) -> int:
    """Return 0 for booleans, 1 for integers, 2 for floating-point numbers."""
    return 2 if is_floating(dtype) else int(dtype.kind != "b")


def _note_text() -> None:
    """Note in a trace that a tensor was printed, which a replay would not repeat."""
    tracing = current()
    if tracing is not None:
        tracing.note_unrepeatable("a tensor is turned into a text")


def operand_array(name: str, arg: Any, backend: Backend) -> Any:
    """Return an argument of the operation ``name`` as an array of the backend, or a number."""
    if isinstance(arg, Tensor):
        if arg.backend is backend:
            return arg.data
    elif isinstance(arg, float):
        return float(arg)  # a NumPy float64 scalar must not promote float32 arrays
    elif arg is None or isinstance(arg, int) or backend.owns(arg):
        return arg
    elif isinstance(arg, list | tuple):
        return Operation.as_tensor(arg, backend=backend).data
    elif type(arg).__module__ == "numpy" and getattr(arg, "ndim", 1) == 0:
        return backend.asarray(arg)  # a NumPy scalar or 0-d array, for any backend
    elif not hasattr(arg, "dtype"):
        raise DTypeError(f"{name} takes tensors, arrays and numbers. Received: {describe(arg)}")
    other = arg.backend.name if hasattr(arg, "node") else f"{type(arg).__module__} array"
    raise BackendMismatchError(
        f"{name} needs all its arguments on one backend. Received: {backend.name!r} and "
        f"{other!r} ({describe(arg)}). Move one of them: tensor.to({backend.name!r}) or "
        f"nnlib.tensor(array, backend={backend.name!r})"
    )


def _key_arrays(key: Any) -> Any:
    """Replace the tensors in an index by arrays."""
    if isinstance(key, tuple):
        return tuple(map(_key_arrays, key))
    return key.data if isinstance(key, Tensor) else key


def _more(dtype: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Add a dtype to options, if it is given."""
    return options if dtype is None else {"dtype": dtype, **options}


def _one(name: str, values: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
    """Add an option that may be given as several arguments, as a sequence, or by name."""
    if len(values) == 1 and hasattr(values[0], "__iter__"):
        values = tuple(values[0])
    if name not in options:
        return {name: values, **options}
    if values:
        raise ArgumentError(f"{name} must be given once. Received: {values} and {options[name]}")
    return options
