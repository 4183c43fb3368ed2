"""Operators of strict arrays, and the methods in CuPy's list."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from strict_backend.arrays import SCALARS, StrictArray, index, operand
from strict_backend.counts import note_read
from strict_backend.functions import SPECIAL
from strict_backend.kernels import run
from strict_backend.names import HOST_FROM, HOST_KEYWORDS, OFFERED, READS
from strict_backend.ufuncs import compute, find_loop


def undress(value: Any, found: dict[int, StrictArray]) -> Any:
    """Replace strict arrays in an argument by NumPy's; refuse host arrays."""
    if isinstance(value, StrictArray):
        found[id(value._array)] = value
        return value._array
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, list | tuple):
        return type(value)([undress(item, found) for item in value])
    return value


def dress(result: Any, found: dict[int, StrictArray]) -> Any:
    """Wrap results in strict arrays; an argument that was returned becomes itself again."""
    if isinstance(result, np.ndarray):
        return found[id(result)] if id(result) in found else StrictArray(result)
    if isinstance(result, np.generic):
        return StrictArray(np.asarray(result))
    if isinstance(result, tuple) and hasattr(result, "_fields"):
        return type(result)(*(dress(item, found) for item in result))
    if isinstance(result, list | tuple):
        return type(result)([dress(item, found) for item in result])
    return result


def check(name: str, keywords: frozenset[str], args: tuple, options: dict) -> None:
    """Refuse keywords that CuPy lacks, and arrays in place of integers; count reads."""
    unknown = () if "**" in keywords else sorted(options.keys() - keywords)
    if unknown:
        raise TypeError(f"cupy's {name}() got an unexpected keyword argument {unknown[0]!r}")
    on_host = [*args[HOST_FROM.get(name, len(args)) :]]
    on_host += [value for key, value in options.items() if key in HOST_KEYWORDS]
    if any(_has_array(value) for value in on_host):
        raise TypeError(f"cupy's {name}() needs shapes and axes as Python integers, not as arrays")
    if name in READS:
        note_read()


def _has_array(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(_has_array(item) for item in value)
    return isinstance(value, StrictArray)


def elementwise(
    name: str,
    ufunc: Any,
    args: Sequence[Any],
    outputs: Sequence[Any] = (None,),
    dtype: Any = None,
    casting: str = "same_kind",
) -> Any:
    """Compute with CuPy's loop, into the given outputs."""
    found = {id(x._array): x for x in (*args, *outputs) if isinstance(x, StrictArray)}
    bare_args = [operand(value) for value in args]
    bare_outputs = tuple(None if value is None else operand(value) for value in outputs)
    loop = find_loop(name, bare_args, dtype)
    return dress(run(compute, name, ufunc, loop, casting, bare_outputs, *bare_args), found)


def _binary(ufunc: Any, *, swapped: bool = False) -> Callable[[StrictArray, Any], Any]:
    def operator(self: StrictArray, other: Any) -> Any:
        if not isinstance(other, (*SCALARS, StrictArray, np.ndarray)):
            return NotImplemented
        pair = (other, self) if swapped else (self, other)
        return elementwise(ufunc.__name__, ufunc, pair)

    return operator


def _matmul(self: StrictArray, other: Any) -> Any:
    if not isinstance(other, (*SCALARS, StrictArray, np.ndarray)):
        return NotImplemented
    if not isinstance(other, StrictArray):
        raise TypeError(f"Unsupported type {type(other)}")
    return StrictArray(run(SPECIAL["matmul"], self._array, other._array))


def _pow(self: StrictArray, other: Any) -> Any:
    """``x ** y``; CuPy uses other ufuncs for common powers."""
    ufunc = None
    if type(other) in {int, float} and other == 2:
        ufunc = np.square
    elif type(other) is float:
        ufunc = {0.5: np.sqrt, -1.0: np.reciprocal}.get(other)
    if ufunc is None:
        return _binary(np.power)(self, other)
    plain = self.dtype.kind in ("ifc" if type(other) is int else "fc")
    dtype = None if plain else np.result_type(self.dtype, other)
    return elementwise(ufunc.__name__, ufunc, (self,), dtype=dtype)


def _comparison(ufunc: Any, otherwise: bool) -> Callable[[StrictArray, Any], Any]:
    """``==`` and ``!=``, which accept any object, as in CuPy."""
    operator = _binary(ufunc)

    def comparison(self: StrictArray, other: Any) -> Any:
        if other is None or type(other).__eq__ is object.__eq__:
            return StrictArray(run(np.full, self.shape, otherwise))
        return operator(self, other)

    return comparison


def _in_place(ufunc: Any) -> Callable[[StrictArray, Any], StrictArray]:
    def operator(self: StrictArray, other: Any) -> StrictArray:
        result: StrictArray = elementwise(ufunc.__name__, ufunc, (self, other), (self,))
        return result

    return operator


def _unary(ufunc: Any) -> Callable[[StrictArray], StrictArray]:
    return lambda self: elementwise(ufunc.__name__, ufunc, (self,))


def _method(name: str, keywords: frozenset[str]) -> Callable[..., Any]:
    def method(self: StrictArray, *args: Any, **options: Any) -> Any:
        check(f".{name}", keywords, args, options)
        found = {id(self._array): self}
        if name in {"take", "put"}:  # these, too, copy host indices to the device
            args = (StrictArray(np.asarray(index(args[0]))), *args[1:])
        bare_args = [undress(arg, found) for arg in args]
        bare_options = {key: undress(value, found) for key, value in options.items()}
        if name == "clip" and {"min", "max"} & bare_options.keys():
            renamed = {"min": "a_min", "max": "a_max"}
            bare_options = {renamed.get(key, key): value for key, value in bare_options.items()}
        function = SPECIAL.get(name, getattr(np.ndarray, name))
        return dress(run(function, self._array, *bare_args, **bare_options), found)

    return method


_OPERATORS = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "truediv": np.true_divide,
    "floordiv": np.floor_divide,
    "mod": np.remainder,
    "pow": np.power,
    "lshift": np.left_shift,
    "rshift": np.right_shift,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
}
for _name, _ufunc in _OPERATORS.items():
    setattr(StrictArray, f"__{_name}__", _binary(_ufunc))
    setattr(StrictArray, f"__r{_name}__", _binary(_ufunc, swapped=True))
    setattr(StrictArray, f"__i{_name}__", _in_place(_ufunc))
StrictArray.__pow__ = _pow  # type: ignore[attr-defined]
StrictArray.__matmul__ = _matmul  # type: ignore[attr-defined]  # there is none in place
StrictArray.__eq__ = _comparison(np.equal, False)
StrictArray.__ne__ = _comparison(np.not_equal, True)
for _name, _ufunc in {"lt": np.less, "le": np.less_equal, "gt": np.greater}.items():
    setattr(StrictArray, f"__{_name}__", _binary(_ufunc))
StrictArray.__ge__ = _binary(np.greater_equal)  # type: ignore[attr-defined]
for _name, _ufunc in {
    "neg": np.negative,
    "pos": np.positive,
    "abs": np.absolute,
    "invert": np.invert,
}.items():
    setattr(StrictArray, f"__{_name}__", _unary(_ufunc))
for _name, (_kind, _keywords) in OFFERED.items():
    if _kind == "method" and not hasattr(StrictArray, _name[1:]):
        setattr(StrictArray, _name[1:], _method(_name[1:], _keywords))
