"""CuPy's namespace, computed by NumPy."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy import special

from nnlib_backends.cupy_backend.concatenate import make_joins
from nnlib_backends.cupy_backend.gemm.matmul import CublasGemm
from nnlib_backends.cupy_backend.linalg import HostLinalg
from nnlib_backends.cupy_backend.numpy_compat import make_functions
from strict_backend import arrays
from strict_backend.arrays import StrictArray, index, operand
from strict_backend.counts import note_read, note_transfer
from strict_backend.functions import SPECIAL
from strict_backend.indexing import add_at
from strict_backend.kernels import run
from strict_backend.names import (
    ADD_AT_DTYPES,
    CONVERSIONS,
    FIRST_IS_ARRAY,
    LOOPS,
    OFFERED,
    REDUCTIONS,
    SCALAR_RESULTS,
    UFUNC_KEYWORDS,
    UFUNC_METHODS,
)
from strict_backend.operators import check, dress, elementwise, undress

_TYPES = (np.generic, np.dtype, np.finfo, np.iinfo)


class StrictUfunc:
    """A ufunc with the loops, keywords and methods of CuPy's."""

    def __init__(self, name: str, ufunc: Any) -> None:
        self.__name__, self._ufunc = name, ufunc

    nin = property(lambda self: self._ufunc.nin)
    nout = property(lambda self: self._ufunc.nout)

    def __call__(self, *args: Any, **options: Any) -> Any:
        check(self.__name__, UFUNC_KEYWORDS, (), options)
        inputs, positional = args[: self.nin], args[self.nin :]
        out = options.get("out", positional or None)
        outputs = out if isinstance(out, tuple) else (out,) * self.nout
        dtype, casting = options.get("dtype"), options.get("casting", "same_kind")
        return elementwise(self.__name__, self._ufunc, inputs, outputs, dtype, casting)

    def at(self, a: StrictArray, indices: Any, b: Any = None) -> None:
        self._needs("at")
        if not _is_array(a):
            raise TypeError(f"Unsupported type {type(a)}")
        if self.__name__ == "add" and a.dtype.name not in ADD_AT_DTYPES:
            raise TypeError(f"cupy.add.at only supports {sorted(ADD_AT_DTYPES)}, not {a.dtype}")
        at = add_at if self.__name__ == "add" else self._ufunc.at
        run(at, a._array, index(indices), operand(b))

    def outer(self, a: Any, b: Any, **options: Any) -> Any:
        return self(a.reshape(a.shape + (1,) * b.ndim), b, **options)

    def _needs(self, method: str) -> None:
        if self.__name__ not in UFUNC_METHODS[method]:
            raise NotImplementedError(f"`cupy_{self.__name__}.{method}` is not supported yet")

    def __getattr__(self, method: str) -> Any:
        if method not in UFUNC_METHODS:
            raise AttributeError(method)
        self._needs(method)
        return _function(
            f"{self.__name__}.{method}", getattr(self._ufunc, method), _METHOD_KEYWORDS
        )


_METHOD_KEYWORDS = frozenset({"axis", "dtype", "out", "keepdims"})


def _is_array(value: Any) -> bool:
    return isinstance(value, StrictArray)


def _function(name: str, function: Callable[..., Any], keywords: frozenset[str]) -> Any:
    def call(*args: Any, **options: Any) -> Any:
        check(name, keywords, args, options)
        if name in FIRST_IS_ARRAY and not (args and _is_array(args[0])):
            raise TypeError(f"cupy.{name}() needs an array of its own. Received: {args[:1]}")
        if name == "take":
            return args[0].take(*args[1:], **options)
        if name == "where" and len(args) == 1:
            note_read()  # the same as nonzero
        found: dict[int, StrictArray] = {}
        bare_args = [undress(value, found) for value in args]
        bare_options = {key: undress(value, found) for key, value in options.items()}
        return dress(run(computed, *bare_args, **bare_options), found)

    computed = SPECIAL.get(name, function)
    if name in SCALAR_RESULTS or name in REDUCTIONS:
        computed = partial(_as_array, computed)
    call.__name__ = name
    return call


