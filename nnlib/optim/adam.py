"""Adam and AdamW: steps scaled by running moments of the gradient."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar

from nnlib.errors import OptionError
from nnlib.optim.optimizer import Optimizer
from nnlib.optim.options import Range
from nnlib.optim.update import update_rule
from nnlib_backends.update_scalars import SCALARS

__all__ = ["Adam", "AdamW"]

_SAMPLE = {
    "step_size": 0.01,
    "eps": 1e-8,
    "beta1": 0.9,
    "one_minus_beta1": 0.1,
    "beta2": 0.999,
    "one_minus_beta2": 0.001,
    "decay": 0.1,
}


@update_rule(
    scalars=SCALARS["adam"],
    samples=[
        ((True, True, False), _SAMPLE | {"decay": 0.0}, {"decayed": False, "decoupled": False}),
        ((True, True, False), _SAMPLE, {"decayed": True, "decoupled": False}),
        ((True, True, True), _SAMPLE | {"decay": 0.99}, {"decayed": True, "decoupled": True}),
    ],
)
def adam(
    xp: Any,
    p: Any,
    g: Any,
    exp_avg: Any,
    exp_avg_sq: Any,
    max_exp_avg_sq: Any,
    *,
    step_size: Any,
    eps: Any,
    beta1: Any,
    one_minus_beta1: Any,
    beta2: Any,
    one_minus_beta2: Any,
    decay: Any,
    decayed: bool,
    decoupled: bool,
) -> None:
    """Divide the running mean of the gradient by the root of the running mean of its square.

    Both means start at zero; dividing by 1 − βᵗ corrects that bias.  The corrections are scalars:
    ``step_size`` and ``eps`` contain them, which saves passes over the arrays.
    """
    if decayed and decoupled:
        p *= decay  # 1 − lr · weight_decay
    elif decayed:
        g = g + decay * p
    exp_avg *= beta1
    exp_avg += one_minus_beta1 * g
    exp_avg_sq *= beta2
    exp_avg_sq += one_minus_beta2 * g * g
    if max_exp_avg_sq is not None:
        max_exp_avg_sq[...] = xp.maximum(max_exp_avg_sq, exp_avg_sq)
        exp_avg_sq = max_exp_avg_sq
    p -= step_size * exp_avg / (xp.sqrt(exp_avg_sq) + eps)


class Adam(Optimizer):
    """Adaptive moment estimation, as in PyTorch.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        See `Optimizer`.
    lr : float
        Learning rate: about the size of a step of each entry.
    betas : (float, float)
        Decay of the running means of the gradient and of its square, each in [0, 1).
    eps : float
        Added to the denominator.
    weight_decay : float
        Adds ``weight_decay · W`` to the gradient (an L2 penalty; `AdamW` decays the weights).
    amsgrad : bool
        Divide by the largest mean square so far (Reddi, Kale & Kumar, 2018).

    Raises
    ------
    OptionError
        If an option is outside its range.

    References
    ----------
    Kingma & Ba, "Adam: a method for stochastic optimization", ICLR 2015.

    Examples
    --------
    >>> import nnlib
    >>> w = nnlib.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = Adam([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.5, -1.5], requires_grad=True)
    """

    rule = adam
    slots = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")
    ranges: ClassVar[dict[str, Range]] = {
        "lr": Range(),
        "betas": Range(0.0, 1.0, below=True),
        "eps": Range(),
        "weight_decay": Range(),
    }
    decoupled = False  # whether weight decay is not part of the gradient

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
            },
        )

    def checked(self, options: dict[str, Any]) -> dict[str, Any]:
        """Check ranges, and that there are two betas."""
        betas = options["betas"]
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise OptionError(f"betas must be two numbers. Received: {betas!r}")
        return super().checked(options)

    def initial_state(self, options: dict[str, Any]) -> dict[str, float]:
        """Return two running means, and the largest mean square with AMSGrad."""
        means = {"exp_avg": 0.0, "exp_avg_sq": 0.0}
        return means | {"max_exp_avg_sq": 0.0} if options["amsgrad"] else means

    def flags(self, options: dict[str, Any]) -> dict[str, bool]:
        """Return whether there is weight decay, and whether it is decoupled."""
        return {"decayed": options["weight_decay"] != 0, "decoupled": self.decoupled}

    def scalars(self, options: dict[str, Any], step: int) -> dict[str, float]:
        """Return step size and eps with the bias corrections, and the factors of the means."""
        beta1, beta2 = options["betas"]
        lr, weight_decay = options["lr"], options["weight_decay"]
        correction = math.sqrt(1 - beta2**step)
        return {
            "step_size": lr * correction / (1 - beta1**step),
            "eps": options["eps"] * correction,
            "beta1": beta1,
            "one_minus_beta1": 1 - beta1,
            "beta2": beta2,
            "one_minus_beta2": 1 - beta2,
            "decay": 1 - lr * weight_decay if self.decoupled else weight_decay,
        }


class AdamW(Adam):
    """Adam with decoupled weight decay: W ← (1 − lr · weight_decay) W before each step.

    Parameters
    ----------
    params, lr, betas, eps, amsgrad
        See `Adam`.
    weight_decay : float
        Not an L2 penalty: it is not scaled by the gradient's moments.

    Raises
    ------
    OptionError
        If a number is out of range.

    References
    ----------
    Loshchilov & Hutter, "Decoupled weight decay regularization", ICLR 2019.

    Examples
    --------
    >>> import nnlib
    >>> w = nnlib.tensor([1.0], requires_grad=True)
    >>> optimizer = AdamW([w], lr=0.5, weight_decay=0.1)
    >>> (w * 0).sum().backward()
    >>> optimizer.step()  # the gradient is zero: only the decay acts
    >>> w
    tensor([0.95], requires_grad=True)
    """

    decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad)
