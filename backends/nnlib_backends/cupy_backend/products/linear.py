"""``linear``, with bias and ReLU in the product, and gradients where the optimizer has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnlib_backends.contract import Array, Kernel
from nnlib_backends.cupy_backend.products.products import Products
from nnlib_backends.portable import activate, derive, rows_of

__all__ = ["make_linear"]


def make_linear(products: Products, xp: Any) -> Kernel:
    """Return the kernel."""

    def forward(
        x: Array, weight: Array, bias: Array | None, *, activation: str | None = None
    ) -> tuple[Array, Array | None]:
        if x.dtype != weight.dtype or (bias is not None and bias.dtype != x.dtype):
            y = products.matmul(rows_of(x), weight.T)
            y = y if bias is None else y + bias
            y = activate(xp, y, activation)
        else:
            fused = activation if activation == "relu" else None
            y = products.product(rows_of(x), weight.T, bias=bias, activation=fused)
            if activation is not None and fused is None:
                y = activate(xp, y, activation)
        return y.reshape(*x.shape[:-1], weight.shape[0]), None if activation is None else y

    def backward(
        g: Array, y: Array | None, needs: Sequence[Any], x: Array, weight: Array,
        bias: Array | None, *, activation: str | None = None,
    ) -> tuple[Array | None, ...]:  # fmt: skip
        rows = derive(rows_of(g), y, activation)
        dx = dw = db = None
        if needs[0] is not False:
            dx = products.matmul(rows, weight).reshape(x.shape)
            if needs[0] is not True:  # seldom: the optimizer's own array is an input
                needs[0][...] = dx
                dx = needs[0]
        if needs[1] is not False:
            home = None if needs[1] is True else needs[1]
            dw = products.matmul(rows.T, rows_of(x), out=home)
        if needs[2] is not False:
            home = None if needs[2] is True else needs[2]
            db = rows.sum(axis=0) if home is None else rows.sum(axis=0, out=home)
        return dx, dw, db

    return Kernel(forward, backward)
