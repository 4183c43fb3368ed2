"""JAX on the CPU or the GPU (``jax-cuda``): the whole step is one jitted function.

Its state is donated, and images stay NHWC.  On the CPU convolutions of few channels or small images
are written as im2col and a matrix product, which XLA runs faster than its own convolution: LeNet's
first layer twice as fast, VGG's last ones on 2×2 images forty times.  The others, and all on a GPU,
are `jax.lax.conv_general_dilated`; attention in bf16 on a GPU is cuDNN's.

In bf16 weights and data are rounded before the forward pass, norms and the loss are computed in
float32, and gradients reach float32 weights.  XLA would use TF32 for float32 products on a GPU:
here their precision is set explicitly, and is TF32 only in ``tf32``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nnlib_benchmarks.peers.jax_sequences import SEQUENCE_WEIGHTS, gpt, lstm
from nnlib_benchmarks.peers.server import Peer, cores, on_gpu, processor, serve

FEW_CHANNELS, SMALL_IMAGE = 8, 64  #: up to these, im2col is faster on a CPU
PRODUCTS = {"fp32": "highest", "tf32": "tensorfloat32", "bf16": "highest"}  #: of float32, on a GPU
BETAS, EPSILON = (0.9, 0.999), 1e-8  #: of AdamW, as in PyTorch


def forward(layers: list[dict[str, Any]], weights: list[Any], x: Any) -> Any:
    """Run the model of a workload's `layers`."""
    rest = iter(weights)
    for layer in layers:
        kind = layer["kind"]
        if kind == "linear":
            x = x @ next(rest) + next(rest)
        elif kind == "conv":
            x = _convolve(layer, x, next(rest)) + next(rest)
        elif kind == "lstm":
            x = lstm(rest, x)
        elif kind == "gpt":
            x = gpt(layer, rest, x)
        elif kind == "flatten":
            x = x.reshape(x.shape[0], -1)
        elif kind in ("maxpool", "avgpool"):
            x = _pool(kind, layer["size"], x)
        else:
            x = {"relu": jax.nn.relu, "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid}[kind](x)
    return x


def _convolve(layer: dict[str, Any], x: Any, w: Any) -> Any:
    k, stride, margin = layer["kernel"], layer["stride"], (layer["padding"],) * 2
    own = jax.default_backend() == "gpu"
    if own or (layer["inputs"] > FEW_CHANNELS and x.shape[1] * x.shape[2] > SMALL_IMAGE):
        return jax.lax.conv_general_dilated(
            x, w, (stride, stride), [margin, margin], dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    x = jnp.pad(x, ((0, 0), margin, margin, (0, 0)))
    height, width = ((side - k) // stride + 1 for side in x.shape[1:3])
    rows, columns = (height - 1) * stride + 1, (width - 1) * stride + 1
    patches = jnp.concatenate(
        [x[:, i : i + rows : stride, j : j + columns : stride] for i in range(k) for j in range(k)],
        axis=-1,
    )  # (N, height, width, k·k·inputs)
    return patches @ w.reshape(-1, layer["outputs"])


def _pool(kind: str, size: int, x: Any) -> Any:
    n, height, width, channels = x.shape
    h, w = height // size, width // size
    windows = x[:, : h * size, : w * size].reshape(n, h, size, w, size, channels)
    return windows.max(axis=(2, 4)) if kind == "maxpool" else windows.mean(axis=(2, 4))


def cross_entropy(scores: Any, labels: Any) -> Any:
    """Mean over all labels; a product with 0 and 1 is cheaper here than gather and scatter."""
    scores, labels = scores.reshape(-1, scores.shape[-1]), labels.reshape(-1)
    chosen = jax.nn.log_softmax(scores) * jax.nn.one_hot(labels, scores.shape[-1])
    return -chosen.sum(axis=-1).mean()


def update(optimizer: dict[str, Any], state: Any, gradients: list[Any]) -> Any:
    """Apply an optimizer's rule: (weights, memory) and gradients → (weights, memory)."""
    weights, memory = state
    rate = optimizer["learning_rate"]
    if optimizer["kind"] == "sgd":
        if not optimizer["momentum"]:
            return [w - rate * g for w, g in zip(weights, gradients, strict=True)], memory
        speeds = [optimizer["momentum"] * v + g for v, g in zip(memory, gradients, strict=True)]
        return [w - rate * v for w, v in zip(weights, speeds, strict=True)], speeds
    (first, second), time = (memory[:-1:2], memory[1:-1:2]), memory[-1] + 1
    a, b = BETAS
    decay = 1 - rate * optimizer["weight_decay"]
    new_weights, new_memory = [], []
    for w, g, m, v in zip(weights, gradients, first, second, strict=True):
        m, v = a * m + (1 - a) * g, b * v + (1 - b) * g * g
        size = jnp.sqrt(v / (1 - b**time)) + EPSILON
        new_weights.append(decay * w - rate * (m / (1 - a**time)) / size)
        new_memory += [m, v]
    return new_weights, [*new_memory, time]


class Jax(Peer):
    """JAX."""

    def describe(self) -> dict[str, Any]:
        """Describe the library and its device."""
        device = jax.devices()[0]  # raises if there is none of the kind
        described = {
            "device": f"{device.device_kind if self.on_gpu else processor()}, jax.jit",
            "cores": cores(),
            "libraries": {"jax": jax.__version__},
            "details": {
                "mode": "jit of the whole step, donated state, NHWC",
                "platform": device.platform,
            },
        }
        if self.on_gpu:
            described["cores"] = int(getattr(device, "core_count", 0))
            described["memory_bytes"] = int((device.memory_stats() or {}).get("bytes_limit", 0))
        return described

    def product(self, n: int) -> Callable[[], object]:
        """Return a product of n×n matrices."""
        a, b = jax.random.normal(jax.random.key(0), (2, n, n))
        multiply = jax.jit(jnp.matmul, static_argnames="precision")
        if self.on_gpu:
            return lambda: multiply(a, b, precision="highest").block_until_ready()
        return lambda: multiply(a, b).block_until_ready()

    def start(self, weights: list[Any]) -> None:
        """Make the state and the step."""
        layers, optimizer = self.spec["layers"], self.spec["optimizer"]
        low = self.spec["precision"] == "bf16"
        if self.on_gpu:
            jax.config.update("jax_default_matmul_precision", PRODUCTS[self.spec["precision"]])
        made = list(_arrange(layers, weights))
        memory = [jnp.zeros_like(w) for w in made] if optimizer["momentum"] else []
        if optimizer["kind"] == "adamw":
            memory = [jnp.zeros_like(w) for w in made for _ in range(2)] + [jnp.zeros(())]
        self._state = made, memory

        def rounded(values: Any) -> Any:
            """Round values to bfloat16 in that precision, except tokens."""
            return jax.tree.map(lambda v: v.astype("bfloat16") if v.dtype == "float32" else v,
                                values) if low else values  # fmt: skip

        def loss(weights: list[Any], x: Any, y: Any) -> Any:
            scores = forward(layers, rounded(weights), rounded(x))
            return cross_entropy(scores.astype("float32"), y)

        def step(state: Any, x: Any, y: Any) -> Any:
            value, gradients = jax.value_and_grad(loss)(state[0], x, y)
            return update(optimizer, state, gradients), value

        self._step = jax.jit(step, donate_argnums=0)
        self._forward = jax.jit(lambda weights, x: forward(layers, weights, x))

    def batch(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Copy to JAX's arrays."""
        x = x if x.dtype == "float32" else x.astype("int32")
        arrays = jnp.asarray(x), jnp.asarray(y.astype("int32"))
        jax.block_until_ready(arrays)
        return arrays

    def step(self, batch: tuple[Any, Any]) -> Any:
        """Begin one training step."""
        self._state, loss = self._step(self._state, *batch)
        return loss

    def wait(self) -> None:
        """Wait for the step whose state is the last one."""
        jax.block_until_ready(self._state)

    def stop(self) -> None:
        """Free the state and the compiled step."""
        self._state, self._step, self._forward = ([], []), None, None
        jax.clear_caches()

    def memory(self) -> int | None:
        """Memory of this process; XLA's peak on a GPU is never reset, so it is left out."""
        return None if self.on_gpu else super().memory()

    def peak_memory(self) -> int | None:
        """Peak memory of this process."""
        return None if self.on_gpu else super().peak_memory()

    def scores(self, x: Any) -> Any:
        """Evaluate."""
        return jax.device_get(self._forward(self._state[0], x))


def _arrange(layers: list[dict[str, Any]], weights: list[Any]) -> Iterator[Any]:
    """Copy the weights: (out, in) → (in, out), and (out, kh, kw, in) → HWIO."""
    rest = iter(weights)
    for layer in layers:
        if layer["kind"] in ("linear", "conv"):
            yield jnp.array(np.moveaxis(next(rest), 0, -1))
            yield jnp.array(next(rest))
        elif layer["kind"] in SEQUENCE_WEIGHTS:
            for name in SEQUENCE_WEIGHTS[layer["kind"]](layer):
                yield jnp.array(next(rest).T if name == "product" else next(rest))


def serve_on_its_device() -> None:
    """Choose the device by the name, without preallocating the GPU's memory."""
    jax.config.update("jax_platforms", "cuda" if on_gpu(sys.argv[1]) else "cpu")
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    serve(Jax)


if __name__ == "__main__":
    serve_on_its_device()
