"""`Operation`: a differentiable function of arrays, a primitive or a fused operation.

A *primitive* is written with a backend's namespace ``xp``; each of its array arguments may have a
derivative rule (vjp)::

    @primitive
    def tanh(xp, x):
        return xp.tanh(x)

    @tanh.vjp("x")
    def _(g, y):
        return g * (1 - y * y)

A rule's parameters name the values that it needs, which are kept until the backward pass:

==================  =====================================================
``g``               gradient of the loss by the output
``y``               the output
an argument's name  that argument (array, or keyword with its default)
``<array>_shape``   the shape of an array argument, without keeping it
``index``           position in a variadic argument (``*arrays``)
==================  =====================================================

Rules are written in operators and other primitives, so they work on arrays (the usual backward
pass) and on tensors (when the pass is itself on the tape, for higher derivatives).  A rule may
ignore broadcasting: the engine sums a gradient to the shape of its argument.

A *fused* operation is a function of primitives, its **definition**; a backend may have a faster
`KernelPair` of the same name.

**Dtypes.** Operations with fractional results convert integers to float32, see `primitive` and
`Fused`.  With 16-bit arguments (float16, bfloat16) they compute in float32 and round the result
once, unless the operation is ``exact``, see `primitive`.

**Arguments.** Of arrays the result is an array, so that rules work on arrays.  With a tensor among
the arguments it is a tensor, and with Python numbers and lists alone, too.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, overload

from nnlib.arguments import ARRAY_ERRORS, check_call, check_keywords, explain
from nnlib.errors import ArgumentError, ShapeError, describe
from nnlib_backends.dtypes import is_floating, is_half
from nnlib_backends.registry import backend_for

if TYPE_CHECKING:
    from nnlib.autograd.tensor import Tensor
    from nnlib_backends import Backend

__all__ = [
    "IN_FLOAT32",
    "TO_FLOAT32",
    "Fused",
    "Integers",
    "Operation",
    "Policy",
    "Primitive",
    "Rule",
    "fused",
    "in_float32",
    "primitive",
]


@dataclass(frozen=True)
class Policy:
    """How `nnlib.autocast` converts the arguments and the result of an operation.

    Attributes
    ----------
    data : tuple of str
        Arguments that are rounded to 16 bits if they are float32.
    parameters : bool
        Whether all other arguments are rounded, too; a kernel for mixed precision does it itself.
    result : {"half", "same", "float32"}
        Dtype of the result: 16 bits; that of the first argument; float32.
    """

    data: tuple[str, ...] = ()
    parameters: bool = False
    result: str = "same"


IN_FLOAT32 = Policy()
TO_FLOAT32 = Policy(result="float32")

_PYTHON_DATA = {bool, int, float, list, tuple}


class Operation:
    """A function of arrays and keyword options.

    Of arrays it computes an array.  Of tensors it calls their method ``__nnlib_apply__``, which
    puts the result on the tape, so that this module does not import tensors.  Python numbers and
    lists alone are converted to tensors.
    """

    #: Converts Python data to a tensor; set by `nnlib.autograd.creation`.
    as_tensor: ClassVar[Callable[..., Any]]

    def __init__(
        self,
        function: Callable[..., Any],
        skip: int,
        exact: bool = False,
        autocast: Policy | None = None,
    ) -> None:
        parameters = list(inspect.signature(function).parameters.values())[skip:]
        self.name = function.__name__
        self.function = function
        self.exact = exact
        self.autocast = autocast
        self.variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        arrays = [p for p in parameters if p.kind is not p.KEYWORD_ONLY]
        self.arrays = tuple(p.name for p in arrays)
        self.options = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        #: converts to ``dtype=`` if the operation has that option, see `shaping.converting`
        self.convert: Callable[..., Any] | None = None
        # the number of required arrays, and the required options
        self._least = 1 if self.variadic else sum(p.default is p.empty for p in arrays)
        self._needed = frozenset(n for n, v in self.options.items() if v is inspect.Parameter.empty)
        # for help(), doctest and inspect
        self.__name__ = self.__qualname__ = function.__name__
        self.__doc__ = function.__doc__
        self.__module__ = function.__module__
        self.__wrapped__ = function
        self.__signature__ = inspect.Signature(parameters)

    def __call__(self, *args: Any, **options: Any) -> Tensor:
        """Compute on arrays or tensors."""
        if options and not options.keys() <= self.options.keys():
            if self.convert is not None and "dtype" in options:
                return self._converted(args, options)  # type: ignore[no-any-return]
            args, options = self._by_name(args, options)
        if self.variadic:
            if args and isinstance(args[0], list | tuple):  # concatenate([a, b], 1)
                self._name_options(args[1:], options)
                args = tuple(args[0])
        elif len(args) > len(self.arrays):  # options may also come by position: sum(x, 0)
            args = self._positional_options(args, options)
        if len(args) < self._least or (self._needed and not self._needed <= options.keys()):
            raise self._misfit(args, options)
        for arg in args:
            apply = getattr(arg, "__nnlib_apply__", None)
            if apply is not None:
                return apply(self, args, options)  # type: ignore[no-any-return]
        if args and type(args[0]) in _PYTHON_DATA and not any(hasattr(x, "dtype") for x in args):
            return self(Operation.as_tensor(args[0]), *args[1:], **options)
        try:
            if not self.exact and args and is_half(args[0]):
                return in_float32(self, args, options)  # type: ignore[no-any-return]
            return self.compute(args, options)  # type: ignore[no-any-return]
        except ARRAY_ERRORS as error:
            explain(error, self.name, args, options)

    def __reduce__(self) -> str:
        """Pickle by name, like a function."""
        return self.name

    def _positional_options(
        self, args: tuple[Any, ...], options: dict[str, Any]
    ) -> tuple[Any, ...]:
        """Return the arrays; add the positional options to the keyword options."""
        count = len(self.arrays)
        self._name_options(args[count:], options)
        return args[:count]

    def _name_options(self, values: tuple[Any, ...], options: dict[str, Any]) -> None:
        """Add positional options to the keyword options."""
        if len(values) > len(self.options):
            takes = len(self.arrays) + len(self.options)
            raise ArgumentError(
                f"{self.name}{self.__signature__} takes at most {takes} arguments. "
                f"Received: {len(self.arrays) + len(values)}"
            )
        for name, value in zip(self.options, values, strict=False):
            if name in options:
                raise ArgumentError(
                    f"{self.name}{self.__signature__} takes {name!r} once. "
                    "Received: one by position and one by name"
                )
            options[name] = value

    def _by_name(
        self, args: tuple[Any, ...], options: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Convert keyword arrays to positional ones: ``linear(x, weight=w)``."""
        if self.variadic:
            if not args and self.arrays[0] in options:
                args = (options.pop(self.arrays[0]),)
            check_keywords(self.name, options, self.__signature__)
            return args, options
        if len(args) > len(self.arrays):
            args = self._positional_options(args, options)
        call = check_call(self.name, args, options, self.__signature__)
        given = {name: call.arguments[name] for name in self.options if name in options}
        call.apply_defaults()  # for absent arrays in between
        return tuple(call.arguments[name] for name in self.arrays), given

    def _converted(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Compute in another dtype: ``sum(x, dtype="float64")``."""
        dtype = options.pop("dtype")
        if dtype is None:
            return self(*args, **options)
        astype = self.convert
        assert astype is not None
        if args:
            args = (astype(args[0], dtype=dtype), *args[1:])
        elif self.arrays[0] in options:
            options[self.arrays[0]] = astype(options[self.arrays[0]], dtype=dtype)
        return astype(self(*args, **options), dtype=dtype)

    def _misfit(self, args: tuple[Any, ...], options: dict[str, Any]) -> Exception:
        """Return the error about missing arguments."""
        if self.variadic and not args:
            return ShapeError(f"{self.name} needs at least one array. Received: none")
        lacks = [*self.arrays[len(args) : self._least], *sorted(self._needed - options.keys())]
        return ArgumentError(
            f"{self.name}{self.__signature__} needs {', '.join(lacks)}. "
            f"Received: {describe(*args, *options) or 'nothing'}"
        )

    def compute(self, args: Sequence[Any], options: dict[str, Any]) -> Any:
        """Compute on arrays."""
        raise NotImplementedError  # abstract

    def __repr__(self) -> str:
        return f"<nnlib operation {self.name}{self.__signature__}>"


def in_float32(operation: Callable[..., Any], args: Sequence[Any], options: dict[str, Any]) -> Any:
    """Call an operation with 16-bit arguments in float32, and round the result to 16 bits.

    With floating-point arguments of several dtypes the result is not rounded, as NumPy promotes.

    Parameters
    ----------
    operation : callable
        A function of arrays or tensors.
    args, options
        Its arguments.

    Examples
    --------
    >>> import numpy as np
    >>> from nnlib import ops
    >>> in_float32(ops.sqrt, [np.array([4.0, 9.0], np.float16)], {})
    array([2., 3.], dtype=float16)
    """
    given = {x.dtype for x in args if hasattr(x, "dtype") and is_floating(x.dtype)}
    y = operation(*[x.astype("float32") if is_half(x) else x for x in args], **options)
    if len(given) > 1 or not is_floating(y.dtype):
        return y
    return y.astype(given.pop())


@dataclass(frozen=True)
class Rule:
    """The derivative of an operation by one array argument, and the values that it keeps."""

    function: Callable[..., Any]
    keeps: tuple[str, ...]


class Primitive(Operation):
    """An operation written with ``xp``, with derivative rules for its array arguments."""

    def __init__(
        self,
        function: Callable[..., Any],
        floats: bool = False,
        exact: bool | None = None,
        autocast: Policy | None = None,
    ) -> None:
        if exact is None:
            exact = not floats and autocast is None
        super().__init__(function, skip=1, exact=exact, autocast=autocast)
        self.rules: dict[str, Rule] = {}
        self.floats = floats

    def vjp(self, argument: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Declare the vector-Jacobian product by one array argument (a decorator)."""

        def declare(function: Callable[..., Any]) -> Callable[..., Any]:
            names = tuple(inspect.signature(function).parameters)
            known = {
                "y",
                "index",
                *self.arrays,
                *self.options,
                *(f"{a}_shape" for a in self.arrays),
            }
            if argument not in self.arrays or names[0] != "g" or not known.issuperset(names[1:]):
                raise TypeError(f"the rule of {self.name} by {argument!r} cannot keep {names}")
            self.rules[argument] = Rule(function, names[1:])
            return function

        return declare

    def rules_for(self, nodes: Sequence[Any]) -> list[tuple[int, Rule]]:
        """Return (position, rule) of the arguments that have a rule and a node (not ``None``)."""
        names = self.arrays * len(nodes) if self.variadic else self.arrays
        found = []
        for position, (name, node) in enumerate(zip(names, nodes, strict=False)):
            if node is not None and name in self.rules:
                found.append((position, self.rules[name]))
        return found

    def compute(self, args: Sequence[Any], options: dict[str, Any]) -> Any:
        """Compute on arrays."""
        return self.run(backend_for(*args), args, options)

    def run(self, backend: Backend, args: Sequence[Any], options: dict[str, Any]) -> Any:
        """Compute on a backend's arrays, with its kernel if there is one for them."""
        kernel = backend.primitives.get(self.name)
        if kernel is not None:
            y = kernel.forward(*args, **options)
            if y is not NotImplemented:
                return y
        if self.floats:
            args = _as_floats(args)
        return self.function(backend.xp, *args, **options)


def _as_floats(args: Sequence[Any]) -> Sequence[Any]:
    """Convert integers to floats, unless another argument is a float.

    Integers of 8 and 16 bits fit into float32; longer ones are converted to float64, and `apply`
    rounds the result of tensors to float32.
    """
    arrays = [x for x in args if hasattr(x, "dtype")]
    if any(is_floating(x.dtype) for x in arrays):
        return args
    return [
        x.astype("float32" if x.dtype.itemsize < 4 else "float64") if hasattr(x, "dtype") else x
        for x in args
    ]


@overload
def primitive(function: Callable[..., Any]) -> Primitive: ...
@overload
def primitive(
    *, floats: bool = False, exact: bool | None = None, autocast: Policy | None = None
) -> Callable[[Callable[..., Any]], Primitive]: ...
def primitive(
    function: Callable[..., Any] | None = None,
    *,
    floats: bool = False,
    exact: bool | None = None,
    autocast: Policy | None = None,
) -> Primitive | Callable[[Callable[..., Any]], Primitive]:
    """Make a primitive of ``function(xp, *arrays, **options)`` (a decorator).

    Parameters
    ----------
    function : callable
    floats : bool
        Whether the result is fractional for integers, too: then integers are converted to
        floating-point numbers before the call.
    exact : bool, optional
        Whether it computes in 16 bits, because it moves, selects or compares values, or rounds
        once; if not, it computes in float32.  By default it is exact unless ``floats`` or
        ``autocast`` is given.
    autocast : Policy, optional
        Conversions by `nnlib.autocast`; none if not given.

    Examples
    --------
    >>> import nnlib
    >>> @primitive(floats=True)
    ... def root(xp, x):
    ...     return xp.sqrt(x)
    >>> root(nnlib.tensor([4], dtype="uint8"))
    tensor([2.])
    """
    if function is None:
        return lambda function: Primitive(function, floats, exact, autocast)
    return Primitive(function, floats, exact, autocast)


@dataclass(frozen=True)
class Integers:
    """A sample argument of a fused operation: an integer array with values in [0, high)."""

    shape: tuple[int, ...]
    high: int


class Fused(Operation):
    """An operation defined by other operations, for which a backend may have a kernel pair.

    Attributes
    ----------
    samples : list of (arguments, options)
        Inputs for the conformance test, which compares kernels with the definition: shapes of
        float arrays, `Integers`, or ``None`` for an absent argument.
    floats : tuple of int
        Positions of the arguments that are `Integers` in no sample: they must be floating-point,
        and integers are converted to float32.
    check : callable or None
        ``check(*arrays, **options)`` raises `ShapeError` if the shapes do not fit; kernels do not
        check them.
    """

    registry: ClassVar[dict[str, Fused]] = {}

    def __init__(
        self,
        function: Callable[..., Any],
        samples: Sequence[Any],
        check: Callable[..., None] | None = None,
        exact: bool = False,
        autocast: Policy | None = None,
    ) -> None:
        super().__init__(function, skip=0, exact=exact, autocast=autocast)
        self.check = check
        self.samples = [(tuple(args), dict(options)) for args, options in samples]
        integers = {i for args, _ in self.samples for i, x in enumerate(args) if _is_integers(x)}
        self.floats = tuple(i for i in range(len(self.arrays)) if i not in integers)
        Fused.registry[self.name] = self

    def compute(self, args: Sequence[Any], options: dict[str, Any]) -> Any:
        """Compute on arrays with the definition."""
        if self.check is not None:
            arrays, every = self.bind(args, options)
            self.check(*arrays, **every)
        return self.function(*args, **options)

    def bind(
        self, args: Sequence[Any], options: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Add the defaults of absent arrays (``None``) and options for a kernel."""
        missing = len(self.arrays) - len(args)
        return (*args, *(None,) * missing), {**self.options, **options}


def _is_integers(sample: Any) -> bool:
    return isinstance(sample, Integers)


def fused(
    samples: Sequence[Any],
    check: Callable[..., None] | None = None,
    exact: bool = False,
    autocast: Policy | None = None,
) -> Callable[[Callable[..., Any]], Fused]:
    """Make a fused operation of its definition (a decorator).

    Parameters
    ----------
    samples : sequence of (arguments, options)
    check : callable, optional
        See `Fused`.
    exact, autocast
        See `primitive`.
    """
    return lambda function: Fused(function, samples, check, exact, autocast)


def fused_operations() -> Iterator[Fused]:
    """Yield all fused operations, sorted by name."""
    yield from (Fused.registry[name] for name in sorted(Fused.registry))
