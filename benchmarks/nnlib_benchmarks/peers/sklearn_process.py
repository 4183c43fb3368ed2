"""scikit-learn's MLPClassifier, for the workloads that it can express.

One `partial_fit` of one batch is one step: one pass over the data in batches of ``batch_size``,
without shuffling.  Its loss is the mean cross-entropy before the update, as in other libraries,
if the penalty ``alpha`` is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import sklearn
from sklearn.neural_network import MLPClassifier

from nnlib_benchmarks.peers.server import Peer, UnsuitableError, cores, processor, serve

ACTIVATIONS = {"relu": "relu", "tanh": "tanh", "sigmoid": "logistic"}


def objection(layers: list[dict[str, Any]], optimizer: dict[str, Any]) -> str | None:
    """Return why MLPClassifier cannot train this, or ``None`` if it can.

    Examples
    --------
    >>> objection([{"kind": "conv"}], {"kind": "sgd"})
    'MLPClassifier has fully connected layers only'
    """
    hidden = {layer["kind"] for layer in layers} - {"linear"}
    if not hidden <= set(ACTIVATIONS):
        return "MLPClassifier has fully connected layers only"
    if len(hidden) > 1:
        return "MLPClassifier has one activation for all hidden layers"
    if optimizer["kind"] != "sgd":
        return f"MLPClassifier has no {optimizer['kind']}"
    if layers[-1]["outputs"] == 2:
        return "MLPClassifier gives two classes one logistic output, not a softmax of two"
    return None


class Sklearn(Peer):
    """scikit-learn."""

    def describe(self) -> dict[str, Any]:
        """Describe the library and its device."""
        return {
            "device": f"{processor()}, scikit-learn",
            "cores": cores(),
            "libraries": {"scikit-learn": sklearn.__version__, "numpy": np.__version__},
            "details": {"mode": "MLPClassifier.partial_fit, one batch a call"},
        }

    def product(self, n: int) -> Callable[[], object]:
        """Return a product of n×n matrices: NumPy's, which scikit-learn uses."""
        a, b = np.random.default_rng(0).standard_normal((2, n, n), dtype=np.float32)
        return partial(np.matmul, a, b)

    def start(self, weights: list[Any]) -> None:
        """Make the classifier and put the weights into it."""
        layers, optimizer = self.spec["layers"], self.spec["optimizer"]
        reason = objection(layers, optimizer)
        if reason is not None:
            raise UnsuitableError(reason)
        hidden = next((ACTIVATIONS[la["kind"]] for la in layers if la["kind"] in ACTIVATIONS), None)
        self._model = MLPClassifier(
            hidden_layer_sizes=[layer["outputs"] for layer in layers[:-1:2]],
            activation=hidden or "identity",
            solver="sgd",
            alpha=0.0,
            batch_size=self.spec["batch"],
            learning_rate="constant",
            learning_rate_init=optimizer["learning_rate"],
            momentum=optimizer["momentum"],
            nesterovs_momentum=False,
            shuffle=False,
            n_iter_no_change=np.inf,
        )
        # A first call initialises everything; its weights and momentum are replaced.
        inputs, classes = layers[0]["inputs"], np.arange(layers[-1]["outputs"])
        x = np.zeros((self.spec["batch"], inputs), np.float32)
        self._model.partial_fit(x, np.zeros(len(x), np.int64), classes=classes)
        self._model.coefs_ = [np.ascontiguousarray(w.T) for w in weights[::2]]
        self._model.intercepts_ = list(weights[1::2])
        del self._model._optimizer

    def batch(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Return the arrays unchanged."""
        return x, y

    def step(self, batch: tuple[Any, Any]) -> float:
        """Make one training step."""
        return float(self._model.partial_fit(*batch).loss_)

    def scores(self, x: Any) -> Any:
        """Evaluate."""
        return self._model.predict_proba(x)


if __name__ == "__main__":
    serve(Sklearn)
