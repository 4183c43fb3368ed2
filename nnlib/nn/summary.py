"""Summary of a model: layers, shapes, parameters, FLOPs and memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nnlib import nn
from nnlib.arguments import positive_integer
from nnlib.autograd import zeros
from nnlib.errors import OptionError
from nnlib.nn.watch import Call, Shape, watch_forward

__all__ = ["Row", "Summary", "summary"]


@dataclass(frozen=True)
class Row:
    """One call of one layer.

    Attributes
    ----------
    name : str
        Path in the model, as in `Module.state_dict`.
    layer : str
        Class.
    input_shape, output_shape : tuple of int
        Batch included.
    weight_shapes : dict
        Shape of each of the layer's own parameters, by name.
    parameters : int
        Their number of values; 0 if they were counted in an earlier row (a shared layer).
    flops : int or None
        Of the forward pass: matrix products and convolutions, a multiply-add counted as 2.
        ``None`` for a layer with weight matrices for which no formula is known.
    activation_bytes : int
        Size of its output; 0 for a layer whose output is a view of its input.
    """

    name: str
    layer: str
    input_shape: Shape
    output_shape: Shape
    weight_shapes: dict[str, Shape]
    parameters: int
    flops: int | None
    activation_bytes: int


@dataclass(frozen=True)
class Summary:
    """A table of a model's layers; print it, or iterate over `rows`.

    Attributes
    ----------
    model : str
        Class of the model.
    input_shape : tuple of int
        Batch included.
    dtype : str
        Of the input.
    rows : list of Row
        In the order of the calls.
    parameters, trainable_parameters : int
        Of the whole model, each counted once.
    parameter_bytes : int
        Their memory. Training keeps gradients of the same size, and the optimizer's state.
    flops : int
        Of the forward pass. Training takes about three times as many.
    flops_complete : bool
        False if `flops` omits layers for which no formula is known.
    activation_bytes : int
        Outputs of all layers together, which training keeps for the backward pass.
    """

    model: str
    input_shape: Shape
    dtype: str
    rows: list[Row]
    parameters: int
    trainable_parameters: int
    parameter_bytes: int
    flops: int
    flops_complete: bool
    activation_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        table: list[tuple[str, ...]] = [_HEADINGS]
        for row in self.rows:
            weights = "  ".join(f"{k} {s}" for k, s in row.weight_shapes.items())
            flops = "?" if row.flops is None else f"{row.flops:,}"
            words = (row.name, row.layer, str(row.output_shape), weights)
            table.append((*words, f"{row.parameters:,}", flops, _bytes(row.activation_bytes)))
        totals = (f"{self.parameters:,}", self._flops_text(), _bytes(self.activation_bytes))
        table.append(("total", "", "", "", *totals))
        frozen = self.parameters - self.trainable_parameters
        return "\n".join(
            [
                f"{self.model}, input {self.input_shape} {self.dtype}",
                *_columns(table),
                f"parameters take {_bytes(self.parameter_bytes)}"
                + (f"; {frozen:,} of them are frozen" if frozen else ""),
                "FLOPs: matrix products and convolutions of the forward pass, multiply-add = 2",
            ]
        )

    __repr__ = __str__

    def _flops_text(self) -> str:
        return f"{self.flops:,}" if self.flops_complete else f"> {self.flops:,}"


def summary(
    model: nn.Module,
    input_shape: Sequence[int] | None = None,
    batch: int = 1,
    *,
    dtype: Any = None,
) -> Summary:
    """List a model's layers with the shapes of their weights and outputs.

    The model is run on zeros in evaluation mode, on batches of one and two samples; the sizes for
    ``batch`` are extrapolated linearly.

    Parameters
    ----------
    model : nn.Module
    input_shape : sequence of int, optional
        Shape of one sample, without the batch; the model's own attribute ``input_shape`` if not
        given.
    batch : int
        Number of samples.
    dtype : dtype, optional
        Dtype of the input; that of the model's first parameter if not given.

    Returns
    -------
    Summary

    Raises
    ------
    OptionError
        If no input shape is known, or the batch is not positive.
    ShapeError
        If the model refuses such an input.

    Examples
    --------
    The course's exercise: give every matrix's dimensions for 10 instances of a 2-3-1 network.
    (nnlib keeps instances as rows, so the course's Z[l] and A[l] are these, transposed.)

    >>> from nnlib.models import MLP
    >>> summary(MLP((2, 3, 1), "sigmoid"), batch=10)
    MLP, input (10, 2) float32
    layer               kind     output   weights                   parameters  FLOPs  activations
    ──────────────────────────────────────────────────────────────────────────────────────────────
    flatten             Flatten  (10, 2)                                     0      0          0 B
    layers.linear1      Linear   (10, 3)  weight (3, 2)  bias (3,)           9    120        120 B
    layers.activation1  Sigmoid  (10, 3)                                     0      0        120 B
    layers.linear2      Linear   (10, 1)  weight (1, 3)  bias (1,)           4     60         40 B
    ──────────────────────────────────────────────────────────────────────────────────────────────
    total                                                                   13    180        280 B
    parameters take 52 B
    FLOPs: matrix products and convolutions of the forward pass, multiply-add = 2
    """
    instance = _instance_shape(model, input_shape)
    positive_integer("batch", batch)
    first = next(model.parameters(), None)
    dtype = dtype or (first.dtype if first is not None else "float32")
    backend = first.backend if first is not None else None
    sizes = sorted({1, min(batch, 2)})
    runs = [
        watch_forward(model, zeros((n, *instance), dtype=dtype, backend=backend)) for n in sizes
    ]
    rows = [_row(calls, batch) for calls in zip(runs[0], runs[-1], strict=True)]
    parameters = list(model.parameters())
    return Summary(
        model=type(model).__name__,
        input_shape=(batch, *instance),
        dtype=str(zeros((), dtype=dtype, backend=backend).dtype),
        rows=rows,
        parameters=sum(p.size for p in parameters),
        trainable_parameters=sum(p.size for p in parameters if p.requires_grad),
        parameter_bytes=sum(p.data.nbytes for p in parameters),
        flops=sum(row.flops or 0 for row in rows),
        flops_complete=all(row.flops is not None for row in rows),
        activation_bytes=sum(row.activation_bytes for row in rows),
    )


def _instance_shape(model: nn.Module, input_shape: Sequence[int] | None) -> Shape:
    shape = getattr(model, "input_shape", None) if input_shape is None else input_shape
    if shape is None or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise OptionError(
            "input_shape must be the shape of one sample, non-negative integers without the "
            f"batch, such as (28, 28, 1). Received: {input_shape!r} for a {type(model).__name__}"
        )
    return tuple(shape)


# Rows ----------------------------------------------------------------------------------------


def _row(calls: tuple[Call, Call], batch: int) -> Row:
    one, two = calls
    output_shape = _at_batch(one.output_shape, two.output_shape, batch)
    return Row(
        name=one.name,
        layer=type(one.module).__name__,
        input_shape=_at_batch(one.input_shape, two.input_shape, batch),
        output_shape=output_shape,
        weight_shapes=one.own,
        parameters=one.counted,
        flops=_flops(one.module, one.own, output_shape),
        activation_bytes=0
        if isinstance(one.module, _VIEWS)
        else math.prod(output_shape) * one.itemsize,
    )


def _at_batch(one: Shape, two: Shape, batch: int) -> Shape:
    """Sizes at a batch, extrapolated linearly from those of one and two instances."""
    return tuple(a + (b - a) * (batch - 1) for a, b in zip(one, two, strict=True))


_VIEWS = (nn.Flatten, nn.Identity)


def _flops(module: nn.Module, own: dict[str, Shape], output_shape: Shape) -> int | None:
    if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
        # every output value is a product of one filter with its window
        return 2 * math.prod(output_shape) * math.prod(own["weight"][1:])
    if isinstance(module, nn.Embedding):  # a lookup of rows
        return 0
    return None if any(len(shape) > 1 for shape in own.values()) else 0


# Table ---------------------------------------------------------------------------------------

_HEADINGS = ("layer", "kind", "output", "weights", "parameters", "FLOPs", "activations")
_RIGHT_ALIGNED = 3  # the last columns, with numbers


def _columns(table: list[tuple[str, ...]]) -> list[str]:
    """Align columns, with lines below the headings and above the totals."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    numbers = len(widths) - _RIGHT_ALIGNED
    lines = [
        "  ".join(
            cell.rjust(width) if i >= numbers else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
    rule = "─" * max(map(len, lines))
    return [lines[0], rule, *lines[1:-1], rule, lines[-1]]


def _bytes(count: int) -> str:
    """Format a number of bytes in binary units.

    Examples
    --------
    >>> _bytes(553430176)
    '527.8 MiB'
    """
    value, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{count} B" if units[0] == "B" else f"{value:.1f} {units[0]}"
