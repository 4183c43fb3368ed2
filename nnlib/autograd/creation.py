"""Make tensors from data, constants and random numbers."""

from __future__ import annotations

import operator
from numbers import Integral
from typing import Any

from nnlib.arguments import ARRAY_ERRORS, explain, explained
from nnlib.autograd.tensor import Tensor
from nnlib.errors import (
    ArgumentError,
    BackendMismatchError,
    DTypeError,
    NnlibError,
    OptionError,
    ShapeError,
    describe,
)
from nnlib.memory import out_of_memory
from nnlib.ops.operation import Operation
from nnlib.random import default_generator
from nnlib.tracing import current, repeated
from nnlib_backends import Backend, backend_of, get_backend, load_backend
from nnlib_backends.dtypes import is_floating

__all__ = [
    "arange",
    "eye",
    "from_dlpack",
    "full",
    "linspace",
    "ones",
    "ones_like",
    "rand",
    "randn",
    "tensor",
    "zeros",
    "zeros_like",
]

Where = str | Backend | None


@explained
def tensor(
    data: Any, dtype: Any = None, *, requires_grad: bool = False, backend: Where = None
) -> Tensor:
    """Make a tensor.

    Parameters
    ----------
    data : array, number or nested sequence
        An array keeps its dtype, and its memory if it is on the tensor's backend (no copy).
        Python floats become float32, Python integers int64.
    dtype : dtype, optional
        Dtype of the tensor.
    requires_grad : bool
        Whether `Tensor.backward` computes its gradient.
    backend : str or Backend, optional
        Backend of the tensor.  If not given, tensors and GPU arrays keep theirs; NumPy arrays and
        Python data go to the current backend, so that ``NNLIB_BACKEND`` moves a whole program.

    Returns
    -------
    Tensor

    Raises
    ------
    DTypeError
        If the data are no numbers, or integers with ``requires_grad=True``.

    Examples
    --------
    >>> tensor([[1, 2], [3, 4]], dtype="float32")
    tensor([[1., 2.],
            [3., 4.]])
    """
    cell = None
    if isinstance(data, Tensor):
        backend = data.backend if backend is None else backend
        data, cell = data.data, data.version_cell
    is_array = hasattr(data, "dtype") and hasattr(data, "shape")
    target = _backend_for(data, is_array, backend)
    if not is_array and dtype is None:
        dtype = _default_dtype(data)
    try:
        array = target.asarray(data, dtype=dtype)
        if current() is not None and cell is None:
            # a constant of a traced function: copied in every replay, since it may be changed
            array = repeated(target.asarray, array, copy=True)
    except (ValueError, TypeError, OverflowError) as error:
        if isinstance(error, NnlibError):
            raise
        raise DTypeError(
            f"a tensor needs numbers in a regular shape, and a NumPy dtype. {error}"
        ) from error
    except MemoryError as error:
        raise out_of_memory(error, target, f"a tensor of {describe(data)}") from None
    if array.dtype.kind not in "biu" and not is_floating(array.dtype):
        raise DTypeError(
            f"a tensor holds booleans, integers or floating-point numbers. Received: {array.dtype}"
        )
    result = Tensor(array, target, None, cell if array is data else None)
    result.requires_grad = requires_grad
    return result


def _backend_for(data: Any, is_array: bool, backend: Where) -> Backend:
    if backend is not None:
        return load_backend(backend)
    if is_array:
        try:
            owner = backend_of(data)
        except BackendMismatchError:  # of an unknown library: the backend may convert it
            return get_backend()
        if not owner.host_memory:
            return owner
    return get_backend()


def _default_dtype(data: Any) -> Any:
    """Return float32 for Python floats, also inside lists; else None, the library's default."""
    if isinstance(data, list | tuple):
        return "float32" if not data or "float32" in map(_default_dtype, data) else None
    return "float32" if isinstance(data, float) else None


@explained
def from_dlpack(array: Any) -> Tensor:
    """Make a tensor of an array of any library without a copy, through DLPack.

    Parameters
    ----------
    array : object with ``__dlpack__``
        On the CPU or on a CUDA device (a PyTorch or JAX tensor, …).

    Raises
    ------
    DTypeError
        If it is no such object, or DLPack has not its dtype (`tensor` can copy it).

    Examples
    --------
    >>> import numpy as np
    >>> from_dlpack(np.arange(3.0))
    tensor([0., 1., 2.], dtype=float64)
    """
    if not hasattr(array, "__dlpack_device__"):
        raise DTypeError(
            f"from_dlpack needs an object with __dlpack__. Received: {type(array).__name__}. "
            "Use nnlib.tensor for it"
        )
    kind, device = array.__dlpack_device__()
    name = "numpy" if kind in (1, 3) else f"cupy:{device}"  # kDLCPU, kDLCUDAHost | kDLCUDA
    backend = load_backend(name)
    try:
        return Tensor(backend.xp.from_dlpack(array), backend)
    except NnlibError:
        raise
    except (BufferError, RuntimeError, TypeError) as error:
        raise DTypeError(
            f"from_dlpack cannot share {describe(array)}: {error} Use nnlib.tensor, which copies"
        ) from error


