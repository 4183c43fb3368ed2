"""RMSprop: steps scaled by a running root mean square of the gradient."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from nnlib.optim.optimizer import Optimizer
from nnlib.optim.options import Range
from nnlib.optim.update import update_rule
from nnlib_backends.update_scalars import SCALARS

__all__ = ["RMSprop"]

_SAMPLE = {
    "lr": 0.01,
    "alpha": 0.99,
    "one_minus_alpha": 0.01,
    "eps": 1e-8,
    "weight_decay": 0.1,
    "momentum": 0.9,
}


@update_rule(
    scalars=SCALARS["rmsprop"],
    samples=[
        ((True, False, False), _SAMPLE | {"weight_decay": 0.0}, {"decayed": False}),
        ((True, True, False), _SAMPLE, {"decayed": True}),
        ((True, False, True), _SAMPLE | {"weight_decay": 0.0}, {"decayed": False}),
        ((True, True, True), _SAMPLE, {"decayed": True}),
    ],
)
def rmsprop(
    xp: Any,
    p: Any,
    g: Any,
    square_avg: Any,
    grad_avg: Any,
    momentum_buffer: Any,
    *,
    lr: Any,
    alpha: Any,
    one_minus_alpha: Any,
    eps: Any,
    weight_decay: Any,
    momentum: Any,
    decayed: bool,
) -> None:
    """Divide the gradient by the root of the running mean of its square, or of its variance."""
    if decayed:
        g = g + weight_decay * p
    square_avg *= alpha
    square_avg += one_minus_alpha * g * g
    mean_square = square_avg
    if grad_avg is not None:
        grad_avg *= alpha
        grad_avg += one_minus_alpha * g
        # rounding can make the variance of a constant gradient negative, its root NaN
        mean_square = xp.maximum(square_avg - grad_avg * grad_avg, 0.0)
    g = g / (xp.sqrt(mean_square) + eps)
    if momentum_buffer is not None:
        momentum_buffer *= momentum
        momentum_buffer += g
        g = momentum_buffer
    p -= lr * g


class RMSprop(Optimizer):
    """Root mean square propagation, as in PyTorch.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        See `Optimizer`.
    lr : float
        Learning rate.
    alpha : float
        Decay of the running mean of the squared gradient.
    eps : float
        Added to the denominator.
    weight_decay : float
        Adds ``weight_decay · W`` to the gradient (an L2 penalty).
    momentum : float
        Decay of a running sum of the scaled gradients, the direction of a step.
    centered : bool
        Divide by the running standard deviation of the gradient instead (Graves, 2013).

    Raises
    ------
    OptionError
        If an option is outside its range.

    References
    ----------
    Tieleman & Hinton, "Neural networks for machine learning", lecture 6.5, Coursera 2012.

    Examples
    --------
    >>> import nnlib
    >>> w = nnlib.tensor([1.0], requires_grad=True)
    >>> optimizer = RMSprop([w], lr=0.01)
    >>> (w * 3).sum().backward()
    >>> optimizer.step()  # 3 / sqrt(0.01 · 3²) = 10
    >>> w
    tensor([0.9], requires_grad=True)
    """

    rule = rmsprop
    slots = ("square_avg", "grad_avg", "momentum_buffer")
    ranges: ClassVar[dict[str, Range]] = {
        "lr": Range(),
        "alpha": Range(0.0, 1.0),
        "eps": Range(),
        "weight_decay": Range(),
        "momentum": Range(0.0, 1.0),
    }

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "alpha": alpha,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "centered": centered,
            },
        )

    def initial_state(self, options: dict[str, Any]) -> dict[str, float]:
        """Return the mean square; with ``centered`` the mean, with ``momentum`` a running sum."""
        state = {"square_avg": 0.0}
        if options["centered"]:
            state["grad_avg"] = 0.0
        if options["momentum"]:
            state["momentum_buffer"] = 0.0
        return state

    def flags(self, options: dict[str, Any]) -> dict[str, bool]:
        """Say whether there is weight decay."""
        return {"decayed": options["weight_decay"] != 0}

    def scalars(self, options: dict[str, Any], step: int) -> dict[str, float]:
        """Return the numeric options."""
        given = {name: options[name] for name in self.ranges}
        return {**given, "one_minus_alpha": 1 - options["alpha"]}
