"""Losses as layers, documented by the functions that they apply.

Use `MSELoss` for regression, `BCEWithLogitsLoss` on logits for two classes, and `CrossEntropyLoss`
on logits for more.
"""

from __future__ import annotations

from typing import Any, ClassVar

from nnlib.autograd import Tensor, tensor
from nnlib.nn import functional as F
from nnlib.nn.function_layer import FunctionLayer
from nnlib.nn.functional.checks import REDUCTIONS, TensorLike, check_choice, check_fraction

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "MSELoss",
    "NLLLoss",
    "SmoothL1Loss",
]


class Loss(FunctionLayer):
    """Called with an input and a target; weights are buffers and move with the module."""

    inputs = 2
    reductions: ClassVar[tuple[str, ...]] = REDUCTIONS

    def _set_option(self, name: str, value: Any) -> None:
        if name in ("weight", "pos_weight"):
            self.register_buffer(name, None if value is None else tensor(value))
            return
        if name == "reduction":
            check_choice(value, self.reductions, name)
        elif name == "label_smoothing":
            check_fraction(value, name)
        setattr(self, name, value)

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:  # type: ignore[override]
        """Apply the function."""
        options = {name: getattr(self, name) for name in self.options}
        return self.function(input, target, **options)


class MSELoss(Loss, function=F.mse_loss):
    reduction: str = "mean"


class L1Loss(Loss, function=F.l1_loss):
    reduction: str = "mean"


class HuberLoss(Loss, function=F.huber_loss):
    reduction: str = "mean"
    delta: float = 1.0


class SmoothL1Loss(Loss, function=F.smooth_l1_loss):
    reduction: str = "mean"
    beta: float = 1.0


class CrossEntropyLoss(Loss, function=F.cross_entropy):
    weight: Any = None
    ignore_index: int | None = -100
    reduction: str = "mean"
    label_smoothing: float = 0.0


class NLLLoss(Loss, function=F.nll_loss):
    weight: Any = None
    ignore_index: int | None = -100
    reduction: str = "mean"


class BCEWithLogitsLoss(Loss, function=F.binary_cross_entropy_with_logits):
    weight: Any = None
    reduction: str = "mean"
    pos_weight: Any = None


class BCELoss(Loss, function=F.binary_cross_entropy):
    weight: Any = None
    reduction: str = "mean"


class KLDivLoss(Loss, function=F.kl_div):
    reductions = (*REDUCTIONS, "batchmean")
    reduction: str = "mean"
    log_target: bool = False
