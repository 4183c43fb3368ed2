"""One sample of PyTorch's tables, computed by both libraries and compared.

PyTorch computes the reference in float64 from the same numbers.  nnlib may be wrong by a few times
the spacing of its dtype's numbers, relative to the largest number of the result, or by no more than
PyTorch is in the same dtype.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ops.table import peer

import nnlib

torch = peer("torch")

TOLERANCE = {"float32": 2e-5, "float64": 1e-9}
COUNTS: Counter[str] = Counter()  #: samples run, agreed, left out; for the summary


@dataclass
class Outcome:
    """What became of the samples of one operator."""

    agreed: int = 0
    failures: list[str] = field(default_factory=list)
    left_out: int = 0


def leaves(value: Any) -> Iterator[Any]:
    """Tensors of either library in a nested value, in order."""
    if isinstance(value, torch.Tensor | nnlib.Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from leaves(item)


def mapped(value: Any, function: Callable[[Any], Any]) -> Any:
    """Copy a nested value with its tensors, dtypes and sizes replaced."""
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, torch.Size):
        return tuple(value)
    if isinstance(value, tuple | list):
        return type(value)([mapped(item, function) for item in value])
    if isinstance(value, dict):
        return {name: mapped(item, function) for name, item in value.items()}
    return value


def ours(value: Any) -> Any:
    """PyTorch's arguments as nnlib takes them; strides stay as they are."""
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if isinstance(value, torch.Tensor):
        array = value.detach().numpy()
        return nnlib.tensor(array, requires_grad=value.requires_grad)
    if isinstance(value, torch.Size):
        return tuple(value)
    if isinstance(value, tuple | list):
        return type(value)([ours(item) for item in value])
    if isinstance(value, dict):
        return {name: ours(item) for name, item in value.items()}
    return value


def wide(value: Any) -> Any:
    """The same arguments in float64."""

    def widened(x: torch.Tensor) -> torch.Tensor:
        if not x.dtype.is_floating_point:
            return x
        return x.detach().double().requires_grad_(x.requires_grad)

    if value is torch.float32:
        return torch.float64
    if isinstance(value, dict):
        return {k: wide(v) for k, v in value.items()}
    return mapped(value, widened)


def slopes(x: Any, step: float) -> np.ndarray[Any, Any]:
    """A gradient for a result: numbers of both signs that differ from place to place."""
    return np.cos(step * np.arange(np.prod(x.shape, dtype=int)) + 0.5).reshape(tuple(x.shape))


class Torch:
    """How PyTorch differentiates."""

    @staticmethod
    def floating(x: Any) -> bool:
        return x.requires_grad

    @staticmethod
    def objective(results: list[Any], step: float) -> Any:
        parts = [(x * torch.tensor(slopes(x, step), dtype=x.dtype)).sum() for x in results]
        return sum(parts[1:], parts[0])

    @staticmethod
    def gradients(value: Any, variables: list[Any], again: bool) -> list[Any]:
        found = torch.autograd.grad(value, variables, create_graph=again, allow_unused=True)
        return [
            torch.zeros_like(x) if g is None else g for x, g in zip(variables, found, strict=True)
        ]

    @staticmethod
    def zeros(x: Any) -> Any:
        return torch.zeros_like(x)

    @staticmethod
    def array(x: Any) -> np.ndarray[Any, Any]:
        return x.detach().numpy(force=True)  # also of a tensor that is only said to be zero


class Ours:
    """How nnlib differentiates."""

    @staticmethod
    def floating(x: Any) -> bool:
        return x.requires_grad

    @staticmethod
    def objective(results: list[Any], step: float) -> Any:
        parts = [nnlib.sum(x * nnlib.tensor(slopes(x, step).astype(x.dtype))) for x in results]
        return sum(parts[1:], parts[0])

    @staticmethod
    def gradients(value: Any, variables: list[Any], again: bool) -> list[Any]:
        for x in variables:
            x.grad = None
        value.backward(create_graph=again)
        return [nnlib.zeros_like(x) if x.grad is None else x.grad for x in variables]

    @staticmethod
    def zeros(x: Any) -> Any:
        return nnlib.zeros_like(x)

    @staticmethod
    def array(x: Any) -> np.ndarray[Any, Any]:
        return x.detach().numpy()