def _as_array(function: Callable[..., Any], *args: Any, **options: Any) -> np.ndarray:
    result = function(*args, **options)
    return result if result is options.get("out") else np.asarray(result, order="C")


def _conversion(function: Callable[..., Any], keywords: frozenset[str]) -> Any:
    def call(obj: Any, *args: Any, **options: Any) -> Any:
        check(function.__name__, keywords, args, options)
        options.pop("blocking", None)  # whether the host waits for the copy
        found: dict[int, StrictArray] = {}
        if _is_array(obj):
            return dress(run(function, undress(obj, found), *args, **options), found)
        note_transfer()
        if options.get("copy") is False:
            raise ValueError("a host array cannot get to the device without a copy")
        bare = obj if isinstance(obj, np.ndarray) else arrays._without_arrays(obj)
        result = np.array(function(bare, *args, **options))  # never the host's own memory
        return StrictArray(result)

    call.__name__ = function.__name__
    return call


class StrictNamespace:
    """Wraps NumPy's functions, for names in CuPy's list."""

    ndarray = StrictArray

    def __init__(self, source: Any, prefix: str = "") -> None:
        self._source, self._prefix = source, prefix

    def __getattr__(self, name: str) -> Any:
        kind, keywords = OFFERED.get(self._prefix + name, ("", frozenset()))
        item = getattr(self._source, name) if kind else None
        value: Any
        is_type = kind == "type" and isinstance(item, type) and issubclass(item, _TYPES)
        if is_type or (kind == "constant" and isinstance(item, float | None)):
            value = item
        elif isinstance(item, np.ufunc) and item.__name__ in LOOPS:
            value = StrictUfunc(item.__name__, item)
        elif kind == "function" and name in CONVERSIONS:
            value = _conversion(item, keywords)
        elif kind == "function":
            value = _function(self._prefix + name, item, keywords)
        else:
            raise AttributeError(f"module 'cupy' has no attribute {self._prefix + name!r}")
        setattr(self, name, value)
        return value


NAMESPACE = StrictNamespace(np)
# required by `Backend.xp` beyond NumPy's names
NAMESPACE.linalg = StrictNamespace(np.linalg, "linalg.")
NAMESPACE.erf = StrictUfunc("erf", special.erf)
NAMESPACE.ndtr = StrictUfunc("ndtr", special.ndtr)


def sliding_window_view(x: StrictArray, window_shape: Any, axis: Any = None) -> StrictArray:
    # CuPy has no read-only arrays.
    return StrictArray(
        np.lib.stride_tricks.sliding_window_view(x._array, window_shape, axis, writeable=True)
    )


NAMESPACE.sliding_window_view = sliding_window_view


class FixedNamespace:
    """The strict namespace with the CuPy backend's replacements, see `numpy_compat`."""

    def __init__(self, cupy: StrictNamespace) -> None:
        self._cupy = cupy
        self.__dict__.update(make_functions(cupy, cupy, self._sort))
        self.concatenate, self.stack = make_joins(cupy)
        self.linalg = HostLinalg(self, cupy.linalg)
        products = CublasGemm(None, cupy, id, lambda: 0, lambda: False)  # without cuBLASLt
        self.matmul, self._product = products.matmul, products.dot

    def _sort(self, places: StrictArray, entries: int) -> tuple[StrictArray, StrictArray]:
        order = self._cupy.argsort(places)
        return places[order], order

    def dot(self, a: Any, b: Any) -> Any:
        vectors = getattr(a, "ndim", 0) == getattr(b, "ndim", 0) == 1
        return self.vdot(a, b) if vectors else self._product(a, b)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._cupy, name)
        setattr(self, name, value)
        return value


FIXED = FixedNamespace(NAMESPACE)
