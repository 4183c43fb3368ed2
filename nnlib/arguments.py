"""Check calls against signatures, and raise errors that name the probable argument."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from inspect import BoundArguments, Parameter, Signature, signature
from typing import Any, NoReturn, ParamSpec, Self, TypeVar

from nnlib.errors import (
    ArgumentError,
    DTypeError,
    IndexingError,
    NnlibError,
    OptionError,
    ShapeError,
    describe,
    did_you_mean,
)

__all__ = [
    "ARRAY_ERRORS",
    "Explained",
    "check_call",
    "check_choice",
    "check_fraction",
    "check_keywords",
    "check_numbers",
    "error_type",
    "explain",
    "explain_call",
    "explained",
    "positive_integer",
    "unknown_keyword",
]

P = ParamSpec("P")
R = TypeVar("R")

#: Errors of Python and array libraries about their arguments.
ARRAY_ERRORS = (ValueError, TypeError, IndexError, AttributeError, OverflowError)

#: Keyword of another library → possible names in nnlib.
OTHER_NAMES = {
    "a": ("x",),
    "a_max": ("max",),
    "a_min": ("min",),
    "ax": ("axis",),
    "axes": ("axis",),
    "axis": ("axes", "dim"),
    "clip_value_max": ("max",),
    "clip_value_min": ("min",),
    "constant_values": ("value",),
    "correction": ("ddof",),
    "dim": ("axis", "axes"),
    "device": ("backend",),
    "dim0": ("axis1", "axes"),
    "dim1": ("axis2", "axes"),
    "dims": ("axis", "axes"),
    "end": ("stop",),
    "exponent": ("b",),
    "fill_value": ("value",),
    "decay": ("weight_decay",),
    "index": ("indices", "key"),
    "input": ("x", "a", "arrays", "indices", "query"),
    "keep_dims": ("keepdims",),
    "keepdim": ("keepdims",),
    "learning_rate": ("lr",),
    "mat2": ("b",),
    "newshape": ("shape",),
    "other": ("b",),
    "pad": ("pad_width",),
    "paddings": ("pad_width",),
    "perm": ("axes",),
    "rate": ("p",),
    "shifts": ("shift",),
    "size": ("shape",),
    "steps": ("num",),
    "tensor": ("x",),
    "tensors": ("arrays",),
    "unbiased": ("ddof",),
    "units": ("out_features",),
    "values": ("arrays",),
    "x": ("a", "input", "indices"),
    "x1": ("a",),
    "x2": ("b",),
    "y": ("b",),
}


def unknown_keyword(function: str, keyword: str, known: Collection[str]) -> ArgumentError:
    """Return the error about a keyword that a function does not have.

    Examples
    --------
    >>> print(unknown_keyword("sum", "dim", ["x", "axis", "keepdims"]))
    sum takes x, axis, keepdims. Received: the keyword 'dim'. Use axis=
    """
    meant = [name for name in OTHER_NAMES.get(keyword, ()) if name in known]
    remedy = f" Use {meant[0]}=" if meant else did_you_mean(keyword, known)
    takes = ", ".join(known) or "no arguments"
    return ArgumentError(f"{function} takes {takes}. Received: the keyword {keyword!r}.{remedy}")


def check_keywords(function: str, keywords: Iterable[str], takes: Signature) -> None:
    """Check that all keywords are parameters of a signature.

    Raises
    ------
    ArgumentError
        If one is not.
    """
    parameters = takes.parameters.values()
    if any(p.kind is Parameter.VAR_KEYWORD for p in parameters):
        return
    known = [p.name for p in parameters if p.name != "self"]
    for keyword in keywords:
        if keyword not in known:
            raise unknown_keyword(function, keyword, known)


def check_call(
    function: str, args: tuple[Any, ...], options: Mapping[str, Any], takes: Signature
) -> BoundArguments:
    """Bind arguments to a signature.

    Raises
    ------
    ArgumentError
        If a keyword is unknown, an argument is missing or given twice, or there are too many.

    Examples
    --------
    >>> check_call("add", (1,), {}, signature(lambda a, b: None))
    Traceback (most recent call last):
        ...
    nnlib.errors.ArgumentError: add(a, b): missing a required argument: 'b'
    """
    check_keywords(function, options, takes)
    try:
        return takes.bind(*args, **options)
    except TypeError as error:
        names = [p.replace(annotation=Parameter.empty) for p in takes.parameters.values()]
        raise ArgumentError(f"{function}{Signature(names)}: {error}") from None


def check_choice(value: str, choices: Sequence[str], name: str) -> None:
    """Check that a value is one of the choices."""
    if value not in choices:
        words = ", ".join(repr(choice) for choice in choices)
        raise OptionError(f"{name} must be one of {words}. Received: {value!r}")


def check_fraction(value: float, name: str) -> None:
    """Check that a number is in [0, 1]."""
    _check_number(name, value)
    if not 0 <= value <= 1:
        raise OptionError(f"{name} must be in [0, 1]. Received: {value!r}")


def check_numbers(**options: Any) -> None:
    """Check that options can be compared with numbers."""
    for name, value in options.items():
        _check_number(name, value)


def _check_number(name: str, value: Any) -> None:
    try:
        value < 0  # noqa: B015 - only whether it can be
    except TypeError:
        raise DTypeError(f"{name} must be a number. Received: {value!r}") from None


def explain_call(
    error: TypeError,
    name: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    options: Mapping[str, Any],
) -> None:
    """Raise an `ArgumentError` if ``error`` is about the arguments of ``function``.

    That is so if no line of the function ran: then the traceback ends at the caller, or at the last
    decorator of the function.

    Raises
    ------
    ArgumentError
        If the arguments do not fit.

    Examples
    --------
    >>> def double(x):
    ...     return 2 * x
    >>> try:
    ...     double(1, 2)
    ... except TypeError as error:
    ...     explain_call(error, "double", double, (1, 2), {})
    Traceback (most recent call last):
        ...
    nnlib.errors.ArgumentError: double(x): too many positional arguments
    """
    trace, inner = error.__traceback__, function
    while trace is not None and trace.tb_next is not None and hasattr(inner, "__wrapped__"):
        trace, inner = trace.tb_next, inner.__wrapped__
    if trace is not None and trace.tb_next is None:
        check_call(name, args, options, signature(function))


class Explained:
    """Base class with errors about the arguments of the constructor.

    Examples
    --------
    >>> class Layer(Explained):
    ...     def __init__(self, size):
    ...         self.size = size
    >>> Layer(dim=3)
    Traceback (most recent call last):
        ...
    nnlib.errors.ArgumentError: Layer takes size. Received: the keyword 'dim'.
    """

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Check the arguments of ``__init__``."""
        if args or options:
            itself, *parameters = signature(cls.__init__).parameters.values()
            if itself.kind is not Parameter.VAR_POSITIONAL:
                check_call(cls.__name__, args, options, Signature(parameters))
        return super().__new__(cls)


