"""Compares two epilogues of `linear` on a GPU: cuBLASLt's, and separate passes.

`Linear` chooses by its attributes `epilogues` and `sums_in_product`.  Rows of one layer differ by
the implementation alone; the slower one can be removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import nnlib
from nnlib_backends import Backend
from nnlib_backends.base import anywhere
from nnlib_backends.cupy_backend.gemm.linear import Linear

#: Rows, inputs and outputs: the layers of GPT-2 124M on 16 × 1,024 tokens, and of a small network.
LAYERS = ((16384, 768, 3072), (16384, 3072, 768), (16384, 768, 2304), (128, 784, 512))


def linear_rows(
    backend: Backend,
    seconds: Callable[[Backend, Callable[[], object]], float],
    layers: Sequence[tuple[int, int, int]] = LAYERS,
    dtypes: Sequence[str] = ("float32", "bfloat16", "float16"),
) -> Iterator[dict[str, Any]]:
    """Time each implementation of the forward pass, and of the gradients of weight and bias.

    Parameters
    ----------
    backend : Backend
        One whose ``linear`` is `Linear`.
    seconds : callable
        ``seconds(backend, function)``: the time of a call.
    layers : sequence of (rows, inputs, outputs)
    dtypes : sequence of str
        Of the data; parameters are float32.

    Yields
    ------
    dict
        ``name``, ``flops``, ``seconds``.
    """
    import ml_dtypes  # noqa: F401 - makes the name known

    kernel, normal = backend.kernels["linear"], nnlib.random.Generator(0).normal
    for dtype in dtypes:
        for rows, n_in, n_out in layers:
            x, g = (normal((rows, n), backend=backend) for n in (n_in, n_out))
            weight = normal((n_out, n_in), backend=backend)
            bias = normal((n_out,), backend=backend)
            arrays = (x.astype(dtype), weight, bias)
            layer, flops = f"{dtype} {rows}x{n_in}x{n_out}", 2 * rows * n_in * n_out
            for activation in (None, "relu", "gelu_tanh"):
                for way, epilogues in (("epilogue", Linear.epilogues), ("passes", {})):
                    with mock.patch.object(Linear, "epilogues", epilogues):
                        elapsed = seconds(
                            backend, lambda a=activation, r=arrays: kernel.forward(*r, activation=a)
                        )
                    name = f"{layer} linear {activation or 'bias'}, {way}"
                    yield {"name": name, "flops": flops, "seconds": elapsed}
            saved = kernel.forward(*arrays)[1]
            call = (g.astype(dtype), saved, anywhere([False, True, True]), *arrays)
            for way, together in (("epilogue", True), ("passes", False)):
                with mock.patch.object(Linear, "sums_in_product", together):
                    elapsed = seconds(backend, lambda c=call: kernel.backward(*c))
                name = f"{layer} linear dw and db, {way}"
                yield {"name": name, "flops": flops, "seconds": elapsed}
