"""PyTorch on the CPU, eager (``torch``) or compiled (``torch-compile``).

Images are laid out channels-last, the layout that oneDNN likes best and nnlib uses; the optimizer
is the fused one, by far the fastest of PyTorch's on a CPU.  ``torch-compile`` compiles forward and
loss together, and with them the backward pass, in the default mode: "max-autotune" chose the same
kernels and compiling the optimizer's step did not beat the fused one.  An LSTM it runs as it is and
compiles what is around it: traced too (``allow_rnn``), PyTorch 2.13 fails.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from nnlib_benchmarks.peers.server import Peer, processor, seconds, serve
from nnlib_benchmarks.peers.torch_sequences import SEQUENCE_LAYERS, with_weights


class Flatten(nn.Module):  # type: ignore[misc]
    """Flattens in the order height, width, channels, as nnlib does: free when channels-last."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) → (N, H·W·C)."""
        return x.permute(0, 2, 3, 1).flatten(1)


def build(layers: list[dict[str, Any]], weights: list[Any]) -> nn.Sequential:
    """Make the model of a workload's `layers`, its weights in the order of nnlib's state."""
    made: list[nn.Module] = []
    rest = iter(weights)
    for layer in layers:
        kind = layer["kind"]
        if kind in ("linear", "conv"):
            made.append(_weighted(layer, torch.from_numpy(next(rest)), next(rest)))
        elif kind in SEQUENCE_LAYERS:
            made.append(with_weights(SEQUENCE_LAYERS[kind](layer), rest))
        elif kind == "flatten":
            made.append(Flatten())
        elif kind == "maxpool":
            made.append(nn.MaxPool2d(layer["size"]))
        elif kind == "avgpool":
            made.append(nn.AvgPool2d(layer["size"]))
        else:
            made.append({"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}[kind]())
    return nn.Sequential(*made).to(memory_format=torch.channels_last)


def _weighted(layer: dict[str, Any], weight: torch.Tensor, bias: Any) -> nn.Module:
    module: nn.Module
    with torch.device("meta"):  # no initialisation of weights that are replaced at once
        if layer["kind"] == "linear":
            module = nn.Linear(layer["inputs"], layer["outputs"])
        else:
            weight = weight.permute(0, 3, 1, 2)  # (out, kh, kw, in) → (out, in, kh, kw)
            module = nn.Conv2d(
                layer["inputs"],
                layer["outputs"],
                layer["kernel"],
                stride=layer["stride"],
                padding=layer["padding"],
            )
    module.weight = nn.Parameter(weight)
    module.bias = nn.Parameter(torch.from_numpy(bias))
    return module


class Torch(Peer):
    """PyTorch; compiled if the name says so."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._compiled = name == "torch-compile"
        if self._compiled:
            from torch._inductor import config

            config.compile_threads = 1  # no helpers that would live on beside those who measure

    def describe(self) -> dict[str, Any]:
        """Say what runs here; where a compiler is needed, make sure that it works."""
        way = "torch.compile" if self._compiled else "eager"
        if self._compiled:
            torch.compile(lambda x: x.sin() + 1)(torch.ones(8))  # raises if there is no compiler
        return {
            "device": f"{processor()}, PyTorch {way}",
            "cores": torch.get_num_threads(),
            "libraries": {"torch": torch.__version__},
            "details": {
                "mode": f"{way}, CPU, channels-last, fused optimizer",
                "threads": torch.get_num_threads(),
                "mkldnn": torch.backends.mkldnn.is_available(),
                "mkl": torch.backends.mkl.is_available(),
            },
        }

    def product(self, n: int) -> Callable[[], object]:
        """Return a product of n×n matrices."""
        return partial(torch.mm, torch.randn(n, n), torch.randn(n, n))

    def start(self, weights: list[Any]) -> None:
        """Make model and optimizer."""
        self._model = build(self.spec["layers"], weights)
        wanted = self.spec["optimizer"]
        options = {"lr": wanted["learning_rate"], "fused": True}
        if wanted["kind"] == "sgd":
            options["momentum"] = wanted["momentum"]
            self._optimizer = torch.optim.SGD(self._model.parameters(), **options)
        else:
            options["weight_decay"] = wanted["weight_decay"]
            self._optimizer = torch.optim.AdamW(self._model.parameters(), **options)
        self._loss: Callable[..., torch.Tensor] = self._forward
        if self._compiled:
            torch._dynamo.reset()  # or the next task's shapes would be compiled as variable ones
            recurrent = any(isinstance(m, nn.LSTM) for m in self._model.modules())
            self._loss = torch.compile(self._forward, dynamic=False, fullgraph=not recurrent)

    def _forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        scores = self._model(x)
        return F.cross_entropy(scores.reshape(-1, scores.shape[-1]), y.reshape(-1))

    def batch(self, x: Any, y: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, H, W, C) images become (N, C, H, W), channels-last."""
        return _images(x), torch.from_numpy(y)

    def step(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Make one training step."""
        self._optimizer.zero_grad()
        loss = self._loss(*batch)
        loss.backward()
        self._optimizer.step()
        return loss.detach()

    def parts(self, batch: tuple[torch.Tensor, torch.Tensor]) -> tuple[float, float, float] | None:
        """Time forward, backward and update; compiled, the first two are apart still."""
        loss: list[torch.Tensor] = []
        self._optimizer.zero_grad()
        return (
            seconds(lambda: loss.append(self._loss(*batch))),
            seconds(lambda: loss[0].backward()),
            seconds(self._optimizer.step),
        )

    def scores(self, x: Any) -> Any:
        """Evaluate."""
        with torch.no_grad():
            return self._model(_images(x)).numpy()


def _images(x: Any) -> torch.Tensor:
    made = torch.from_numpy(x)
    return made.permute(0, 3, 1, 2) if made.ndim == 4 else made


if __name__ == "__main__":
    serve(Torch)
