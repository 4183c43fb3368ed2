"""Activation functions as layers.

Each takes floating-point values of any shape (others are a DTypeError) and returns the same shape.
"""

from __future__ import annotations

from nnlib.autograd import Tensor
from nnlib.nn import functional as F
from nnlib.nn import init
from nnlib.nn.functional.checks import TensorLike
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


class Sigmoid(Module):
    """``h = 1 / (1 + exp(−x))``; the derivative is h (1 − h).

    Examples
    --------
    >>> Sigmoid()([-1.0, 0.0, 1.0]).numpy().round(4)
    array([0.2689, 0.5   , 0.7311], dtype=float32)
    """

    def forward(self, x: TensorLike) -> Tensor:
        """Apply elementwise."""
        return F.sigmoid(x)


class LogSigmoid(Module):
    """``log(sigmoid(x))``, finite for every finite x.

    Examples
    --------
    >>> LogSigmoid()([-1.0, 0.0, 1.0]).numpy().round(4)
    array([-1.3133, -0.6931, -0.3133], dtype=float32)
    """

    def forward(self, x: TensorLike) -> Tensor:
        """Apply elementwise."""
        return F.logsigmoid(x)


class Hardsigmoid(Module):
    """``min(max(x + 3, 0), 6) / 6``, a sigmoid of straight lines.

    Examples
    --------
    >>> Hardsigmoid()([-4.0, 0.0, 3.0]).numpy().round(4)
    array([0. , 0.5, 1. ], dtype=float32)
    """

    def forward(self, x: TensorLike) -> Tensor:
        """Apply elementwise."""
        return F.hardsigmoid(x)


class Tanh(Module):
    """Hyperbolic tangent h; the derivative is 1 − h².

    Examples
    --------
    >>> Tanh()([-1.0, 0.0, 1.0]).numpy().round(4)
    array([-0.7616,  0.    ,  0.7616], dtype=float32)
    """

    def forward(self, x: TensorLike) -> Tensor:
        """Apply elementwise."""
        return F.tanh(x)


class Softsign(Module):
    """``x / (1 + |x|)``.

    Examples
    --------
    >>> Softsign()([-1.0, 0.0, 1.0])
    tensor([-0.5,  0. ,  0.5])
    """

    def forward(self, x: TensorLike) -> Tensor:
        """Apply elementwise."""
        return F.softsign(x)


class Hardtanh(Module):
    """Limit to [min_val, max_val].

    Parameters
    ----------
    min_val, max_val : float
        The limits.

    Raises
    ------
    OptionError
        When called, unless ``min_val <= max_val``.

    Examples
    --------
    >>> Hardtanh()([-3.0, 0.5, 3.0])
    tensor([-1. ,  0.5,  1. ])
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        super().__init__()
        self.min_val, self.max_val = min_val, max_val

    def forward(self, x: TensorLike) -> Tensor:
        """Apply elementwise."""
        return F.hardtanh(x, self.min_val, self.max_val)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"min_val={self.min_val}, max_val={self.max_val}"


class ReLU(Module):
    """``max(x, 0)``.

    The derivative at 0 is 0, as in every framework; some courses take 1.

    Examples
    --------
    >>> ReLU()([-1.0, 0.0, 2.0])
    tensor([0., 0., 2.])
    """

    def forward(self, x: TensorLike) -> Tensor:
        """Apply elementwise."""
        return F.relu(x)


class ReLU6(Module):
    """``min(max(x, 0), 6)`` (Krizhevsky, 2010).

    Examples
    --------
    >>> ReLU6()([-1.0, 2.0, 9.0])
    tensor([0., 2., 6.])
    """

    def forward(self, x: TensorLike) -> Tensor:
        """Apply elementwise."""
        return F.relu6(x)


class LeakyReLU(Module):
    """``x`` where positive, else ``negative_slope · x`` (Maas et al., 2013).

    Parameters
    ----------
    negative_slope : float
        The slope for negative values.

    Examples
    --------
    >>> LeakyReLU(0.5)([-1.0, 0.0, 1.0])
    tensor([-0.5,  0. ,  1. ])
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = negative_slope

    def forward(self, x: TensorLike) -> Tensor:
        """Apply elementwise."""
        return F.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"negative_slope={self.negative_slope}"


