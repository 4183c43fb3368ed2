"""The table that tests of operations walk: each operation, what it should compute, on what.

A `Row` names an operation and a reference in NumPy or SciPy.  Its cases are tried as they stand,
with other memory layouts and on every backend.  `test_table.py` fails for an operation without a
row.
"""

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import nnlib
from nnlib.ops.operation import Integers


@dataclass(frozen=True)
class Values:
    """An array to be drawn: floats away from 0, where functions have kinks, or another kind."""

    shape: tuple[int, ...]
    kind: str = "float"
    high: int = 2

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        if self.kind == "integer":
            return np.asarray(rng.integers(0, self.high, self.shape))
        if self.kind == "boolean":
            return np.asarray(rng.random(self.shape) < 0.5)
        size = rng.uniform(0.2, 1.8, self.shape)
        return np.asarray(
            size if self.kind == "positive" else size * rng.choice([-1.0, 1.0], self.shape)
        )


def floats(*shape: int) -> Values:
    return Values(shape)


def positive(*shape: int) -> Values:
    return Values(shape, "positive")


def integers(high: int, *shape: int) -> Values:
    return Values(shape, "integer", high)


def booleans(*shape: int) -> Values:
    return Values(shape, "boolean")


@dataclass(frozen=True)
class Case:
    """Arguments of one call: `Values`, or what is to be passed as it is (numbers, ``None``)."""

    inputs: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many values are to be drawn."""
        return sum(math.prod(x.shape) for x in self.inputs if isinstance(x, Values))

    def draw(self) -> list[Any]:
        """Return the arguments as NumPy arrays, the same ones each time."""
        rng = np.random.default_rng(zlib.crc32(repr(self).encode()))
        return [x.draw(rng) if isinstance(x, Values) else x for x in self.inputs]


def case(*inputs: Any, **options: Any) -> Case:
    return Case(inputs, options)


@dataclass(frozen=True)
class Row:
    """One operation with its reference and cases.

    ``derivatives`` says of how many orders finite differences make sense: 0 where the result does
    not change with the input, 1 for functions made of straight pieces.  ``refuses`` says which
    shapes at the edge (see `test_edges`) the operation may answer with an error of nnlib's own.
    """

    function: Callable[..., Any]
    reference: Callable[..., Any]
    cases: list[Case]
    derivatives: int = 2
    refuses: str = ""

    @property
    def name(self) -> str:
        return self.function.__name__


def sample_cases(operation: Any) -> list[Case]:
    """Return the samples that a fused operation declares as cases."""
    return [
        Case(tuple(_sample(argument) for argument in arguments), options)
        for arguments, options in operation.samples
    ]


def _sample(argument: Any) -> Any:
    if isinstance(argument, Integers):
        return Values(argument.shape, "integer", argument.high)
    return argument if argument is None else Values(tuple(argument))


def layout(array: Any, backend: Any, name: str) -> Any:
    """Put an array on a backend, with values in a row or (``strided``) spread over memory."""
    if name == "strided" and array.ndim:
        wide = np.zeros([2 * n for n in reversed(array.shape)], array.dtype)
        places = (slice(None, None, 2),) * array.ndim
        wide.T[places] = array
        return backend.asarray(wide).T[places]
    return backend.asarray(array)


def tensors(drawn: list[Any], backend: Any, how: str = "rows", dtype: Any = None) -> list[Any]:
    """Make tensors of drawn arrays, the floating-point ones with ``requires_grad``."""
    made = []
    for value in drawn:
        if not isinstance(value, np.ndarray):
            made.append(value)
            continue
        if dtype is not None and value.dtype.kind == "f":
            value = value.astype(dtype)
        tensor = nnlib.Tensor(layout(value, backend, how), backend)
        tensor.requires_grad = value.dtype.kind == "f"
        made.append(tensor)
    return made


def table() -> list[Row]:
    """Return all rows."""
    from ops import table_arrays, table_elementwise, table_layers, table_sequences

    tables = (table_elementwise, table_arrays, table_layers, table_sequences)
    return [row for one in tables for row in one.ROWS]


def rows(least_derivatives: int = 0) -> list[Any]:
    """Return rows for ``pytest.mark.parametrize``."""
    chosen = [row for row in table() if row.derivatives >= least_derivatives]
    return [pytest.param(row, id=row.name) for row in chosen]


def parameters(least_derivatives: int = 0) -> list[Any]:
    """Return (row, case) for ``pytest.mark.parametrize``, with readable ids."""
    return [
        pytest.param(row, one, id=f"{row.name}-{number}")
        for row in table()
        if row.derivatives >= least_derivatives
        for number, one in enumerate(row.cases)
    ]


class peer:
    """Another library, imported when a test first asks it, not when pytest collects."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):  # pytest asks each object it collects for some of these
            raise AttributeError(attribute)
        return getattr(pytest.importorskip(self._name), attribute)
