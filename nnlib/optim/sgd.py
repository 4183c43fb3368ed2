"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from nnlib.errors import OptionError
from nnlib.optim.optimizer import Optimizer
from nnlib.optim.options import Range
from nnlib.optim.update import update_rule
from nnlib_backends.update_scalars import SCALARS

__all__ = ["SGD"]

_PLAIN = {"lr": 0.1, "momentum": 0.0, "one_minus_dampening": 1.0, "weight_decay": 0.0}
_DAMPENED = _PLAIN | {"momentum": 0.9, "one_minus_dampening": 0.7, "weight_decay": 0.01}
_DECAYED = {"nesterov": False, "decayed": True}
_UNDECAYED = {"nesterov": False, "decayed": False}


@update_rule(
    scalars=SCALARS["sgd"],
    samples=[
        ((False,), _PLAIN, _UNDECAYED),
        ((False,), _PLAIN | {"weight_decay": 0.01}, _DECAYED),
        ((True,), _DAMPENED, _DECAYED),
        ((True,), _PLAIN | {"momentum": 0.9}, {"nesterov": True, "decayed": False}),
    ],
)
def sgd(
    xp: Any,
    p: Any,
    g: Any,
    momentum_buffer: Any,
    *,
    lr: Any,
    momentum: Any,
    one_minus_dampening: Any,
    weight_decay: Any,
    nesterov: bool,
    decayed: bool,
) -> None:
    """Subtract the gradient, or a running sum of gradients, times the learning rate."""
    if decayed:
        g = g + weight_decay * p
    if momentum_buffer is not None:
        momentum_buffer *= momentum
        momentum_buffer += one_minus_dampening * g
        g = g + momentum * momentum_buffer if nesterov else momentum_buffer
    p -= lr * g


class SGD(Optimizer):
    """W ← W − lr · ∂J/∂W, optionally with (Nesterov) momentum, as in PyTorch.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        See `Optimizer`.
    lr : float
        Learning rate, the course's α.
    momentum : float
        μ in v ← μ v + (1 − dampening) g, the direction that replaces the gradient g.
    dampening : float
        Not applied in a parameter's first step, where v = g.
    weight_decay : float
        Adds ``weight_decay · W`` to the gradient (an L2 penalty).
    nesterov : bool
        Use the direction g + μ v instead of v.

    Raises
    ------
    OptionError
        If an option is outside its range, or ``nesterov`` is set without momentum or with
        dampening.

    References
    ----------
    Sutskever, Martens, Dahl & Hinton, "On the importance of initialization and momentum in deep
    learning", ICML 2013.

    Examples
    --------
    >>> import nnlib
    >>> w = nnlib.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = SGD([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.8, 1.6], requires_grad=True)
    """

    rule = sgd
    slots = ("momentum_buffer",)
    ranges: ClassVar[dict[str, Range]] = {
        "lr": Range(),
        "momentum": Range(0.0, 1.0),
        "dampening": Range(0.0, 1.0),
        "weight_decay": Range(),
    }

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
            },
        )

    def checked(self, options: dict[str, Any]) -> dict[str, Any]:
        """Check ranges, and the options that Nesterov momentum needs."""
        options = super().checked(options)
        if options["nesterov"] and (options["momentum"] == 0 or options["dampening"] != 0):
            raise OptionError(
                "nesterov=True needs momentum > 0 and dampening = 0. Received: "
                f"momentum={options['momentum']}, dampening={options['dampening']}"
            )
        return options

    def initial_state(self, options: dict[str, Any]) -> dict[str, float]:
        """Return a running sum if there is momentum."""
        return {"momentum_buffer": 0.0} if options["momentum"] else {}

    def flags(self, options: dict[str, Any]) -> dict[str, bool]:
        """Return whether there is Nesterov momentum and weight decay."""
        return {"nesterov": options["nesterov"], "decayed": options["weight_decay"] != 0}

    def scalars(self, options: dict[str, Any], step: int) -> dict[str, float]:
        """Return the options, without dampening in the first step."""
        return {
            "lr": options["lr"],
            "momentum": options["momentum"],
            "one_minus_dampening": 1 - options["dampening"] if step > 1 else 1.0,
            "weight_decay": options["weight_decay"],
        }