class PReLU(Module):
    """``x`` where positive, else a learned slope times x (He et al., 2015).

    Parameters
    ----------
    num_parameters : int
        1 slope for all, or one for each of so many channels on the last axis.
    init_value : float
        The slope at first.

    Attributes
    ----------
    weight : Parameter, (num_parameters,)

    Raises
    ------
    ShapeError
        When called, if there are neither 1 nor as many slopes as channels.

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


class ELU(Module):
    """``x`` where positive, else ``alpha · (exp(x) − 1)`` (Clevert et al., 2015).

    Parameters
    ----------
    alpha : float
        Minus the value for very negative x.

    Examples
    --------
    >>> ELU()([-1.0, 0.0, 1.0]).numpy().round(4)
    array([-0.6321,  0.    ,  1.    ], dtype=float32)
    """

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, x: TensorLike) -> Tensor:
        """Apply elementwise."""
        return F.elu(x, self.alpha)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"alpha={self.alpha}"


class SELU(Module):
    """Scaled ELU that keeps mean 0 and variance 1 (Klambauer et al., 2017).

    Examples
    --------
    >>> SELU()([-1.0, 0.0, 1.0]).numpy().round(4)
    array([-1.1113,  0.    ,  1.0507], dtype=float32)
    """

    def forward(self, x: TensorLike) -> Tensor:
        """Apply elementwise."""
        return F.selu(x)


class GELU(Module):
    """``x Φ(x)`` with Φ the normal distribution function (Hendrycks & Gimpel, 2016).

    Parameters
    ----------
    approximate : {"none", "tanh"}
        The exact form, or the authors' approximation by tanh.

    Raises
    ------
    OptionError
        When called, if ``approximate`` is another word.

    Examples
    --------
    >>> GELU()([-1.0, 0.0, 1.0]).numpy().round(4)
    array([-0.1587,  0.    ,  0.8413], dtype=float32)
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, x: TensorLike) -> Tensor:
        """Apply elementwise."""
        return F.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """``x · sigmoid(x)``, also known as swish (Elfwing et al., 2017).

    Examples
    --------
    >>> SiLU()([-1.0, 0.0, 1.0]).numpy().round(4)
    array([-0.2689,  0.    ,  0.7311], dtype=float32)
    """

    def forward(self, x: TensorLike) -> Tensor:
        """Apply elementwise."""
        return F.silu(x)


class Hardswish(Module):
    """``x · hardsigmoid(x)`` (Howard et al., 2019).

    Examples
    --------
    >>> Hardswish()([-4.0, 0.0, 3.0]).numpy().round(4)
    array([-0.,  0.,  3.], dtype=float32)
    """

    def forward(self, x: TensorLike) -> Tensor:
        """Apply elementwise."""
        return F.hardswish(x)


class Mish(Module):
    """``x · tanh(softplus(x))`` (Misra, 2019).

    Examples
    --------
    >>> Mish()([-1.0, 0.0, 1.0]).numpy().round(4)
    array([-0.3034,  0.    ,  0.8651], dtype=float32)
    """

    def forward(self, x: TensorLike) -> Tensor:
        """Apply elementwise."""
        return F.mish(x)


class Softplus(Module):
    """``log(1 + exp(beta · x)) / beta``, a smooth ReLU; the derivative is the sigmoid.

    Parameters
    ----------
    beta : float
        The larger, the closer to ReLU; positive.

    Raises
    ------
    OptionError
        When called, if ``beta`` is not positive.

    Examples
    --------
    >>> Softplus()([-1.0, 0.0, 1.0]).numpy().round(4)
    array([0.3133, 0.6931, 1.3133], dtype=float32)
    """

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        self.beta = beta

    def forward(self, x: TensorLike) -> Tensor:
        """Apply elementwise."""
        return F.softplus(x, self.beta)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"beta={self.beta}"


class Softmax(Module):
    """``exp(x) / Σ exp(x)`` along an axis, without overflow.

    For training, feed logits to `CrossEntropyLoss` instead, which contains it.

    Parameters
    ----------
    dim : int
        The axis over which the results add up to 1.

    Raises
    ------
    ShapeError
        When called, if there is no such axis.

    Examples
    --------
    >>> Softmax()([0.0, 0.0])
    tensor([0.5, 0.5])
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: TensorLike) -> Tensor:
        """Apply along the axis."""
        return F.softmax(x, self.dim)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"dim={self.dim}"


class LogSoftmax(Softmax):
    """Logarithm of `Softmax`, finite for all finite values.

    Parameters
    ----------
    dim : int
        The axis over which the exponentials of the results add up to 1.

    Raises
    ------
    ShapeError
        When called, if there is no such axis.

    Examples
    --------
    >>> LogSoftmax()([0.0, 0.0]).numpy().round(4)
    array([-0.6931, -0.6931], dtype=float32)
    """

    def forward(self, x: TensorLike) -> Tensor:
        """Apply along the axis."""
        return F.log_softmax(x, self.dim)
