"""Adagrad: steps scaled by the sum of all squared gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from nnlib.optim.optimizer import Optimizer
from nnlib.optim.options import Range
from nnlib.optim.update import update_rule
from nnlib_backends.update_scalars import SCALARS

__all__ = ["Adagrad"]


@update_rule(
    scalars=SCALARS["adagrad"],
    samples=[
        ((True,), {"lr": 0.1, "eps": 1e-10, "weight_decay": 0.0}, {"decayed": False}),
        ((True,), {"lr": 0.1, "eps": 1e-10, "weight_decay": 0.1}, {"decayed": True}),
    ],
)
def adagrad(
    xp: Any, p: Any, g: Any, sum: Any, *, lr: Any, eps: Any, weight_decay: Any, decayed: bool
) -> None:
    """Divide the gradient by the root of the sum of its squares."""
    if decayed:
        g = g + weight_decay * p
    sum += g * g
    p -= lr * g / (xp.sqrt(sum) + eps)


class Adagrad(Optimizer):
    """Adaptive subgradient descent, as in PyTorch.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        See `Optimizer`.
    lr : float
        Learning rate.
    lr_decay : float
        Step t uses ``lr / (1 + (t − 1) · lr_decay)``.
    weight_decay : float
        Adds ``weight_decay · W`` to the gradient (an L2 penalty).
    initial_accumulator_value : float
        Initial value of the sum of squares.
    eps : float
        Added to the denominator.

    Raises
    ------
    OptionError
        If an option is outside its range.

    References
    ----------
    Duchi, Hazan & Singer, "Adaptive subgradient methods for online learning and stochastic
    optimization", JMLR 12, 2011.

    Examples
    --------
    >>> import nnlib
    >>> w = nnlib.tensor([1.0], requires_grad=True)
    >>> optimizer = Adagrad([w], lr=0.1)
    >>> (w * 3).sum().backward()
    >>> optimizer.step()  # the first step has the size lr
    >>> w
    tensor([0.9], requires_grad=True)
    """

    rule = adagrad
    slots = ("sum",)
    ranges: ClassVar[dict[str, Range]] = {
        "lr": Range(),
        "lr_decay": Range(),
        "weight_decay": Range(),
        "initial_accumulator_value": Range(),
        "eps": Range(),
    }

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "lr_decay": lr_decay,
                "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value,
                "eps": eps,
            },
        )

    def initial_state(self, options: dict[str, Any]) -> dict[str, float]:
        """Return the sum of squares."""
        return {"sum": options["initial_accumulator_value"]}

    def flags(self, options: dict[str, Any]) -> dict[str, bool]:
        """Say whether there is weight decay."""
        return {"decayed": options["weight_decay"] != 0}

    def scalars(self, options: dict[str, Any], step: int) -> dict[str, float]:
        """Return the options, with the decayed learning rate."""
        return {
            "lr": options["lr"] / (1 + (step - 1) * options["lr_decay"]),
            "eps": options["eps"],
            "weight_decay": options["weight_decay"],
        }