def _make(function: str, *args: Any, requires_grad: bool, backend: Where, **options: Any) -> Tensor:
    target = get_backend() if backend is None else load_backend(backend)
    try:
        array = repeated(getattr(target.xp, function), *args, **options)
    except ARRAY_ERRORS as error:
        explain(error, function, args, options)
    except MemoryError as error:
        raise out_of_memory(error, target, f"{function} of {describe(*args)}") from None
    result = Tensor(array, target)
    result.requires_grad = requires_grad
    return result


@explained
def zeros(
    *shape: Any, dtype: Any = "float32", requires_grad: bool = False, backend: Where = None
) -> Tensor:
    """Make a tensor of zeros: ``zeros(2, 3)`` or ``zeros((2, 3))``.

    Parameters
    ----------
    *shape : int, or one tuple of int
        Size along every axis.
    dtype : dtype
        Dtype of the tensor.
    requires_grad : bool
        Whether `Tensor.backward` computes its gradient.
    backend : str or Backend, optional
        Backend of the tensor; the current one if not given.

    Raises
    ------
    ShapeError, DTypeError
        If a size is negative or not an integer, or the dtype does not exist.

    Examples
    --------
    >>> zeros(2, 3)
    tensor([[0., 0., 0.],
            [0., 0., 0.]])
    """
    return _make(
        "zeros", _shape(shape, "zeros"), dtype=dtype, requires_grad=requires_grad, backend=backend
    )


@explained
def ones(
    *shape: Any, dtype: Any = "float32", requires_grad: bool = False, backend: Where = None
) -> Tensor:
    """Make a tensor of ones: ``ones(2, 3)`` or ``ones((2, 3))``.

    Parameters
    ----------
    *shape : int, or one tuple of int
        Size along every axis.
    dtype : dtype
        Dtype of the tensor.
    requires_grad : bool
        Whether `Tensor.backward` computes its gradient.
    backend : str or Backend, optional
        Backend of the tensor; the current one if not given.

    Raises
    ------
    ShapeError, DTypeError
        If a size is negative or not an integer, or the dtype does not exist.

    Examples
    --------
    >>> ones(2, 3)
    tensor([[1., 1., 1.],
            [1., 1., 1.]])
    """
    return _make(
        "ones", _shape(shape, "ones"), dtype=dtype, requires_grad=requires_grad, backend=backend
    )


@explained
def zeros_like(x: Tensor, dtype: Any = None, *, requires_grad: bool = False) -> Tensor:
    """Make a tensor of zeros with the shape, backend and dtype of another.

    Parameters
    ----------
    x : Tensor, array or nested sequence
        The other tensor.
    dtype : dtype, optional
        Dtype of the tensor, if not that of ``x``.
    requires_grad : bool
        Whether `Tensor.backward` computes its gradient.

    Examples
    --------
    >>> zeros_like(tensor([[1, 2]]))
    tensor([[0, 0]], dtype=int64)
    """
    x = x if isinstance(x, Tensor) else tensor(x)
    return zeros(x.shape, dtype=dtype or x.dtype, requires_grad=requires_grad, backend=x.backend)


@explained
def ones_like(x: Tensor, dtype: Any = None, *, requires_grad: bool = False) -> Tensor:
    """Make a tensor of ones with the shape, backend and dtype of another.

    Parameters
    ----------
    x : Tensor, array or nested sequence
        The other tensor.
    dtype : dtype, optional
        Dtype of the tensor, if not that of ``x``.
    requires_grad : bool
        Whether `Tensor.backward` computes its gradient.

    Examples
    --------
    >>> ones_like(tensor([[1, 2]]))
    tensor([[1, 1]], dtype=int64)
    """
    x = x if isinstance(x, Tensor) else tensor(x)
    return ones(x.shape, dtype=dtype or x.dtype, requires_grad=requires_grad, backend=x.backend)


@explained
def full(
    shape: tuple[int, ...],
    value: float,
    dtype: Any = "float32",
    *,
    requires_grad: bool = False,
    backend: Where = None,
) -> Tensor:
    """Make a tensor filled with one value.

    Parameters
    ----------
    shape : tuple of int
        Size along every axis.
    value : float
        The value.
    dtype : dtype
        Dtype of the tensor.
    requires_grad : bool
        Whether `Tensor.backward` computes its gradient.
    backend : str or Backend, optional
        Backend of the tensor; the current one if not given.

    Examples
    --------
    >>> full((2, 2), 7.0)
    tensor([[7., 7.],
            [7., 7.]])
    """
    return _make(
        "full",
        _shape((shape,), "full"),
        value,
        dtype=dtype,
        requires_grad=requires_grad,
        backend=backend,
    )


