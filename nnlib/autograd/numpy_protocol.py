"""NumPy's own functions on tensors: ``np.exp(t)``, ``np.sum(t)``, ``np.concatenate([t, u])``.

NumPy asks its arguments first (``__array_ufunc__``, NEP 13; ``__array_function__``, NEP 18).  The
answer is nnlib's function of the same name, which works on either backend and is differentiable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nnlib import ops
from nnlib.errors import DTypeError
from nnlib.ops.operation import Operation

_RENAMED = {
    "absolute": "abs",
    "true_divide": "divide",
    "pow": "power",
    "amax": "max",
    "amin": "min",
}
_REMEDY = "Use an nnlib function, or numpy() for a copy without gradients that NumPy can work on"


def _find(name: str) -> Callable[..., Any]:
    function = getattr(ops, _RENAMED.get(name, name), None)
    if name not in _RENAMED and name not in ops.__all__:
        function = None
    if function is None:
        raise DTypeError(f"numpy.{name} is not defined for nnlib tensors. {_REMEDY}")
    return function  # type: ignore[no-any-return]


def array_ufunc(self: Any, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
    """``Tensor.__array_ufunc__``: elementwise functions and operators with NumPy arrays."""
    function = _find(ufunc.__name__)
    if method != "__call__" or options:
        extra = f".{method}" if method != "__call__" else f"({', '.join(options)}=…)"
        raise DTypeError(
            f"numpy.{ufunc.__name__}{extra} is not defined for nnlib tensors. {_REMEDY}"
        )
    return _call(function, inputs, options)


def array_function(
    self: Any, function: Any, types: Any, args: tuple[Any, ...], options: dict[str, Any]
) -> Any:
    """``Tensor.__array_function__``: everything that is not elementwise."""
    name = function.__name__
    if name in ("zeros_like", "ones_like"):
        from nnlib.autograd import creation  # circular

        return getattr(creation, name)(*args, **options)
    if name in ("shape", "ndim", "size") and len(args) == 1:
        return getattr(args[0], name)
    return _call(_find(name), args, options)


def _call(function: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Call an operation; a tensor among its options only would lead back here for ever."""
    if isinstance(function, Operation) and not function.variadic:
        arrays = args[: len(function.arrays)]
        if not any(hasattr(array, "__nnlib_apply__") for array in arrays):
            raise DTypeError(f"the options of {function.name} must not be tensors")
    return function(*args, **options)
