"""NumPy's own functions on tensors: ``np.exp(t)``, ``np.sum(t)``, ``np.concatenate([t, u])``.

NumPy dispatches them to the tensor (``__array_ufunc__``, NEP 13; ``__array_function__``, NEP 18),
which calls nnlib's function of the same name, on either backend and with gradients.  Arguments are
bound to NumPy's signature: each has NumPy's meaning, or is refused by name.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from nnlib import ops
from nnlib.autograd import creation
from nnlib.autograd.tensor import Tensor
from nnlib.errors import ArgumentError, DTypeError
from nnlib.ops.operation import Operation

_RENAMED = {
    "absolute": "abs",
    "true_divide": "divide",
    "pow": "power",
    "amax": "max",
    "amin": "min",
    "around": "round",
    "rint": "round",
}
#: NumPy's name of an argument → nnlib's.
_ARGUMENTS = {
    "a_max": "max",
    "a_min": "min",
    "constant_values": "value",
    "correction": "ddof",
    "newshape": "shape",
}
#: Values that are the same as leaving an argument out.
_NEUTRAL = {"casting": "same_kind", "order": "K", "where": True}
#: Functions written in C, which have a signature from NumPy 2.4 on.
_SIGNATURES: dict[str, Callable[..., Any]] = {
    "concatenate": lambda arrays, /, axis=0, out=None, *, dtype=None, casting="same_kind": None,
    "dot": lambda a, b, out=None: None,
    "where": lambda condition, x=None, y=None, /: None,
}
_REMEDY = "Use an nnlib function, or numpy() for a copy without gradients that NumPy can work on"


def _find(name: str) -> Callable[..., Any]:
    function = getattr(ops, _RENAMED.get(name, name), None)
    if name == "divmod":
        return _divmod
    if name in ("zeros_like", "ones_like"):
        function = getattr(creation, name)
    elif name not in _RENAMED and name not in ops.__all__:
        function = None
    if function is None:
        raise DTypeError(f"numpy.{name} is not defined for nnlib tensors. {_REMEDY}")
    return function  # type: ignore[no-any-return]


def _divmod(a: Any, b: Any) -> tuple[Any, Any]:
    return ops.floor_divide(a, b), ops.remainder(a, b)


def array_ufunc(self: Any, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
    """``Tensor.__array_ufunc__``: elementwise functions and operators with NumPy arrays."""
    name = ufunc.__name__
    function = _find(name)
    if method != "__call__":
        raise DTypeError(f"numpy.{name}.{method} is not defined for nnlib tensors. {_REMEDY}")
    for option, value in options.items():
        if not _is_neutral(option, value, None):
            raise _refusal(name, option, ["arrays"])
    return function(*inputs)


def array_function(
    self: Any, function: Any, types: Any, args: tuple[Any, ...], options: dict[str, Any]
) -> Any:
    """``Tensor.__array_function__``: everything that is not elementwise."""
    name = function.__name__
    if name in ("shape", "ndim", "size") and len(args) == 1:
        return getattr(args[0], name)
    ours, takes, count, known = _translation(function)
    arrays: list[Any] = []
    chosen: dict[str, Any] = {}
    for argument, value, default in _given(takes, args, options):
        if len(arrays) < count:
            arrays.append(value)
        elif value is not default:
            option = _ARGUMENTS.get(argument, argument)
            if option in known and option not in chosen:
                chosen[option] = value
            elif option in chosen or not _is_neutral(argument, value, default):
                raise _refusal(name, argument, known)
    if isinstance(ours, Operation):
        if ours.variadic:
            arrays = list(arrays[0])
        elif not any(hasattr(array, "__nnlib_apply__") for array in arrays):
            # a tensor only among the options would recurse for ever
            raise DTypeError(f"the options of {ours.name} must not be tensors")
    return ours(*arrays, **chosen)


@functools.cache
def _translation(function: Any) -> tuple[Callable[..., Any], inspect.Signature, int, list[str]]:
    """Return nnlib's function, NumPy's signature, the number of arrays, and the known options."""
    ours = _find(function.__name__)
    takes = inspect.signature(_SIGNATURES.get(function.__name__, function))
    parameters = inspect.signature(ours).parameters.values()
    if isinstance(ours, Operation):
        arrays = list(ours.arrays)
    else:
        arrays = [p.name for p in parameters if p.default is p.empty]
    known = [p.name for p in parameters if p.name not in (*arrays, "requires_grad")]
    return ours, takes, len(arrays), known


def _given(
    takes: inspect.Signature, args: tuple[Any, ...], options: dict[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, value and default of every argument of a call of a NumPy function."""
    for name, value in takes.bind(*args, **options).arguments.items():
        parameter = takes.parameters[name]
        if parameter.kind is parameter.VAR_KEYWORD:
            yield from ((extra, given, parameter.empty) for extra, given in value.items())
        else:
            yield name, value, parameter.default


def _is_neutral(argument: str, value: Any, default: Any) -> bool:
    """Whether an argument has no effect."""
    if isinstance(value, str):
        return value in (default, _NEUTRAL.get(argument))
    return argument == "subok" or value is default or value is _NEUTRAL.get(argument, default)


def _refusal(function: str, argument: str, known: list[str]) -> ArgumentError:
    return ArgumentError(
        f"numpy.{function}({argument}=…) is not defined for nnlib tensors, which take "
        f"{', '.join(known) or 'no options'} here. {_REMEDY}"
    )


Tensor.__array_ufunc__ = array_ufunc
Tensor.__array_function__ = array_function
