"""Rates of GEMMs, convolutions and attention, as shares of the fastest GEMM of the dtype.

The shapes are VGG-16's convolutions, GPT-2's GEMMs and attention, an LSTM, and square matrices;
operations are nominal, two for each multiply-add, and twice as many for a backward pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import nnlib
from nnlib_backends import Backend
from nnlib_backends.base import anywhere

Row = dict[str, Any]
Measure = Callable[[Callable[[], object]], float]

FULL = 8192  #: side of the square GEMM on a GPU; all other sizes scale with it
VGG16 = (
    (224, 3, 64), (224, 64, 64), (112, 64, 128), (112, 128, 128), (56, 128, 256), (56, 256, 256),
    (28, 256, 512), (28, 512, 512), (14, 512, 512),
)  # fmt: skip
"""Side of the image, channels in and out of VGG-16's different convolutions."""
GPT2 = ((768, 2304), (768, 768), (768, 3072), (3072, 768), (768, 50304))
"""Features in and out of GPT-2's different products."""
_DRAWN = 1 << 22
CONV = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}


def precisions(backend: Backend) -> tuple[str, ...]:
    """Name the precisions that are measured."""
    return ("fp32",) if backend.host_memory else ("bf16", "tf32", "fp32")


def scope(precision: str) -> AbstractContextManager[None]:
    """Allow TF32 if it is the measured precision."""
    return nnlib.autocast("tf32") if precision == "tf32" else nullcontext()


def low(backend: Backend, kernel: str | None, precision: str, arrays: list[Any]) -> list[Any]:
    """Round data to bfloat16; parameters too, if the kernel does not take them in float32."""
    if precision != "bf16":
        return arrays
    import ml_dtypes

    first, *parameters = arrays
    half = kernel in backend.kernels and backend.kernels[kernel].half
    floats = [
        p if half or p is None or p.dtype.kind != "f" else p.astype(ml_dtypes.bfloat16)
        for p in parameters
    ]
    return [first.astype(ml_dtypes.bfloat16), *floats]


def rates(backend: Backend, largest: int, measure: Measure) -> Iterator[list[Row]]:
    """Measure one precision after the other.

    A row that fails contains the error, and the others are still measured.
    """
    for precision in precisions(backend):
        rows = [
            _measured(f"{precision} {name}", work, prepare, precision, measure)
            for name, work, prepare in _cases(backend, largest, precision)
        ]
        square = rows[0].get("flops_per_second")
        for row in rows:
            if square and "flops_per_second" in row:
                row["share_of_square"] = row["flops_per_second"] / square
        yield rows


def _measured(
    name: str,
    work: float,
    prepare: Callable[[], Callable[[], object]],
    precision: str,
    measure: Measure,
) -> Row:
    row: Row = {"name": name, "precision": precision}
    try:
        with scope(precision):
            seconds = measure(prepare())
    except Exception as error:  # noqa: BLE001 - the row contains it
        return row | {"error": f"{type(error).__name__}: {error}"}
    return row | {"flops": work, "seconds": seconds, "flops_per_second": work / seconds}


Case = tuple[str, float, Callable[[], Callable[[], object]]]


def _cases(backend: Backend, largest: int, precision: str) -> Iterator[Case]:
    """Name, operations, and maker of the timed call; the square GEMM is the first."""
    yield from _products(backend, largest, precision)
    if precision != "fp32" or backend.host_memory:
        yield from _convolutions(backend, largest, precision)
        yield from _attention(backend, largest, precision)
        yield from _recurrence(backend, largest, precision)


