"""nnlib in a separate process, like a peer: compiled (``numpy``) or not (``numpy-eager``).

In a run with peers nnlib's NumPy backend is measured like them: with separate thread pools and
memory, and by the same program (`nnlib_benchmarks.peers.server`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

import nnlib
import nnlib.nn.functional as F
from nnlib import nn
from nnlib_benchmarks.contestants import (
    describe_backend,
    is_eager,
    precision_scope,
    training_step,
)
from nnlib_benchmarks.peers.server import Peer, seconds, serve
from nnlib_benchmarks.workloads import layers
from nnlib_benchmarks.workloads.base import Optimizer


class Nnlib(Peer):
    """nnlib on NumPy."""

    def describe(self) -> dict[str, Any]:
        """Describe the backend."""
        described = asdict(describe_backend(self.name))
        return {key: v for key, v in described.items() if key not in ("name", "peak")}

    def product(self, n: int) -> Callable[[], object]:
        """Return a product of n×n matrices."""
        a, b = np.random.default_rng(0).standard_normal((2, n, n), dtype=np.float32)
        x, y = nnlib.tensor(a), nnlib.tensor(b)
        return lambda: x @ y

    def start(self, weights: list[Any]) -> None:
        """Make model, optimizer and step."""
        with nn.init.skip():  # all values are overwritten
            self._model = layers.build(self.spec["layers"])
        self._model.load_state_dict(dict(zip(self._model.state_dict(), weights, strict=True)))
        self._optimizer = Optimizer(**self.spec["optimizer"]).build(self._model.parameters())
        self._scope = precision_scope(self.spec["precision"])
        self._step = training_step(
            self._model, self._optimizer, eager=is_eager(self.name), scope=self._scope
        )

    def batch(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Wrap the arrays."""
        return nnlib.tensor(x), nnlib.tensor(y)

    def step(self, batch: tuple[Any, Any]) -> Any:
        """Make one training step."""
        return self._step(*batch)

    def parts(self, batch: tuple[Any, Any]) -> tuple[float, float, float] | None:
        """Time forward, backward and update; a compiled step has no such parts."""
        if not is_eager(self.name):
            return None
        x, y = batch
        loss: list[Any] = []
        self._optimizer.zero_grad()

        def forward() -> None:
            with self._scope():
                loss.append(F.cross_entropy(self._model(x), y))

        return (
            seconds(forward),
            seconds(lambda: loss[0].backward()),
            seconds(self._optimizer.step),
        )

    def scores(self, x: Any) -> Any:
        """Evaluate."""
        self._model.eval()
        with nnlib.no_grad():
            found = self._model(nnlib.tensor(x)).numpy()
        self._model.train()
        return found


if __name__ == "__main__":
    nnlib.set_backend("numpy")
    serve(Nnlib)
