"""JAX on the CPU: the whole training step is one jitted function whose state is donated.

Images stay NHWC.  Convolutions of few channels or small images are written as a matrix product of
patches, which XLA runs faster on a CPU than its own convolution: LeNet's first layer twice as fast,
VGG's last ones on 2×2 images forty times.  The others are `jax.lax.conv_general_dilated`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nnlib_benchmarks.peers.jax_sequences import SEQUENCE_WEIGHTS, gpt, lstm
from nnlib_benchmarks.peers.server import Peer, cores, processor, serve

FEW_CHANNELS, SMALL_IMAGE = 8, 64  #: up to so many channels or pixels, patches are faster
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
    if layer["inputs"] > FEW_CHANNELS and x.shape[1] * x.shape[2] > SMALL_IMAGE:
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
    """Mean over all labels; a product with 0 and 1 is cheaper here than picking and scattering."""
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
        """Say what runs here."""
        return {
            "device": f"{processor()}, jax.jit",
            "cores": cores(),
            "libraries": {"jax": jax.__version__},
            "details": {
                "mode": "jit of the whole step, donated state, NHWC",
                "platform": jax.devices()[0].platform,
            },
        }

    def product(self, n: int) -> Callable[[], object]:
        """Return a product of n×n matrices."""
        a, b = jax.random.normal(jax.random.key(0), (2, n, n))
        multiply = jax.jit(jnp.matmul)
        return lambda: multiply(a, b).block_until_ready()

    def start(self, weights: list[Any]) -> None:
        """Make the state and the step."""
        layers, optimizer = self.spec["layers"], self.spec["optimizer"]
        made = list(_arrange(layers, weights))
        memory = [jnp.zeros_like(w) for w in made] if optimizer["momentum"] else []
        if optimizer["kind"] == "adamw":
            memory = [jnp.zeros_like(w) for w in made for _ in range(2)] + [jnp.zeros(())]
        self._state = made, memory

        def loss(weights: list[Any], x: Any, y: Any) -> Any:
            return cross_entropy(forward(layers, weights, x), y)

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
        """Make one training step."""
        self._state, loss = jax.block_until_ready(self._step(self._state, *batch))
        return loss

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


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    serve(Jax)
