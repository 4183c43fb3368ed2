"""``linear``: a product with bias and activation in it, gradients where the optimizer has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from nnlib_backends.base import Array, KernelPair
from nnlib_backends.common.fused import either
from nnlib_backends.cupy_backend.gemm.matmul import CublasGemm
from nnlib_backends.cupy_backend.kernels.epilogue import add_bias, sum_bias
from nnlib_backends.cupy_backend.kernels.launch import Launcher, as_matrix, mixed

__all__ = ["ADDS", "MIXED", "Linear", "make_linear"]

#: Operations that can add gradients to what is there, see `Backend.adds`.
ADDS = frozenset({"linear"})

#: Operations that take data of 16 bits, beside float32 parameters, see `Backend.mixed`.
MIXED = frozenset({"linear", "matmul"})


class Linear:
    """The kernel, for arrays that are not empty.

    The parameters of data in 16 bits are float32.  The weight is rounded to the data's dtype once,
    for both passes; so is a bias that cuBLASLt adds.  Their gradients come in float32, straight
    from the sums.

    Parameters
    ----------
    products : Products
    launcher : Launcher

    Attributes
    ----------
    epilogues : dict
        What cuBLASLt's epilogue does after a product: activation → name.  For other activations,
        and where it has no kernel, a pass over the result does it.
    sums_in_product : bool
        Whether the gradient of a bias comes with the product for the weight's gradient, where there
        is no activation to derive first; else a pass over the gradient sums it up.
    """

    epilogues: ClassVar[dict[str | None, str]] = {
        None: "", "relu": "RELU", "gelu_tanh": "GELU_AUX",
    }  # fmt: skip
    sums_in_product = False

    def __init__(self, products: CublasGemm, launcher: Launcher) -> None:
        self._products, self._launcher = products, launcher

    def forward(
        self, x: Array, weight: Array, bias: Array | None, *, activation: str | None = None
    ) -> tuple[Array, tuple[Array | None, Array | None]]:
        """(..., n_in) → (..., n_out); saves what derivatives need, and the rounded weight."""
        rows = x.reshape(as_matrix(x.shape))
        low = weight if weight.dtype == x.dtype else weight.astype(x.dtype)
        y = self._launcher.empty((rows.shape[0], weight.shape[0]), x.dtype)
        z = self._launcher.empty(y.shape, y.dtype) if activation == "gelu_tanh" else None
        if not self._in_one(rows, low.T, y, z, bias, activation):
            self._in_steps(rows, low.T, y, z, bias, activation)
        kept = None if activation is None else y if z is None else z
        y = y.reshape(*x.shape[:-1], weight.shape[0])
        return y, (kept, None if low is weight else low)

    def _in_one(
        self, a: Array, b: Array, y: Array, z: Array | None, bias: Array | None,
        activation: str | None,
    ) -> bool:  # fmt: skip
        """Compute all of it by cuBLASLt, if it has a kernel for that."""
        name = self.epilogues.get(activation)
        if name is None or (bias is None and activation is None):
            return False
        if bias is not None:
            bias = self._launcher.dense(bias, y.dtype)
            name = f"{name}_BIAS" if name else "BIAS"
        return self._products.fused(a, b, y, name, bias, z)

    def _in_steps(
        self, a: Array, b: Array, y: Array, z: Array | None, bias: Array | None,
        activation: str | None,
    ) -> None:  # fmt: skip
        if z is None:
            self._products.matmul(a, b, out=y)
            add_bias(self._launcher, y, bias, activation)
        else:
            self._products.matmul(a, b, out=z)
            add_bias(self._launcher, z, bias, None)
            self._launcher.elementwise(
                "elementwise", "gelu_tanh_forward", z, y, z.size, n=z.size, like=z
            )

    def backward(
        self, g: Array, saved: tuple[Array | None, Array | None], needs: Sequence[Any], x: Array,
        weight: Array, bias: Array | None, *, activation: str | None = None,
    ) -> tuple[Array | None, ...]:  # fmt: skip
        """Gradients by x, weight and bias, in the given arrays where there are any.

        What shall be added to the weight's gradient the product adds; the others are short.
        """
        kept, low = saved
        sums = [need[0] if isinstance(need, list) else None for need in needs]
        needs = [need if total is None else True for need, total in zip(needs, sums, strict=True)]
        adds = sums[1] is not None
        if adds:
            needs[1] = sums[1]
        g, rows = (array.reshape(as_matrix(array.shape)) for array in (g, x))
        dx, dw, db = (
            None if array is None else self._launcher.home(need, array.shape, array.dtype)
            for need, array in zip(needs, (x, weight, bias), strict=True)
        )
        together = self.sums_in_product and kept is None and not adds
        if not (together and self._dw_and_db(g, rows, dw, db)):
            if db is not None or kept is not None:
                g, _ = sum_bias(self._launcher, g, kept, activation, db)
            if dw is not None:
                self._products.product(g.T, rows, out=dw, accumulate=adds)
        if dx is not None:
            out = dx.reshape(rows.shape)
            self._products.matmul(g, weight if low is None else low, out=out)
        return _added(dx, sums[0]), dw, _added(db, sums[2])

    def _dw_and_db(self, g: Array, rows: Array, dw: Array | None, db: Array | None) -> bool:
        if dw is None or db is None:
            return False
        return self._products.fused(g.T, rows, dw, "BGRADB", db)


def _added(gradient: Array | None, total: Array | None) -> Array | None:
    if total is None:
        return gradient
    total += gradient
    return total


def make_linear(products: CublasGemm, launcher: Launcher, general: KernelPair) -> KernelPair:
    """Return the kernel, and another one for what it does not serve."""
    own = Linear(products, launcher)
    return either(mixed, KernelPair(own.forward, own.backward), general)
