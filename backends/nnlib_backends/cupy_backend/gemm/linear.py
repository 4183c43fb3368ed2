"""``linear`` by cuBLASLt, with bias and activation in the GEMM's epilogue."""

from __future__ import annotations

from typing import ClassVar

from nnlib_backends.base import ANYWHERE, Array, GradOut, GradsOut, KernelPair
from nnlib_backends.common.fused import either
from nnlib_backends.cupy_backend.gemm.matmul import CublasGemm
from nnlib_backends.cupy_backend.kernels.epilogue import add_bias, sum_bias
from nnlib_backends.cupy_backend.kernels.launch import Launcher, as_matrix, mixed

__all__ = ["Linear", "make_linear"]


class Linear:
    """The functions of the kernel pair, for arrays that are not empty.

    With data of a half dtype the parameters are float32.  The weight is rounded to the data's dtype
    once for both passes, and so is a bias that cuBLASLt adds; their gradients are float32.

    Parameters
    ----------
    products : Products
    launcher : Launcher

    Attributes
    ----------
    epilogues : dict
        Activation → name of cuBLASLt's epilogue.  Other activations, and epilogues for which it has
        no kernel, take a pass over the result.
    sums_in_product : bool
        Whether the GEMM of the weight's gradient also computes that of the bias, if there is no
        activation; else a pass over the gradient sums it up.
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
        """(..., n_in) → (..., n_out); saves the activation's value, and the rounded weight."""
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
        """Compute all by one kernel of cuBLASLt's; return false if it has none."""
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
        self, g: Array, saved: tuple[Array | None, Array | None], grads_out: GradsOut, x: Array,
        weight: Array, bias: Array | None, *, activation: str | None = None,
    ) -> tuple[Array | None, ...]:  # fmt: skip
        """Gradients by x, weight and bias.

        The GEMM adds to the weight's gradient; the others are short, and added afterwards.
        """
        kept, low = saved
        for_x, for_weight, for_bias = grads_out
        accumulate = for_weight is not None and for_weight.accumulate
        g, rows = (array.reshape(as_matrix(array.shape)) for array in (g, x))
        memory = self._launcher.grad_memory
        dx = memory(_beside(for_x), x.shape, x.dtype)
        dw = memory(for_weight, weight.shape, weight.dtype)
        db = None if bias is None else memory(_beside(for_bias), bias.shape, bias.dtype)
        together = self.sums_in_product and kept is None and not accumulate
        if not (together and self._dw_and_db(g, rows, dw, db)):
            if db is not None or kept is not None:
                g, _ = sum_bias(self._launcher, g, kept, activation, db)
            if dw is not None:
                self._products.product(g.T, rows, out=dw, accumulate=accumulate)
        if dx is not None:
            out = dx.reshape(rows.shape)
            self._products.matmul(g, weight if low is None else low, out=out)
        return _added(dx, for_x), dw, _added(db, for_bias)

    def _dw_and_db(self, g: Array, rows: Array, dw: Array | None, db: Array | None) -> bool:
        if dw is None or db is None:
            return False
        return self._products.fused(g.T, rows, dw, "BGRADB", db)


def _beside(out: GradOut | None) -> GradOut | None:
    """Where a gradient is written that is added to another one afterwards."""
    return ANYWHERE if out is not None and out.accumulate else out


def _added(gradient: Array | None, out: GradOut | None) -> Array | None:
    return gradient if gradient is None or out is None else out.store(gradient)


def make_linear(products: CublasGemm, launcher: Launcher, general: KernelPair) -> KernelPair:
    """Return the kernel pair of ``linear``, which uses ``general`` for other arrays."""
    own = Linear(products, launcher)
    pair = KernelPair(own.forward, own.backward, half=True, writes=True, accumulates=True)
    return either(mixed, pair, general)
