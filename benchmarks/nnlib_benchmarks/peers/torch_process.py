"""PyTorch, eager (``torch``) or compiled (``torch-compile``), on the CPU or the GPU (``-cuda``).

Images are channels-last, the fastest layout of oneDNN and tensor cores, and nnlib's; the optimizer
is the fused one, by far the fastest of PyTorch's on a CPU.  ``torch-compile`` compiles forward and
loss together, and with them the backward pass.  On the CPU it uses the default mode:
"max-autotune" chose the same kernels, and compiling the optimizer's step was not faster than the
fused one.  On the GPU the mode is "max-autotune", which also replays forward and backward as CUDA
graphs; cuDNN times its algorithms (``cudnn.benchmark``).  An LSTM runs eagerly, with the code
around it compiled, because PyTorch 2.13 fails with ``allow_rnn``.

In bf16 forward and loss run under `torch.autocast`, the parameters stay float32.  TF32 is off for
products and for convolutions, where PyTorch has it on by default, except in ``tf32``.
"""

from __future__ import annotations

from collections.abc import Callable
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


def build(layers: list[dict[str, Any]], weights: list[Any], device: torch.device) -> nn.Sequential:
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
    return nn.Sequential(*made).to(device, memory_format=torch.channels_last)


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
    """PyTorch; compiled if the name says so.

    Parameters
    ----------
    name : str
        Also says on which device it runs.
    device : str, optional
        Another one.
    """

    def __init__(self, name: str, device: str | None = None) -> None:
        super().__init__(name)
        self._compiled = "compile" in name
        self._device = torch.device(device or ("cuda" if self.on_gpu else "cpu"))
        if self.on_gpu:
            torch.backends.cudnn.benchmark = True
            _allow_tf32(False)
        elif self._compiled:
            from torch._inductor import config

            config.compile_threads = 1  # no worker processes beside the measurement

    def describe(self) -> dict[str, Any]:
        """Describe it; if a compiler is needed, check that it works."""
        way = "torch.compile" if self._compiled else "eager"
        ones = torch.ones(8, device=self._device)  # raises if there is no GPU
        if self._compiled:
            torch.compile(lambda x: x.sin() + 1)(ones)  # raises if there is no compiler
        if self.on_gpu:
            return self._describe_gpu("torch.compile, max-autotune" if self._compiled else way)
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

    def _describe_gpu(self, way: str) -> dict[str, Any]:
        card = torch.cuda.get_device_properties(self._device)
        return {
            "device": f"{card.name}, PyTorch {way}",
            "cores": card.multi_processor_count,
            "memory_bytes": card.total_memory,
            "libraries": {
                "torch": torch.__version__,
                "cuda": str(torch.version.cuda),
                "cudnn": str(torch.backends.cudnn.version()),
            },
            "details": {
                "mode": f"{way}, CUDA, cudnn.benchmark, channels-last, fused optimizer",
                "bf16": "torch.autocast",
            },
        }

    def product(self, n: int) -> Callable[[], object]:
        """Return a product of n×n matrices."""
        a, b = torch.randn(2, n, n, device=self._device)

        def multiply() -> None:
            torch.mm(a, b)
            self.wait()

        return multiply

    def start(self, weights: list[Any]) -> None:
        """Make model and optimizer."""
        precision = self.spec["precision"]
        self._low = torch.bfloat16 if precision == "bf16" else None
        self._warm = True
        if self.on_gpu:
            _allow_tf32(precision == "tf32")
        self._model = build(self.spec["layers"], weights, self._device)
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
            mode = "max-autotune" if self.on_gpu else None
            self._loss = torch.compile(
                self._forward, dynamic=False, fullgraph=not recurrent, mode=mode
            )

    def _forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        with torch.autocast(self._device.type, self._low, enabled=self._low is not None):
            scores = self._model(x)
            return F.cross_entropy(scores.reshape(-1, scores.shape[-1]), y.reshape(-1))

    def batch(self, x: Any, y: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, H, W, C) images become (N, C, H, W), channels-last."""
        return _images(x).to(self._device), torch.from_numpy(y).to(self._device)

    def step(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Make one training step, on a GPU without waiting for it."""
        replayed = self._compiled and self.on_gpu
        if replayed:
            torch.compiler.cudagraph_mark_step_begin()
        self._optimizer.zero_grad()
        loss = self._loss(*batch)
        loss.backward()
        self._optimizer.step()
        loss = loss.detach()
        return loss.clone() if replayed else loss  # the next replay overwrites it

    def wait(self) -> None:
        """Wait for the GPU."""
        if self.on_gpu:
            torch.cuda.synchronize()

    def parts(self, batch: tuple[torch.Tensor, torch.Tensor]) -> tuple[float, float, float] | None:
        """Time forward, backward and update; the first two are separate even if compiled."""
        loss: list[torch.Tensor] = []
        self._optimizer.zero_grad()

        def timed(action: Callable[[], object]) -> float:
            def done() -> None:
                action()
                self.wait()

            return seconds(done)

        return (
            timed(lambda: loss.append(self._loss(*batch))),
            timed(lambda: loss[0].backward()),
            timed(self._optimizer.step),
        )

    def scores(self, x: Any) -> Any:
        """Evaluate."""
        with torch.no_grad():
            return self._model(_images(x).to(self._device)).cpu().numpy()

    def memory(self) -> int | None:
        """Memory reserved on the GPU by PyTorch's allocator, or in use by this process."""
        return torch.cuda.memory_reserved() if self.on_gpu else super().memory()

    def forget_peak(self) -> None:
        """Reset the peak memory, and once for a task free the cache of the warm-up."""
        if self.on_gpu:
            if self._warm:
                torch.cuda.empty_cache()
            self._warm = False
            torch.cuda.reset_peak_memory_stats()
        super().forget_peak()

    def peak_memory(self) -> int | None:
        """Peak memory since `forget_peak`."""
        return torch.cuda.max_memory_reserved() if self.on_gpu else super().peak_memory()

    def stop(self) -> None:
        """Free all memory, that of the GPU included."""
        self._model = self._optimizer = None
        self._loss = self._forward
        if self._compiled:
            torch._dynamo.reset()
        if self.on_gpu:
            torch.cuda.empty_cache()


def _allow_tf32(allowed: bool) -> None:
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed


def _images(x: Any) -> torch.Tensor:
    made = torch.from_numpy(x)
    return made.permute(0, 3, 1, 2) if made.ndim == 4 else made


if __name__ == "__main__":
    serve(Torch)