def evaluate(
    library: Any,
    function: Callable[..., Any],
    sample: Any,
    orders: int,
    parameters: Any = (),
) -> dict[str, list[Any]]:
    """Return results, gradients, and gradients of gradients of a function of a sample."""
    variables = [x for x in (*leaves(list(sample)), *parameters) if library.floating(x)]
    args, options = sample
    results = list(leaves(function(*args, **options)))
    found = {"value": results}
    for order in ("gradient", "second derivative")[:orders]:
        if not variables:
            break
        # of what depends on no variable the derivative is zero
        results = [x for x in results if library.floating(x)]
        again = order != "second derivative" and orders > 1
        results = (
            library.gradients(library.objective(results, 0.7), variables, again)
            if results
            else [library.zeros(x) for x in variables]
        )
        found[order] = results
    return found


def arrays(library: Any, found: dict[str, list[Any]]) -> dict[str, list[np.ndarray[Any, Any]]]:
    return {what: [library.array(x) for x in tensors] for what, tensors in found.items()}


def compiled_difference(function: Callable[..., Any], sample: Any, orders: int) -> str:
    """Say where a compiled function of the sample, gradients included, gives other bits."""
    variables = list(leaves(sample))
    wanted = [x.requires_grad for x in variables]

    def step(*values: Any) -> dict[str, list[Any]]:
        own = iter([x.detach() for x in values])
        arguments = replaced(sample, lambda _: next(own))
        for x, want in zip(leaves(arguments), wanted, strict=True):
            x.requires_grad = want
        return evaluate(Ours, function, arguments, orders)

    inputs = [x.detach() for x in variables]
    expected, compiled = bits(step(*inputs)), nnlib.compile(step)
    for call in range(4):
        if bits(compiled(*inputs)) != expected:
            return f"call {call + 1} of the compiled function gives other bits"
    return ""


def replaced(value: Any, function: Callable[[Any], Any]) -> Any:
    """Copy a nested value with nnlib's tensors replaced, in the order of `leaves`."""
    if isinstance(value, nnlib.Tensor):
        return function(value)
    if isinstance(value, dict):
        return {name: replaced(item, function) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([replaced(item, function) for item in value])
    return value


def bits(found: dict[str, list[Any]]) -> Any:
    values = {what: [x.detach().numpy() for x in tensors] for what, tensors in found.items()}
    return {k: [(x.dtype, x.shape, x.tobytes()) for x in v] for k, v in values.items()}


def difference(
    mine: list[np.ndarray[Any, Any]],
    truth: list[np.ndarray[Any, Any]],
    peer: list[np.ndarray[Any, Any]],
    tolerance: float,
) -> str:
    """Say how results differ beyond the tolerance, or nothing."""
    if len(mine) != len(truth):
        return f"{len(mine)} results instead of {len(truth)}"
    for a, b, c in itertools.zip_longest(mine, truth, peer):
        if a.shape != b.shape:
            return f"shape {a.shape} instead of {b.shape}"
        a, b = a.astype(np.float64), b.astype(np.float64)
        c = b if c is None else c.astype(np.float64)
        with np.errstate(all="ignore"):
            finite = np.isfinite(b)
            size = np.abs(b[finite]).max(initial=1.0)
            error = np.where(finite, np.abs(a - b), 0)
            allowed = tolerance * size + 4 * np.where(finite & np.isfinite(c), np.abs(c - b), 0)
            bad = ~finite | ~(error <= allowed)
            # infinities and NaN are where PyTorch has them, in the reference or in the same dtype
            same = (a == b) | (a == c) | (np.isnan(a) & (np.isnan(b) | np.isnan(c)))
            bad &= ~same
        if bad.any():
            place = np.unravel_index(int(np.argmax(bad)), bad.shape)
            at = tuple(map(int, place))
            return f"{float(a[place])} instead of {float(b[place])} at {at} of {a.shape}"
    return ""


def described(sample: Any) -> str:
    """A sample's arguments with shapes in place of numbers, for the failure's text."""

    def short(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return f"{str(value.dtype).removeprefix('torch.')}{tuple(value.shape)}"
        if isinstance(value, list | tuple):
            return [short(item) for item in value]
        return value

    args, options = sample
    text = [str(short(x)) for x in args] + [f"{k}={short(v)}" for k, v in options.items()]
    return f"({', '.join(text)})"