def normal(backend: Backend, *shapes: tuple[int, ...]) -> list[Any]:
    """Return normal numbers: a few million, repeated, because drawing is slow."""
    xp, sizes = backend.xp, [math.prod(shape) for shape in shapes]
    some = nnlib.random.Generator(0).normal((min(_DRAWN, max(sizes)),), backend=backend)
    return [
        xp.tile(some, -(-size // some.size))[:size].reshape(shape)
        for size, shape in zip(sizes, shapes, strict=True)
    ]


def _products(backend: Backend, n: int, precision: str) -> Iterator[Case]:
    half, eighth, positions = n // 2, n // 8, 2 * n  # 16 sequences of 1024
    shapes = {
        f"{n}x{n}x{n}": ((n, n), (n, n)),
        f"{half}x{half}x{half}": ((half, half), (half, half)),
        f"64x{eighth}x{eighth}": ((64, eighth), (eighth, eighth)),
        f"96 x {eighth}x64x{eighth}": ((96, eighth, 64), (96, 64, eighth)),
    }
    for inputs, outputs in GPT2 if precision != "fp32" else ():
        shapes[f"GPT-2 {positions}x{inputs}x{outputs}"] = ((positions, inputs), (inputs, outputs))
    for name, (left, right) in shapes.items():

        def prepare(left: Any = left, right: Any = right) -> Callable[[], object]:
            a, b = low(backend, None, precision, normal(backend, left, right))
            return partial(backend.xp.matmul, a, b)

        yield name, 2 * math.prod(left) * right[-1], prepare


def _both(
    backend: Backend, kernel: str, arrays: Callable[[], list[Any]], options: Any, work: float
) -> Iterator[Case]:
    """Forward pass, and backward pass for all arguments that are not ``None``."""

    def forward() -> Callable[[], object]:
        return partial(backend.kernels[kernel].forward, *arrays(), **options)

    def backward() -> Callable[[], object]:
        given = arrays()
        y, saved = backend.kernels[kernel].forward(*given, **options)
        y = y[0] if isinstance(y, tuple) else y
        outs = anywhere(a is not None for a in given)
        g = backend.xp.ones_like(y)
        return partial(backend.kernels[kernel].backward, g, saved, outs, *given, **options)

    yield "forward", work, forward
    yield "backward", 2 * work, backward


def _convolutions(backend: Backend, largest: int, precision: str) -> Iterator[Case]:
    images = max(1, largest // 128)  # 64
    for full, inputs, outputs in VGG16:
        side = max(4, full * min(largest, FULL) // FULL)

        def arrays(side: int = side, inputs: int = inputs, outputs: int = outputs) -> list[Any]:
            shapes = (images, side, side, inputs), (outputs, 3, 3, inputs), (outputs,)
            return low(backend, "conv2d", precision, normal(backend, *shapes))

        work = 2 * images * side**2 * 9 * inputs * outputs
        for way, count, prepare in _both(backend, "conv2d", arrays, CONV, work):
            yield f"VGG-16 {images}x{side}x{side} {inputs}->{outputs} {way}", count, prepare


def _attention(backend: Backend, largest: int, precision: str) -> Iterator[Case]:
    time = largest // 8  # 1024
    shape = (16, time, 3, 12, 64)

    def arrays() -> list[Any]:
        return [*low(backend, "self_attention", precision, normal(backend, shape)), None, None]

    work = 2 * 2 * 16 * (time * (time + 1) // 2) * 12 * 64
    options = {"causal": True, "scale": None}
    for way, count, prepare in _both(backend, "self_attention", arrays, options, work):
        yield f"GPT-2 attention {time} {way}", count, prepare


def _recurrence(backend: Backend, largest: int, precision: str) -> Iterator[Case]:
    batch, time, width = largest // 32, 64, largest // 16  # 256, 64, 512
    gates = 4 * width

    def arrays() -> list[Any]:
        shapes = (
            (batch, time, width), (gates, width), (gates, width), (gates,), (gates,),
            (batch, width), (batch, width),
        )  # fmt: skip
        made = normal(backend, *shapes)
        for weight in made[1:3]:
            weight *= width**-0.5
        return [*low(backend, "lstm", precision, made), None, None]

    work = 2 * batch * time * gates * 2 * width
    for way, count, prepare in _both(backend, "lstm", arrays, {"reverse": False}, work):
        yield f"LSTM {batch}x{time}x{width} {way}", count, prepare