def explain(
    error: Exception, name: str, args: Sequence[Any], options: Mapping[str, Any]
) -> NoReturn:
    """Raise an error that names the operation and its arguments; raise nnlib's own unchanged."""
    if isinstance(error, NnlibError):
        raise error
    given = f" with {dict(options)}" if options else ""
    raise error_type(error)(f"{name}: {error}. Received: {describe(*args)}{given}") from error


def error_type(error: Exception) -> type[NnlibError]:
    """Return nnlib's error type for one of `ARRAY_ERRORS`."""
    if isinstance(error, ValueError):  # NumPy's AxisError is an IndexError, too
        return ShapeError
    return IndexingError if isinstance(error, IndexError) else DTypeError


def explained(function: Callable[P, R]) -> Callable[P, R]:
    """Raise nnlib's errors about the arguments of a function (a decorator).

    Examples
    --------
    >>> @explained
    ... def total(x, axis=None):
    ...     return x + 1
    >>> total(1, dim=0)
    Traceback (most recent call last):
        ...
    nnlib.errors.ArgumentError: total takes x, axis. Received: the keyword 'dim'. Use axis=
    >>> total(None)
    Traceback (most recent call last):
        ...
    nnlib.errors.DTypeError: total: unsupported operand type(s) for +: 'NoneType' and 'int'. \
Received: None
    """

    @functools.wraps(function)
    def call(*args: P.args, **options: P.kwargs) -> R:
        try:
            return function(*args, **options)
        except ARRAY_ERRORS as error:
            if isinstance(error, TypeError):
                explain_call(error, function.__name__, function, args, options)
            explain(error, function.__name__, args, options)

    return call


def positive_integer(name: str, value: Any) -> int:
    """Return the value if it is an integer of at least 1."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise OptionError(f"{name} must be a positive integer. Received: {value!r}")
