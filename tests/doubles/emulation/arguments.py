"""Arguments of operations, for tests with awkward sizes."""

from typing import Any

import numpy as np

from nnlib_backends import Backend


def uniform(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.uniform(-2, 2, shape)


def weights(rng: np.random.Generator, count: int, columns: int) -> list[np.ndarray]:
    return [uniform(rng, columns) for _ in range(count)]


#: name of an operation → function that makes arguments of a number of rows and columns
ARGUMENTS = {
    "softmax_cross_entropy": lambda rng, n, d: [4 * uniform(rng, n, d), rng.integers(0, d, n)],
    "sigmoid_cross_entropy": lambda rng, n, d: [uniform(rng, n, d), rng.uniform(0, 1, (n, d))],
    "layer_norm": lambda rng, n, d: [uniform(rng, n, d), *weights(rng, 2, d)],
    "rms_norm": lambda rng, n, d: [uniform(rng, n, d), *weights(rng, 1, d)],
    "batch_norm": lambda rng, n, d: [uniform(rng, n, d), *weights(rng, 2, d)],
    "gelu": lambda rng, n, d: [uniform(rng, n, d)],
    "silu": lambda rng, n, d: [uniform(rng, n, d)],
    "embedding": lambda rng, n, d: [uniform(rng, 5, d), rng.integers(0, 5, n)],
    "linear": lambda rng, n, d: [uniform(rng, n, 3), uniform(rng, d, 3), *weights(rng, 1, d)],
}
OPTIONS = {"linear": {"activation": "tanh"}}


def placed(backend: Backend, x: np.ndarray | None, dtype: Any, offset: int) -> Any:
    """Return an array that begins ``offset`` numbers after a 16-byte boundary."""
    if x is None:
        return None
    x = np.asarray(x, dtype if x.dtype.kind == "f" else x.dtype)
    flat = np.zeros(x.size + offset, x.dtype)
    flat[offset:] = x.reshape(-1)
    return backend.asarray(flat)[offset:].reshape(x.shape)
