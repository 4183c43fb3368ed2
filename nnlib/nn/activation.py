"""Activation functions as layers."""

from __future__ import annotations

from nnlib import ops
from nnlib.autograd import Tensor
from nnlib.nn import functional as F
from nnlib.nn import init
from nnlib.nn.function_layer import FunctionLayer
from nnlib.nn.functional.checks import TensorLike, floating
from nnlib.nn.module import Module
from nnlib.nn.parameter import Parameter

__all__ = [
    "ELU",
    "GELU",
    "SELU",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "PReLU",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softsign",
    "Tanh",
]


class Activation(FunctionLayer):
    """Applied to each value of a floating-point tensor of any shape (others are a DTypeError)."""

    def forward(self, x: TensorLike) -> Tensor:
        """Apply the operation."""
        x = floating(x, self.function.__name__)
        return self.function(x, **{name: getattr(self, name) for name in self.options})


class Sigmoid(Activation, function=ops.sigmoid):
    pass


class LogSigmoid(Activation, function=ops.logsigmoid):
    pass


class Hardsigmoid(Activation, function=ops.hardsigmoid):
    pass


class Tanh(Activation, function=ops.tanh):
    pass


class Softsign(Activation, function=ops.softsign):
    pass


class Hardtanh(Activation, function=ops.hardtanh):
    min_val: float = -1.0
    max_val: float = 1.0


class ReLU(Activation, function=ops.relu):
    pass


class ReLU6(Activation, function=ops.relu6):
    pass


class LeakyReLU(Activation, function=ops.leaky_relu):
    negative_slope: float = 0.01


class ELU(Activation, function=ops.elu):
    alpha: float = 1.0


class SELU(Activation, function=ops.selu):
    pass


class GELU(Activation, function=ops.gelu):
    approximate: str = "none"


class SiLU(Activation, function=ops.silu):
    pass


class Hardswish(Activation, function=ops.hardswish):
    pass


class Mish(Activation, function=ops.mish):
    pass


class Softplus(Activation, function=ops.softplus):
    beta: float = 1.0


class Softmax(FunctionLayer, function=F.softmax):
    """For training use `CrossEntropyLoss` on the logits: it contains the softmax."""

    dim: int = -1


class LogSoftmax(FunctionLayer, function=F.log_softmax):
    dim: int = -1


class PReLU(Module):
    """``x`` where positive, else a learned slope times x (He et al., 2015).

    Parameters
    ----------
    num_parameters : int
        1: one slope for all values; C: one for each of the C channels on the last axis.
    init_value : float
        Initial slope.

    Attributes
    ----------
    weight : Parameter, (num_parameters,)

    Raises
    ------
    ShapeError
        When called, if the number of slopes is neither 1 nor the number of channels.

    Examples
    --------
    >>> PReLU()([-1.0, 0.0, 1.0]).detach()
    tensor([-0.25,  0.  ,  1.  ])
    """

    def __init__(self, num_parameters: int = 1, init_value: float = 0.25) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.weight = Parameter(init.constant_(init.empty(num_parameters), init_value))

    def forward(self, x: TensorLike) -> Tensor:
        """Apply elementwise."""
        return F.prelu(x, self.weight)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"num_parameters={self.num_parameters}"