@explained
def arange(
    *limits: float, dtype: Any = None, requires_grad: bool = False, backend: Where = None
) -> Tensor:
    """Make a tensor of evenly spaced values from start to stop, without stop.

    Parameters
    ----------
    *limits : float
        ``stop``; ``start, stop``; or ``start, stop, step``.
    dtype : dtype, optional
        If not given: int64 if all limits are integers, else float32.
    requires_grad : bool
        Whether `Tensor.backward` computes its gradient.
    backend : str or Backend, optional
        Backend of the tensor; the current one if not given.

    Raises
    ------
    OptionError
        If the step is 0.

    Examples
    --------
    >>> arange(3)
    tensor([0, 1, 2], dtype=int64)
    """
    if not 1 <= len(limits) <= 3:
        raise ArgumentError(
            f"arange takes stop; start, stop; or start, stop, step. Received: {len(limits)} numbers"
        )
    if len(limits) == 3 and limits[2] == 0:
        raise OptionError(f"the step of arange must not be 0. Received: {describe(*limits)}")
    if dtype is None:
        dtype = "int64" if all(isinstance(x, Integral) for x in limits) else "float32"
    return _make("arange", *limits, dtype=dtype, requires_grad=requires_grad, backend=backend)


@explained
def linspace(
    start: float,
    stop: float,
    num: int = 50,
    *,
    dtype: Any = "float32",
    requires_grad: bool = False,
    backend: Where = None,
) -> Tensor:
    """Make a tensor of ``num`` evenly spaced values from start to stop, both included.

    Parameters
    ----------
    start, stop : float
        First and last value.
    num : int
        Number of values.
    dtype : dtype
        Dtype of the tensor.
    requires_grad : bool
        Whether `Tensor.backward` computes its gradient.
    backend : str or Backend, optional
        Backend of the tensor; the current one if not given.

    Examples
    --------
    >>> linspace(0, 1, 5)
    tensor([0.  , 0.25, 0.5 , 0.75, 1.  ])
    """
    return _make(
        "linspace", start, stop, num, dtype=dtype, requires_grad=requires_grad, backend=backend
    )


@explained
def eye(n: int, *, dtype: Any = "float32", backend: Where = None) -> Tensor:
    """Make the n × n identity matrix.

    Parameters
    ----------
    n : int
        Number of rows and columns.
    dtype : dtype
        Dtype of the tensor.
    backend : str or Backend, optional
        Backend of the tensor; the current one if not given.

    Examples
    --------
    >>> eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    return _make("eye", n, dtype=dtype, requires_grad=False, backend=backend)


@explained
def rand(*shape: Any, requires_grad: bool = False, backend: Where = None) -> Tensor:
    """Draw uniform float32 numbers in [0, 1) from the default generator.

    Parameters
    ----------
    *shape : int, or one tuple of int
        Size along every axis.
    requires_grad : bool
        Whether `Tensor.backward` computes its gradient.
    backend : str or Backend, optional
        Backend of the tensor; the current one if not given.

    Examples
    --------
    >>> import nnlib
    >>> _ = nnlib.manual_seed(0)
    >>> rand(2)
    tensor([0.39904642, 0.88052016])
    """
    target = get_backend() if backend is None else load_backend(backend)
    result = Tensor(default_generator.uniform(_shape(shape, "rand"), backend=target), target)
    result.requires_grad = requires_grad
    return result


@explained
def randn(*shape: Any, requires_grad: bool = False, backend: Where = None) -> Tensor:
    """Draw standard normal float32 numbers from the default generator.

    Parameters are those of `rand`.

    Examples
    --------
    >>> import nnlib
    >>> _ = nnlib.manual_seed(0)
    >>> randn(2, 3).shape
    (2, 3)
    >>> bool(abs(randn(10000).mean()) < 0.05)
    True
    """
    target = get_backend() if backend is None else load_backend(backend)
    result = Tensor(default_generator.normal(_shape(shape, "randn"), backend=target), target)
    result.requires_grad = requires_grad
    return result


def _shape(shape: tuple[Any, ...], name: str) -> tuple[int, ...]:
    """Check the sizes, given as several arguments or as one sequence."""
    sizes = shape
    if len(shape) == 1 and not isinstance(shape[0], str) and hasattr(shape[0], "__iter__"):
        sizes = tuple(shape[0])
    try:
        sizes = tuple(map(operator.index, sizes))
    except TypeError as error:
        raise DTypeError(f"{name}: every size must be an integer. Received: {sizes}") from error
    if any(size < 0 for size in sizes):
        raise ShapeError(f"{name}: negative sizes are not allowed. Received: {sizes}")
    return sizes


Operation.as_tensor = tensor  # operations of Python numbers and lists
